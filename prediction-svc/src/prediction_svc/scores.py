"""What a forecaster has been worth on a symbol, against EWMA-normal."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from prediction_svc.histories import Floats
from prediction_svc.recipe import LEVELS, Recipe

HAC_LAGS = 5
EWMA_NORMAL = 0  # among a record's baselines
TWO_SIDED_95 = NormalDist().inv_cdf(0.975)
NORMAL_QUANTILES = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


@dataclass(frozen=True, slots=True)
class Score:
    """Pinball skill in percent with its 95 % interval; None where too few sessions were scored."""

    value: float | None
    low: float | None
    high: float | None
    scored_sessions: int


UNSCORED = Score(None, None, None, 0)


def hac_variance(series: Floats, lags: int) -> float:
    """Variance of the mean of a series with mean 0: Newey and West (1987), Bartlett weights."""
    n = len(series)
    total = float(series @ series)
    for lag in range(1, min(lags, n - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(series[lag:] @ series[:-lag])
    return max(total, 0.0) / n / n


def hac_lags(horizon: int) -> int:
    """Lags for a series of outcomes, one a session: those of a horizon beyond 1 overlap."""
    return max(HAC_LAGS, 2 * horizon)


def skill_score(losses: Floats, reference: Floats, recipe: Recipe, horizon: int = 1) -> Score:
    """Score one symbol's losses against a reference's, session by session, oldest first.

    value = 100 · (1 − mean loss / mean reference loss). The interval is ± 1.96 standard errors of
    that ratio by the delta method: the HAC standard error of the mean of
    (reference − loss) − skill · reference, over the mean reference loss; its lags are 5, or twice
    the horizon.
    """
    n = len(losses)
    if n < recipe.min_scored_sessions or not reference.sum() > 0:
        return Score(None, None, None, n)
    skill = 1 - float(losses.sum() / reference.sum())
    influence = (reference - losses) - skill * reference
    error = math.sqrt(hac_variance(influence, hac_lags(horizon))) / float(reference.mean())
    reach = TWO_SIDED_95 * error
    return Score(100 * skill, 100 * (skill - reach), 100 * (skill + reach), n)
