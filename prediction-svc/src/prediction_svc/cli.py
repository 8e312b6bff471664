"""The command line."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection

from foretick_rpc.commands import Commands, run_command, service_parser
from foretick_rpc.database import peek
from foretick_rpc.errors import StartupError
from foretick_rpc.settings import load_settings
from prediction_svc.app import running
from prediction_svc.evaluating import FORECASTERS, Evaluation, evaluate, table
from prediction_svc.model_commands import NAMES as MODEL_COMMANDS
from prediction_svc.model_commands import add_model_commands, run_model_command
from prediction_svc.progress import ProgressBar
from prediction_svc.recipe import HORIZONS
from prediction_svc.settings import PredictionSettings
from prediction_svc.verifying import (
    ExpectedHead,
    Verification,
    read_market_ids,
    verify_chain,
)


def main(arguments: Sequence[str]) -> int:
    """Serve, or do what is asked; return the exit code of the process."""
    parser, commands = service_parser("prediction_svc")
    evaluation = _add_evaluate(commands)
    _add_verify(commands)
    add_model_commands(commands)
    chosen = parser.parse_args(arguments)
    if chosen.command == "verify":
        return _verify(chosen.market, chosen.expect_head)
    if chosen.command in MODEL_COMMANDS:
        return run_model_command(chosen)
    if chosen.command != "evaluate":
        return run_command(chosen.command, PredictionSettings, running, "prediction_svc")
    asked = Evaluation(
        prices=chosen.prices,
        start=chosen.start,
        end=chosen.end,
        horizon=chosen.horizon,
        forecaster=chosen.forecaster,
        out=chosen.out,
    )
    try:
        record = evaluate(asked, ProgressBar())
    except (OSError, EOFError, ValueError) as error:
        evaluation.error(str(error))
    print(f"forecasts written to {asked.out}\n{table(record)}")
    return 0


def _add_evaluate(commands: Commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "evaluate", help="forecast the sessions of a file walk-forward and write them down"
    )
    command.add_argument("--prices", type=Path, required=True, help="bars as .csv or .csv.gz")
    command.add_argument("--start", type=_date, help="first target session, YYYY-MM-DD")
    command.add_argument("--end", type=_date, help="last target session, YYYY-MM-DD")
    command.add_argument("--horizon", type=int, choices=HORIZONS, default=1, help="sessions ahead")
    command.add_argument("--forecaster", choices=FORECASTERS, default="model")
    command.add_argument("--out", type=Path, required=True, help="where forecasts are written")
    return command


def _add_verify(commands: Commands) -> None:
    command = commands.add_parser(
        "verify", help="check that every row of the ledger is as it was written"
    )
    command.add_argument("--market", help="its id, like yahoo or demo:7; all if not given")
    command.add_argument(
        "--expect-head",
        type=_expected_head,
        metavar="HASH[@COUNT]",
        help="a head as it was published, which must be in the ledger; needs --market",
    )


def _verify(market: str | None, expected: ExpectedHead | None) -> int:
    """Walk the ledgers of the service's database, which may be serving meanwhile."""
    if expected is not None and market is None:
        print("--expect-head: say of which --market it is", file=sys.stderr)
        return 2
    # Nothing is called, so there is nobody to show a token to.
    settings = load_settings(PredictionSettings, service_token=SecretStr("-" * 16))
    bar = ProgressBar()

    def walk(connection: Connection, name: str) -> Verification:
        def told(done: int, count: int) -> None:
            bar.show(done / count, f"rows of {name}")

        return verify_chain(connection, name, expected, told)

    def work(connection: Connection) -> list[Verification]:
        names = [market] if market is not None else read_market_ids(connection)
        return [walk(connection, name) for name in names]

    try:
        found = asyncio.run(peek(settings.database, "prediction_svc", work))
    except FileNotFoundError as error:
        print(f"there is no database {error}", file=sys.stderr)
        return 2
    except StartupError as error:
        print(error, file=sys.stderr)
        return 2
    for one in found:
        print(one)
    if not found:
        print("nothing has been written down yet")
    return int(any(one.fault is not None for one in found))


def _expected_head(text: str) -> ExpectedHead:
    try:
        return ExpectedHead.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2016-01-04") from error
