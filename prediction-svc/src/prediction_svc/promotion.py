"""Whether a new recipe may take the place of the one that serves."""

from dataclasses import dataclass

import numpy as np

from prediction_svc.record import Record
from prediction_svc.scores import hac_lags
from prediction_svc.verdicts import by_target_date, hac_t
from prediction_svc.width import COVERAGE, hits_of

COMPARED_SESSIONS = 126
WORSE_AT = -2.0
FARTHEST_OFF = 0.02
"""From 80 %, which the coverage may be."""


@dataclass(frozen=True)
class Promotion:
    """How a challenger did beside the champion, on the same forecasts."""

    promoted: bool
    gain: float
    """Mean over target dates of (champion's pinball loss − challenger's) / σ."""
    t: float
    """Its HAC t-value, of 5 lags or twice the horizon."""
    coverage: float
    """Share of outcomes in the challenger's 80 % band."""
    dates: int
    forecasts: int

    def __str__(self) -> str:
        verdict = "promoted" if self.promoted else "rejected"
        return (
            f"{verdict}: {self.gain:+.5f} σ a forecast (t {self.t:.1f}), {self.coverage:.1%} "
            f"in the 80 % band, over {self.forecasts:,} forecasts on {self.dates} dates"
        )


def promotion(champion: Record, challenger: Record) -> Promotion:
    """Compare two recipes, both refitted before them, over the last 126 target dates.

    The challenger is rejected only if its pinball loss is larger by t < −2, or if its coverage is
    off by more than 2 points. Raises ValueError where the records are not of the same forecasts, or
    of none.
    """
    days = np.unique(champion.target_days)[-COMPARED_SESSIONS:]
    if not len(days):
        raise ValueError("there is no forecast to compare the recipes on")
    ours, theirs = (_since(each, int(days[0])) for each in (champion, challenger))
    if ours.horizon != theirs.horizon or not (
        np.array_equal(ours.symbols, theirs.symbols)
        and np.array_equal(ours.target_days, theirs.target_days)
        and np.array_equal(ours.moves, theirs.moves)
    ):
        raise ValueError("the records are not of the same forecasts")
    gains = (ours.losses[:, 0] - theirs.losses[:, 0]) / ours.sigma
    daily = by_target_date(ours.target_days, gains)
    t = hac_t(daily, hac_lags(ours.horizon))
    coverage = float(hits_of(theirs.moves, theirs.quantiles).mean())
    return Promotion(
        promoted=t >= WORSE_AT and abs(coverage - COVERAGE) <= FARTHEST_OFF,
        gain=float(daily.mean()),
        t=t,
        coverage=coverage,
        dates=len(days),
        forecasts=len(ours),
    )


def _since(record: Record, first_day: int) -> Record:
    """In order of target dates and symbols."""
    order = np.lexsort((record.symbols, record.target_days))
    kept = order[record.target_days[order] >= first_day]
    return record.where(kept)
