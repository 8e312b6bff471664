"""Walk-forward over a file of bars, with the code that the service forecasts with."""

import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TextIO

import numpy as np

from prediction_svc.features import build_features
from prediction_svc.fits import EPOCH, fits_of
from prediction_svc.histories import Floats, History, Ints, clean_history
from prediction_svc.panel import Panel, build_panel
from prediction_svc.quantiles import Moves, move_quantiles, no_learning_scale
from prediction_svc.recipe import LEVELS, Recipe

PRICES = ("open", "high", "low", "close", "volume")
SECONDS_IN_A_DAY = 86_400


def evaluate(prices: Path, start: date | None, end: date | None, by_model: bool, out: Path) -> int:
    """Forecast each session of the file from those before it; return how many rows were written.

    `start` and `end` bound the target session. Columns: symbol, asof_date, target_date and a
    quantile of the simple return in percent for each level. Raises ValueError where the file is
    not one of bars, or too short, and OSError where it can't be read.
    """
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent} is not a folder")
    recipe = Recipe()
    panel = build_panel(read_bars(prices), recipe)
    rows = _target_rows(panel, start, end, recipe)
    if by_model:
        scale = _walk_forward_scale(panel, rows, recipe)
        moves = move_quantiles(panel, scale, rows, recipe.min_model_sessions, recipe)
    else:
        scale = no_learning_scale(panel)
        moves = move_quantiles(panel, scale, rows, recipe.min_residual_sessions, recipe)
    written = _write(panel, moves, out)
    if not written:
        raise ValueError("the file has no session in these dates with enough history before it")
    return written


def _target_rows(panel: Panel, start: date | None, end: date | None, recipe: Recipe) -> Ints:
    has_target = np.isfinite(panel.next_returns) & (panel.own_session + 1 >= recipe.min_bars)
    rows = np.flatnonzero(has_target).astype(np.int64)
    target_days = panel.days[rows + 1]
    first = (start - EPOCH).days if start else -np.inf
    last = (end - EPOCH).days if end else np.inf
    chosen = rows[(target_days >= first) & (target_days <= last)]
    if not len(chosen):
        raise ValueError("the file has no session in these dates with enough history before it")
    return chosen


def _walk_forward_scale(panel: Panel, rows: Ints, recipe: Recipe) -> Floats:
    from prediction_svc.scale_model import model_scale, train  # noqa: PLC0415 - loads XGBoost

    features = build_features(panel)
    first, last = int(panel.seconds[rows].min()), int(panel.seconds[rows].max())
    fits = [fit for fit in fits_of(panel.histories) if fit.second <= last]
    before = sum(fit.second <= first for fit in fits)
    fits = fits[max(0, before - recipe.fits) :]
    models = []
    for done, fit in enumerate(fits, 1):
        models.append(train(panel, features, fit, recipe))
        _progress(f"model {done} of {len(fits)} ({fit.session_date})", done == len(fits))
    return model_scale(panel, features, [model for model in models if model is not None])


def _progress(text: str, last: bool) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}", end="\n" if last else "", file=sys.stderr, flush=True)


def _write(panel: Panel, moves: Moves, out: Path) -> int:
    made = np.isfinite(moves.quantiles).all(axis=1)
    rows, percents = moves.rows[made], 100 * np.expm1(moves.quantiles[made])
    as_of = panel.days[rows].astype("datetime64[D]").astype(str)
    target = panel.days[rows + 1].astype("datetime64[D]").astype(str)
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"q{round(100 * level):02d}" for level in LEVELS]
        writer.writerow(["symbol", "asof_date", "target_date", *names])
        for row, seen, session, quantiles in zip(rows, as_of, target, percents, strict=True):
            symbol = panel.symbols[panel.symbol_of[row]]
            writer.writerow([symbol, seen, session, *(f"{q:.6f}" for q in quantiles)])
    return len(rows)


def read_bars(path: Path) -> list[History]:
    """Read `symbol,date,open,high,low,close,volume`; symbols of one date close together.

    Raises ValueError that names the line where one is broken.
    """
    with _open(path) as file:
        reader = csv.DictReader(file)
        absent = {"symbol", "date", *PRICES} - set(reader.fieldnames or ())
        if absent:
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(absent))}")
        bars: dict[str, list[tuple[int, tuple[float, ...]]]] = defaultdict(list)
        for symbol, bar in _bars(path, reader):
            bars[symbol].append(bar)
    return [_history(symbol, sorted(own)) for symbol, own in bars.items()]


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="")
    return path.open(newline="")


def _bars(
    path: Path, reader: "csv.DictReader[str]"
) -> Iterator[tuple[str, tuple[int, tuple[float, ...]]]]:
    for row in reader:
        try:
            day = (date.fromisoformat(row["date"]) - EPOCH).days
            yield row["symbol"], (day, tuple(float(row[name] or "nan") for name in PRICES))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} line {reader.line_num}: {error}") from error


def _history(symbol: str, bars: list[tuple[int, tuple[float, ...]]]) -> History:
    days = np.array([day for day, _ in bars], dtype=np.int64)
    columns = np.array([values for _, values in bars], dtype=np.float64)
    named = {f"{name}s": columns[:, i] for i, name in enumerate(PRICES)}
    return clean_history(symbol, days, (days + 1) * SECONDS_IN_A_DAY, named)
