"""Walk-forward over a file of bars, with the code that the service forecasts with."""

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np

from prediction_svc.bar_file import read_bars
from prediction_svc.features import build_features
from prediction_svc.fits import EPOCH, fits_of
from prediction_svc.forecasting import (
    Forecasts,
    backtest,
    farther,
    naive,
    record_of,
    usable_rows,
    without_learning,
)
from prediction_svc.histories import Ints
from prediction_svc.panel import Panel, build_panel
from prediction_svc.progress import ProgressBar
from prediction_svc.quantiles import Predictions
from prediction_svc.recipe import LEVELS, Recipe
from prediction_svc.record import (
    Estimate,
    Record,
    pooled_coverage,
    pooled_skill,
    rank_correlation,
)

Forecaster = Literal["model", "no-learning", "base-rate"]
FORECASTERS: tuple[Forecaster, ...] = ("model", "no-learning", "base-rate")
_NONE = "the file has no session in these dates with enough history before it"


@dataclass(frozen=True)
class Evaluation:
    """What was asked for; `start` and `end` bound the target session."""

    prices: Path
    start: date | None
    end: date | None
    horizon: int
    forecaster: Forecaster
    out: Path


def evaluate(asked: Evaluation, bar: ProgressBar) -> Record:
    """Forecast each session of the file from those before it, write it down and score it.

    Columns of the file written: symbol, asof_date, target_date, a quantile of the simple return in
    percent for each level, p_up and score. Raises ValueError where the prices are no bars, or too
    short, and OSError where they can't be read.
    """
    if not asked.out.parent.is_dir():
        raise ValueError(f"{asked.out.parent} is not a folder")
    recipe = Recipe()
    bar.show(0.0, "reading bars")
    panel = build_panel(read_bars(asked.prices), recipe)
    wanted = _target_rows(panel, asked, recipe)
    predicted = _predictions(panel, wanted, asked, recipe, bar)
    bar.show(0.85, "forecasting")
    # the width control needs forecasts from before the first that is asked for
    rows = usable_rows(panel, predicted, recipe)
    rows = rows[panel.seconds[rows] <= panel.seconds[wanted].max()]
    forecasts, _ = backtest(panel, predicted, rows, recipe)
    forecasts = forecasts.chosen(np.isin(forecasts.rows, wanted) & forecasts.made)
    if not len(forecasts.rows):
        raise ValueError(_NONE)
    _write(panel, forecasts, asked.out)
    bar.show(0.95, "scoring")
    record = record_of(panel, forecasts, recipe)
    bar.show(1.0, f"{len(forecasts.rows)} forecasts written to {asked.out}")
    return record


def _target_rows(panel: Panel, asked: Evaluation, recipe: Recipe) -> Ints:
    ahead = np.arange(len(panel.days)) + asked.horizon
    has_target = ahead < panel.starts[1:][panel.symbol_of]
    has_target &= panel.own_session + 1 >= recipe.min_bars
    rows = np.flatnonzero(has_target).astype(np.int64)
    target_days = panel.days[rows + asked.horizon]
    first = (asked.start - EPOCH).days if asked.start else -np.inf
    last = (asked.end - EPOCH).days if asked.end else np.inf
    chosen = rows[(target_days >= first) & (target_days <= last)]
    if not len(chosen):
        raise ValueError(_NONE)
    return chosen


def _predictions(
    panel: Panel, rows: Ints, asked: Evaluation, recipe: Recipe, bar: ProgressBar
) -> Predictions:
    if asked.forecaster == "base-rate":
        return naive(panel, asked.horizon, recipe)
    if asked.forecaster == "no-learning":
        return without_learning(panel, asked.horizon, recipe)
    from prediction_svc.fitting import predictions, train  # noqa: PLC0415 - loads XGBoost

    features = build_features(panel)
    first, last = int(panel.seconds[rows].min()), int(panel.seconds[rows].max())
    fits = [fit for fit in fits_of(panel.histories) if fit.second <= last]
    before = sum(fit.second <= first for fit in fits)
    fits = fits[max(0, before - recipe.fits) :]
    models = []
    for done, fit in enumerate(fits):
        stage = f"training model {done + 1} of {len(fits)} ({fit.session_date})"
        bar.show(0.1 + 0.75 * done / len(fits), stage)
        models.append(train(panel, features, fit, recipe))
    trained = [model for model in models if model is not None]
    of_next = predictions(panel, features, trained, recipe)
    return of_next if asked.horizon == 1 else farther(panel, of_next, asked.horizon)


def _write(panel: Panel, forecasts: Forecasts, out: Path) -> None:
    rows, percents = forecasts.rows, 100 * np.expm1(forecasts.quantiles)
    as_of = panel.days[rows].astype("datetime64[D]").astype(str)
    target = panel.days[rows + forecasts.horizon].astype("datetime64[D]").astype(str)
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"q{round(100 * level):02d}" for level in LEVELS]
        writer.writerow(["symbol", "asof_date", "target_date", *names, "p_up", "score"])
        for i, row in enumerate(rows):
            symbol = panel.symbols[panel.symbol_of[row]]
            numbers = (*percents[i], forecasts.p_up[i], forecasts.score[i])
            writer.writerow([symbol, as_of[i], target[i], *(f"{x:.6f}" for x in numbers)])


def table(record: Record) -> str:
    """The scores of an evaluation for people, a line each."""
    if not len(record):
        return "nothing to score: no outcome is known yet"
    dates = len(np.unique(record.target_days))
    lines = [f"horizon {record.horizon}: {len(record):,} forecasts on {dates:,} target dates"]
    names = ("EWMA-normal", "EWMA × empirical", "250-day sd × empirical")
    for baseline, name in enumerate(names):
        lines.append(_line(f"pinball skill against {name}", pooled_skill(record, baseline)))
    lines.append(_line("share of outcomes in the 80 % band", pooled_coverage(record)))
    if (correlation := rank_correlation(record)) is not None:
        told = f"{correlation.value:8.4f}  (t {correlation.t:.1f}, {correlation.dates:,} dates)"
        lines.append(f"{'rank correlation of the score':42}{told}")
    return "\n".join(lines)


def _line(name: str, estimate: Estimate) -> str:
    return f"{name:42}{estimate.value:8.2%}  ({estimate.low:.2%} to {estimate.high:.2%})"
