"""Models over the wire: asked of one replica, trained by another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1 import prediction_pb2_grpc
from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.errors import app_error
from foretick_rpc.leases import Lease
from foretick_rpc.ports import free_port
from foretick_rpc.server import RpcService
from foretick_rpc.testing import SERVICE_TOKEN, calling, serving
from prediction_svc.book import Book, Edition
from prediction_svc.cli import main
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.ledger import Ledger
from prediction_svc.metrics import Metrics
from prediction_svc.model_store import ModelStore
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.schema import leases
from prediction_svc.servicer import PredictionServicer
from prediction_svc.testing import holding
from prediction_svc.track_record_store import TrackRecords
from prediction_svc.training import Training
from prediction_svc.trainings import Trainings
from prediction_svc.workers import Progress

Fixture = Any
MARKET = "demo:1"
SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]


def fit_of(year: int, month: int, day: int = 1) -> Fit:
    session = date(year, month, day)
    return Fit(session, session, (session - EPOCH).days * 86_400 + 75_600)


FITS = [fit_of(2019, 1), fit_of(2019, 7), fit_of(2020, 1), fit_of(2020, 7)]
LATEST = fit_of(2020, 8, 13)


def model_of(fit: Fit) -> TrainedModel:
    return TrainedModel(
        fit=fit,
        booster=str(fit).encode(),
        feature_names=("one",),
        train_start=date(2015, 1, 2),
        train_rows=123_456,
        train_symbols=500,
        rows_hash=str(fit.second),
        create_time=datetime(2020, 9, 1, tzinfo=UTC),
    )


class GatedWorkers:
    """Trains once the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.trained: list[Fit] = []

    async def train(
        self, function: object, reader: object, fit: Fit, recipe: Recipe, *, told: Fixture
    ) -> TrainedModel:
        told(Progress("training", 0.25))
        await self.gate.wait()
        if self.error:
            raise self.error
        self.trained.append(fit)
        return model_of(fit)


class Setting(NamedTuple):
    """A replica that trains, and another one that is asked."""

    workers: GatedWorkers
    training: Training
    models: ModelStore
    following: "asyncio.Task[None]"
    stub: Fixture
    port: int


def book_of(model: TrainedModel | None) -> Book:
    book = Book()
    facts = None if model is None else model.facts
    book.turn_to(Edition(MARKET, frozenset(), {}, {}, model=facts), 1)
    return book


@asynccontextmanager
async def opened(url: str, *, stored: list[Fit] = FITS) -> AsyncIterator[Setting]:
    await migrate(url, "prediction_svc")
    async with open_database(url, "prediction_svc") as database, holding(database) as lease:
        workers, models = GatedWorkers(), ModelStore(database, lease)
        for fit in stored:
            await models.add(MARKET, model_of(fit), Recipe())
        book = book_of(model_of(stored[-1]) if stored else None)
        trainings = Trainings(database, lease, book)
        training = Training(
            workers,  # type: ignore[arg-type]
            "reader",  # type: ignore[arg-type]
            models,
            trainings,
            Recipe(),
            metrics=Metrics(),
            done=lambda: None,
        )
        following = asyncio.create_task(trainings.follow())
        await training.open(MARKET)
        training.train_missing(FITS, LATEST)
        async with asked(database, book) as (other, stub, port):
            yield Setting(workers, training, models, other, stub, port)
        await training.close()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def asked(
    database: Database, book: Book
) -> AsyncIterator[tuple["asyncio.Task[None]", Fixture, int]]:
    stranger = Lease(database, leases, "work")
    trainings = Trainings(database, stranger, book)
    servicer = PredictionServicer(
        book,
        Ledger(database, stranger),
        trainings,
        ModelStore(database, stranger),
        TrackRecords(database, stranger),
    )
    service = RpcService(
        SERVICE.full_name,
        partial(prediction_pb2_grpc.add_PredictionServiceServicer_to_server, servicer),
    )
    following = asyncio.create_task(trainings.follow())
    async with serving(service) as server, calling(server, SERVICE) as channel:
        yield following, prediction_pb2_grpc.PredictionServiceStub(channel), server.port
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'a.db'}"


Told = list[pb.TrainModelResponse]


async def told_until(stream: Fixture, reached: Callable[[pb.TrainModelResponse], bool]) -> Told:
    told: Told = []
    async with asyncio.timeout(20):
        async for answer in stream:
            told.append(answer)
            if reached(answer):
                return told
    raise AssertionError(told)


def is_training(answer: pb.TrainModelResponse) -> bool:
    return answer.progress.stage == "training"


async def rest_of(stream: Fixture) -> Told:
    async with asyncio.timeout(20):
        return [answer async for answer in stream]


async def test_who_asks_is_told_until_the_model_is_there(database_url: str) -> None:
    async with opened(database_url) as setting:
        stream = setting.stub.TrainModel(pb.TrainModelRequest())
        told = await told_until(stream, is_training)
        assert told[-1].progress.fraction == 0.25
        assert told[-1].progress.HasField("remaining")
        status = await setting.stub.GetModelStatus(pb.GetModelStatusRequest())
        assert status.training_state == pb.TRAINING_STATE_RUNNING
        assert (status.progress.stage, status.progress.fraction) == ("training", 0.25)
        joined = setting.stub.TrainModel(pb.TrainModelRequest())
        await told_until(joined, is_training)
        setting.workers.gate.set()
        for each in (stream, joined):
            told += await rest_of(each)
            assert told[-1].progress.state == pb.TRAINING_STATE_IDLE
            assert told[-1].model.model_version == model_of(LATEST).version
            assert told[-1].model.train_rows == 123_456
        states = {answer.progress.state for answer in told if not answer.HasField("model")}
        assert states == {pb.TRAINING_STATE_RUNNING}
        assert setting.workers.trained == [LATEST]
        # at the same session there is nothing left to train
        again = await rest_of(setting.stub.TrainModel(pb.TrainModelRequest()))
        assert again[-1].model == told[-1].model
        assert setting.workers.trained == [LATEST]


async def test_hanging_up_stops_nothing(database_url: str) -> None:
    async with opened(database_url) as setting:
        stream = setting.stub.TrainModel(pb.TrainModelRequest())
        await told_until(stream, is_training)
        stream.cancel()
        setting.workers.gate.set()
        again = await rest_of(setting.stub.TrainModel(pb.TrainModelRequest()))
        assert again[-1].model.model_version == model_of(LATEST).version
        assert setting.workers.trained == [LATEST]


async def test_what_went_wrong_is_told_last(database_url: str) -> None:
    async with opened(database_url) as setting:
        setting.workers.error = OSError("disk full")
        setting.workers.gate.set()
        told = await rest_of(setting.stub.TrainModel(pb.TrainModelRequest()))
        assert told[-1].progress.state == pb.TRAINING_STATE_FAILED
        assert told[-1].progress.message == "OSError: disk full"
        assert not told[-1].HasField("model")
        status = await setting.stub.GetModelStatus(pb.GetModelStatusRequest())
        assert status.training_state == pb.TRAINING_STATE_FAILED
        assert status.training_message == "OSError: disk full"
        assert not status.progress.HasField("elapsed")


async def test_a_service_that_stops_says_so(database_url: str) -> None:
    async with opened(database_url) as setting:
        stream = setting.stub.TrainModel(pb.TrainModelRequest())
        await told_until(stream, is_training)
        setting.following.cancel()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rest_of(stream)
        error = app_error(refused.value)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_STOPPING")


async def test_models_are_listed_page_by_page(database_url: str) -> None:
    async with opened(database_url) as setting:
        models, token = [], ""
        while True:
            request = pb.ListModelsRequest(page_size=3, page_token=token)
            page = await setting.stub.ListModels(request)
            assert page.market_id == MARKET
            models += page.models
            if not (token := page.next_page_token):
                break
        assert [model.fit_date for model in models] == [
            fit.session_date.isoformat() for fit in reversed(FITS)
        ]
        assert [model.serving for model in models] == [True, False, False, False]
        for bad in (
            pb.ListModelsRequest(page_size=501),
            pb.ListModelsRequest(page_size=-1),
            pb.ListModelsRequest(page_token="0"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await setting.stub.ListModels(bad)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_rolled_back_the_model_before_answers(database_url: str) -> None:
    async with opened(database_url) as setting:
        for _ in range(2):  # as a retry would
            done = await setting.stub.RollBackModel(pb.RollBackModelRequest())
            assert done.withdrawn.model_version == model_of(FITS[-1]).version
            assert (done.withdrawn.withdrawn, done.withdrawn.serving) == (True, False)
            assert done.serving.model_version == model_of(FITS[-2]).version
            assert done.serving.serving
        async with asyncio.timeout(20):
            while len(setting.training.serving_models(FITS)) == 4:  # noqa: ASYNC110 - a database's
                await asyncio.sleep(0.03)
        serving_models = setting.training.serving_models(FITS)
        assert [model.fit for model in serving_models] == FITS[:-1]
        named = pb.RollBackModelRequest(model_version=model_of(FITS[0]).version)
        done = await setting.stub.RollBackModel(named)
        assert done.withdrawn.fit_date == "2019-01-01"
        assert done.serving.model_version == model_of(FITS[-2]).version


async def test_what_is_not_there_cannot_be_rolled_back(database_url: str) -> None:
    async with opened(database_url, stored=[]) as setting:
        for version in ("", "scale-20200701-00000000"):
            request = pb.RollBackModelRequest(model_version=version)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await setting.stub.RollBackModel(request)
            error = app_error(refused.value)
            assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


@pytest.fixture
def commanded(monkeypatch: pytest.MonkeyPatch) -> Fixture:
    """Run the command line against the service on a port."""

    async def run(port: int, *arguments: str, token: str = SERVICE_TOKEN) -> int:
        monkeypatch.setenv("PREDICTION_TARGET", f"127.0.0.1:{port}")
        monkeypatch.setenv("FORETICK_SERVICE_TOKEN", token)
        return await asyncio.to_thread(main, arguments)

    return run


Said = pytest.CaptureFixture[str]


async def test_the_command_line_trains(sqlite_url: str, commanded: Fixture, capsys: Said) -> None:
    async with opened(sqlite_url) as setting:
        command = asyncio.create_task(commanded(setting.port, "train"))
        joined = setting.stub.TrainModel(pb.TrainModelRequest())
        await told_until(joined, is_training)
        setting.workers.gate.set()
        assert await command == 0
        said = capsys.readouterr().out.splitlines()
        assert said[-3:-1] == ["training", "done"]
        assert said[-1].startswith(f"{model_of(LATEST).version}  123,456 rows of 500 symbols")
        later = fit_of(2020, 8, 14)
        setting.training.train_missing(FITS, later)
        setting.workers.error = OSError("disk full")
        assert await commanded(setting.port, "train") == 1
        assert capsys.readouterr().err == "no model was trained: OSError: disk full\n"


async def test_the_command_line_lists_and_rolls_back(
    sqlite_url: str, commanded: Fixture, capsys: Said
) -> None:
    async with opened(sqlite_url) as setting:
        assert await commanded(setting.port, "rollback") == 0
        latest, before = model_of(FITS[-1]).version, model_of(FITS[-2]).version
        assert capsys.readouterr().out.splitlines() == [
            f"{latest} is withdrawn",
            f"from the next forecasts on {before} answers",
        ]
        assert await commanded(setting.port, "models") == 0
        listed = capsys.readouterr().out.splitlines()
        assert listed[0].startswith(latest)
        assert listed[0].endswith("withdrawn")
        assert [line.split()[0] for line in listed[1:]] == [
            model_of(fit).version for fit in FITS[-2::-1]
        ]
        assert await commanded(setting.port, "rollback", "--version", "scale-1") == 1
        assert capsys.readouterr().err == "there is no model scale-1\n"


async def test_the_command_line_says_what_is_wrong(
    sqlite_url: str, commanded: Fixture, capsys: Said
) -> None:
    async with opened(sqlite_url, stored=[]) as setting:
        assert await commanded(setting.port, "models") == 0
        assert capsys.readouterr().out == "no model of demo:1 yet: no-learning answers\n"
        assert await commanded(setting.port, "models", token="another-token-of-old") == 1
        assert "refuses FORETICK_SERVICE_TOKEN" in capsys.readouterr().err
    for command in ("models", "train", "rollback"):
        port = free_port()
        assert await commanded(port, command) == 1
        assert f"no service answers at 127.0.0.1:{port}" in capsys.readouterr().err


async def test_the_whole_service_trains_on_request(
    serve_quotes: Fixture, serve_predictions: Fixture, quotes: Fixture
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        await predictions.until(lambda forecast: bool(forecast.model_version))
        told = await rest_of(predictions.stub.TrainModel(pb.TrainModelRequest()))
        version = told[-1].model.model_version
        assert told[-1].model.train_symbols == 6
        quotes.hidden = 1  # what was written down stands: the next session's are by the new model
        await predictions.until(lambda forecast: forecast.model_version == version)
        done = await predictions.stub.RollBackModel(pb.RollBackModelRequest())
        assert done.withdrawn.model_version == version
        async with asyncio.timeout(20):
            while (await predictions.status()).model.model_version == version:  # noqa: ASYNC110
                await asyncio.sleep(0.03)
        quotes.hidden = 0
        before = await predictions.until(lambda forecast: forecast.model_version != version)
        assert before.model_version == done.serving.model_version
        listed = (await predictions.stub.ListModels(pb.ListModelsRequest())).models
        assert (listed[0].model_version, listed[0].withdrawn) == (version, True)
        assert [m.model_version for m in listed if m.serving] == [before.model_version]
