"""Quantiles of the next log move: a scale times pooled quantiles of past standardised moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import Panel
from prediction_svc.recipe import LEVELS, Recipe


@dataclass(frozen=True)
class Moves:
    """Forecast log moves of some rows of a panel."""

    rows: Ints
    quantiles: Floats
    """Shape (rows, levels), rising along a row; NaN where there is no forecast."""

    def first(self, count: int) -> "Moves":
        """Return those of the first `count` rows."""
        return Moves(self.rows[:count], self.quantiles[:count])


def no_learning_scale(panel: Panel) -> Floats:
    """√(σ · 250-day standard deviation) of each row, per session."""
    return np.sqrt(panel.sigma * panel.long_sd)


def move_quantiles(
    panel: Panel, scale: Floats, rows: Ints, least_sessions: int, recipe: Recipe
) -> Moves:
    """Forecast the given rows from `scale`, one value for each row of the panel (NaN: none).

    The pool of a row: each symbol's last `residual_sessions` moves that had resolved at the
    instant of the row's close, standardised by the scale known before them, not re-centred.
    It has no quantiles where no symbol has `least_sessions` of them.
    """
    residuals = panel.next_returns / scale
    instants, instant_of = np.unique(panel.seconds[rows], return_inverse=True)
    pooled = np.full((len(instants), len(LEVELS)), np.nan)
    for i, closed in enumerate(panel.closed_by(instants)):
        pool = _pool(panel, residuals, closed, recipe)
        there = np.isfinite(pool)
        if there.sum(axis=1).max() >= least_sessions and there.sum() >= recipe.min_residuals:
            pooled[i] = np.quantile(pool[there], LEVELS)
    return Moves(rows, pooled[instant_of] * scale[rows][:, None])


def _pool(panel: Panel, residuals: Floats, closed: Ints, recipe: Recipe) -> Floats:
    # shape (S, sessions); the move from row k to row k + 1 has resolved once row k + 1 is closed
    ends = panel.starts[:-1] + np.maximum(closed - 1, 0)
    rows = ends[:, None] - 1 - np.arange(recipe.residual_sessions)[None, :]
    inside = rows >= panel.starts[:-1, None]
    return np.where(inside, residuals[np.where(inside, rows, 0)], np.nan)


def pinball_loss(moves: Floats, quantiles: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Mean pinball loss over the levels, shape (n,), in the unit of the moves.

    moves (n,), quantiles (n, levels): (move − q) · level above q, (q − move) · (1 − level) below.
    """
    excess = moves[:, None] - quantiles
    probabilities: NDArray[np.float64] = np.asarray(levels)[None, :]
    loss = np.where(excess >= 0, probabilities * excess, (probabilities - 1) * excess)
    return np.asarray(loss.mean(axis=1), dtype=np.float64)
