"""What a forecaster has been worth on a symbol, against EWMA-normal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import Panel
from prediction_svc.quantiles import Moves, pinball_loss
from prediction_svc.recipe import LEVELS, Recipe

HAC_LAGS = 5
TWO_SIDED_95 = NormalDist().inv_cdf(0.975)
NORMAL_QUANTILES = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


@dataclass(frozen=True)
class Score:
    """Pinball skill in percent with its 95 % interval; None where too few sessions were scored."""

    value: float | None
    low: float | None
    high: float | None
    scored_sessions: int


def hac_variance(series: Floats, lags: int) -> float:
    """Variance of the mean of a series with mean 0: Newey and West (1987), Bartlett weights."""
    n = len(series)
    total = float(series @ series)
    for lag in range(1, min(lags, n - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(series[lag:] @ series[:-lag])
    return max(total, 0.0) / n / n


def skill_score(losses: Floats, reference: Floats, recipe: Recipe) -> Score:
    """Score one symbol's losses against a reference's, session by session, oldest first.

    value = 100 · (1 − mean loss / mean reference loss). The interval is ± 1.96 standard errors of
    that ratio by the delta method: the HAC(5) standard error of the mean of
    (reference − loss) − skill · reference, over the mean reference loss.
    """
    n = len(losses)
    if n < recipe.min_scored_sessions or not reference.sum() > 0:
        return Score(None, None, None, n)
    skill = 1 - float(losses.sum() / reference.sum())
    influence = (reference - losses) - skill * reference
    error = math.sqrt(hac_variance(influence, HAC_LAGS)) / float(reference.mean())
    reach = TWO_SIDED_95 * error
    return Score(100 * skill, 100 * (skill - reach), 100 * (skill + reach), n)


def scorable_rows(panel: Panel, scale: Floats, recipe: Recipe) -> Ints:
    """Return each symbol's last `scored_sessions` rows that have resolved and have a scale."""
    resolved = np.isfinite(panel.next_returns) & np.isfinite(scale) & np.isfinite(panel.sigma)
    kept: list[Ints] = []
    for symbol in range(len(panel.symbols)):
        rows = panel.rows(symbol)
        own = rows.start + np.flatnonzero(resolved[rows])
        kept.append(own[-recipe.scored_sessions :])
    return np.concatenate(kept).astype(np.int64)


def score_symbols(panel: Panel, moves: Moves, recipe: Recipe) -> dict[str, Score]:
    """Score each symbol of the panel on the forecasts that were made (NaN: none was)."""
    outcomes = panel.next_returns[moves.rows]
    losses = pinball_loss(outcomes, moves.quantiles)
    normal = panel.return_sigma[moves.rows][:, None] * NORMAL_QUANTILES[None, :]
    reference = pinball_loss(outcomes, normal)
    made = np.isfinite(losses) & np.isfinite(reference)
    of = panel.symbol_of[moves.rows]
    symbols: Sequence[str] = panel.symbols
    return {
        symbol: skill_score(losses[made & (of == i)], reference[made & (of == i)], recipe)
        for i, symbol in enumerate(symbols)
    }
