"""The command line."""

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from foretick_rpc.commands import run_command, service_parser
from prediction_svc.app import running
from prediction_svc.evaluating import FORECASTERS, Evaluation, evaluate, table
from prediction_svc.progress import ProgressBar
from prediction_svc.recipe import HORIZONS
from prediction_svc.settings import PredictionSettings


def main(arguments: Sequence[str]) -> int:
    """Serve, or do what is asked; return the exit code of the process."""
    parser, commands = service_parser("prediction_svc")
    command = commands.add_parser(
        "evaluate", help="forecast the sessions of a file walk-forward and write them down"
    )
    command.add_argument("--prices", type=Path, required=True, help="bars as .csv or .csv.gz")
    command.add_argument("--start", type=_date, help="first target session, YYYY-MM-DD")
    command.add_argument("--end", type=_date, help="last target session, YYYY-MM-DD")
    command.add_argument("--horizon", type=int, choices=HORIZONS, default=1, help="sessions ahead")
    command.add_argument("--forecaster", choices=FORECASTERS, default="model")
    command.add_argument("--out", type=Path, required=True, help="where forecasts are written")
    chosen = parser.parse_args(arguments)
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
        command.error(str(error))
    print(f"forecasts written to {asked.out}\n{table(record)}")
    return 0


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2016-01-04") from error
