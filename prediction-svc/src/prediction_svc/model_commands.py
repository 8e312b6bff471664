"""The commands that are about models: they ask the running service."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from grpc import StatusCode
from grpc.aio import AioRpcError
from pydantic import Field

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1.prediction_pb2_grpc import PredictionServiceStub
from foretick_rpc.client import open_channel
from foretick_rpc.commands import Commands
from foretick_rpc.errors import app_error
from foretick_rpc.settings import RpcSettings, load_settings
from prediction_svc.progress import ProgressBar

NAMES = ("train", "models", "rollback")
_WHERE = (
    "Asks the service at PREDICTION_TARGET (host:port, default 127.0.0.1:50052) with the token of"
    " the services, FORETICK_SERVICE_TOKEN. `make run` writes both to .foretick/running.env."
)


class CallerSettings(RpcSettings):
    """Where the service is."""

    prediction_target: str = Field("127.0.0.1:50052", validation_alias="PREDICTION_TARGET")


def add_model_commands(commands: Commands) -> None:
    """Add `train`, `models` and `rollback`."""
    told = {
        "train": "fit a model at the latest closed session, and tell how far that is",
        "models": "list the models of the market that is served",
        "rollback": "withdraw a model for good, so that the one before it answers",
    }
    added = {name: commands.add_parser(name, help=told[name], description=_WHERE) for name in NAMES}
    added["rollback"].add_argument(
        "--version", default="", help="the model to withdraw; the one that serves if not given"
    )


def run_model_command(chosen: argparse.Namespace) -> int:
    """Do one of these; return the exit code of the process."""
    settings = load_settings(CallerSettings)
    works: dict[str, Callable[[PredictionServiceStub], Awaitable[int]]] = {
        "train": _train,
        "models": _models,
        "rollback": lambda stub: _roll_back(stub, chosen.version),
    }
    try:
        return asyncio.run(_asked(settings, works[chosen.command]))
    except AioRpcError as error:
        print(_problem(error, settings.prediction_target), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _asked(
    settings: CallerSettings, work: Callable[[PredictionServiceStub], Awaitable[int]]
) -> int:
    async with open_channel(
        settings.prediction_target,
        service_token=settings.service_token.get_secret_value(),
        service=pb.DESCRIPTOR.services_by_name["PredictionService"],
    ) as channel:
        return await work(PredictionServiceStub(channel))


def _problem(error: AioRpcError, target: str) -> str:
    told = app_error(error)
    if told.code is StatusCode.UNAUTHENTICATED:
        return f"the service at {target} refuses FORETICK_SERVICE_TOKEN: it must have the same"
    if told.reason in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return f"no service answers at {target}: does it run, and is PREDICTION_TARGET right?"
    return told.message


async def _train(stub: PredictionServiceStub) -> int:
    show = _show_on_terminal() if sys.stderr.isatty() else _show_lines()
    last = pb.TrainModelResponse()
    async for last in _told(stub):
        if last.progress.state == pb.TRAINING_STATE_RUNNING:
            show(last.progress.fraction, last.progress.stage)
    if last.progress.state == pb.TRAINING_STATE_FAILED:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # the bar stays where it was
        print(f"no model was trained: {last.progress.message}", file=sys.stderr)
        return 1
    show(1.0, "done")
    if not last.HasField("model"):
        print("no model was trained: the histories are too short", file=sys.stderr)
        return 1
    print(_line(last.model))
    return 0


async def _told(stub: PredictionServiceStub) -> AsyncIterator[pb.TrainModelResponse]:
    """Where the training is until it has ended; who is cut off from it joins it again."""
    while True:
        told = False
        try:
            async for answer in stub.TrainModel(pb.TrainModelRequest()):
                told = True
                yield answer
        except AioRpcError as error:
            # Long streams end when the service closes connections that are old.
            if not told or app_error(error).reason != "UNAVAILABLE":
                raise
        else:
            return


def _show_on_terminal() -> Callable[[float, str], None]:
    return ProgressBar().show


def _show_lines() -> Callable[[float, str], None]:
    shown = ""

    def show(_fraction: float, stage: str) -> None:
        nonlocal shown
        if stage and stage != shown:
            print(stage, flush=True)
        shown = stage

    return show


async def _models(stub: PredictionServiceStub) -> int:
    token, models = "", list[pb.Model]()
    while True:
        page = await stub.ListModels(pb.ListModelsRequest(page_size=500, page_token=token))
        models += page.models
        if not (token := page.next_page_token):
            break
    for model in models:
        print(_line(model))
    if not models:
        print(f"no model of {page.market_id or 'any market'} yet: no-learning answers")
    return 0


async def _roll_back(stub: PredictionServiceStub, version: str) -> int:
    done = await stub.RollBackModel(pb.RollBackModelRequest(model_version=version))
    after = done.serving.model_version or "no-learning"
    print(f"{done.withdrawn.model_version} is withdrawn")
    print(f"from the next forecasts on {after} answers")
    return 0


def _line(model: pb.Model) -> str:
    state = "withdrawn" if model.withdrawn else "serving" if model.serving else ""
    learned = f"{model.train_rows:,} rows of {model.train_symbols:,} symbols"
    since = f"since {model.train_start_date}"
    made = f"made {model.create_time.ToDatetime():%Y-%m-%d %H:%M} UTC"
    return f"{model.model_version}  {learned} {since}, {made}  {state}".rstrip()
