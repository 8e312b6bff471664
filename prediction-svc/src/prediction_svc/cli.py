"""The command line."""

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from foretick_rpc.commands import run_command, service_parser
from prediction_svc.app import running
from prediction_svc.evaluating import evaluate
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
    command.add_argument("--forecaster", choices=("model", "no-learning"), default="model")
    command.add_argument("--out", type=Path, required=True, help="where forecasts are written")
    chosen = parser.parse_args(arguments)
    if chosen.command != "evaluate":
        return run_command(chosen.command, PredictionSettings, running, "prediction_svc")
    try:
        rows = evaluate(
            chosen.prices, chosen.start, chosen.end, chosen.forecaster == "model", chosen.out
        )
    except (OSError, EOFError, ValueError) as error:
        command.error(str(error))
    print(f"{rows} forecasts written to {chosen.out}")
    return 0


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2016-01-04") from error
