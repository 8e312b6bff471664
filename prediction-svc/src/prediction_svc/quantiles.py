"""Quantiles of a log move to come: a scale times pooled quantiles of past standardised moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import VARIANCE_FLOOR, WARM_UP, Panel, outcomes_of
from prediction_svc.recipe import LEVELS, Recipe

STILL = 2 * VARIANCE_FLOOR**0.5  # σ of a price that does not move


@dataclass(frozen=True)
class Predictions:
    """What is predicted of each row of a panel, out of sample throughout; shape (N,) each."""

    horizon: int
    scale: Floats
    """What pooled quantiles are multiplied by, in log moves; NaN where there is none."""
    score: Floats
    """Standardised rank score; 0 where there is no rank model."""
    least_sessions: int
    """So many sessions of past residuals the scale needs before it answers."""


@dataclass(frozen=True)
class Moves:
    """Forecast log moves of some rows of a panel."""

    rows: Ints
    quantiles: Floats
    """Shape (rows, levels), rising along a row; NaN where there is no forecast."""

    def first(self, count: int) -> "Moves":
        """Return those of the first `count` rows."""
        return Moves(self.rows[:count], self.quantiles[:count])


def no_learning_scale(panel: Panel, horizon: int = 1) -> Floats:
    """√(σ · 250-day standard deviation) · √horizon of each row."""
    return np.sqrt(panel.sigma * panel.long_sd * horizon)


def move_quantiles(panel: Panel, predicted: Predictions, rows: Ints, recipe: Recipe) -> Moves:
    """Forecast the given rows: predicted scale × pooled quantiles, NaN where there are none.

    The pool of a row: each symbol's last moves that had resolved at the instant of the row's
    close, standardised by the scale known before them, not re-centred. It has no quantiles where
    no symbol has `least_sessions` of them. The quantiles of a group's own n residuals weigh
    n / (n + 250) against those of all.
    """
    horizon, scale = predicted.horizon, predicted.scale
    residuals = _residuals(panel, scale, horizon)
    instants, instant_of = np.unique(panel.seconds[rows], return_inverse=True)
    pooled = np.full((len(instants), len(panel.groups), len(LEVELS)), np.nan)
    for i, closed in enumerate(panel.closed_by(instants)):
        pool = _pool(panel, residuals, closed, recipe.residual_window(horizon), horizon)
        there = np.isfinite(pool)
        if (
            there.sum(axis=1).max() >= predicted.least_sessions
            and there.sum() >= recipe.min_residuals
        ):
            pooled[i] = _quantiles_by_group(panel, pool, there, recipe)
    of_rows = pooled[instant_of, panel.group_of[panel.symbol_of[rows]]]
    return Moves(rows, strictly_rising(of_rows) * scale[rows][:, None])


def _residuals(panel: Panel, scale: Floats, horizon: int) -> Floats:
    # a symbol that is new, or whose price stands still, tells nothing of how others move
    telling = (panel.own_session >= WARM_UP) & (panel.sigma > STILL)
    moves = panel.next_returns if horizon == 1 else outcomes_of(panel, horizon).moves
    return np.where(telling, moves / scale, np.nan)


def _pool(panel: Panel, residuals: Floats, closed: Ints, sessions: int, horizon: int) -> Floats:
    # shape (S, sessions); the move from row k to row k + h has resolved once row k + h is closed
    ends = panel.starts[:-1] + np.maximum(closed - 1, 0)
    rows = ends[:, None] - horizon - np.arange(sessions)[None, :]
    inside = rows >= panel.starts[:-1, None]
    return np.where(inside, residuals[np.where(inside, rows, 0)], np.nan)


def _quantiles_by_group(
    panel: Panel, pool: Floats, there: NDArray[np.bool_], recipe: Recipe
) -> Floats:
    # one row a group
    everybody = np.quantile(pool[there], LEVELS)
    result = np.tile(everybody, (len(panel.groups), 1))
    if len(panel.groups) == 1:
        return result
    for group in range(len(panel.groups)):
        members = panel.group_of == group
        own = pool[members][there[members]]
        if len(own):
            weight = len(own) / (len(own) + recipe.group_weight)
            result[group] = weight * np.quantile(own, LEVELS) + (1 - weight) * everybody
    return result


def strictly_rising(quantiles: Floats, least_step: float = 1e-6) -> Floats:
    """Quantiles, shape (n, levels), of which equal or crossing ones are set apart, upwards.

    Rows that rise by `least_step` throughout are returned bit for bit.
    """
    flat = (np.diff(quantiles, axis=1) < least_step).any(axis=1)
    if not flat.any():
        return quantiles
    steps = 2 * least_step * np.arange(quantiles.shape[1])
    apart = np.maximum.accumulate(quantiles[flat] - steps, axis=1) + steps
    result = quantiles.copy()
    result[flat] = apart
    return result


def pinball_loss(moves: Floats, quantiles: Floats, levels: Sequence[float] = LEVELS) -> Floats:
    """Mean pinball loss over the levels, shape (n,), in the unit of the moves.

    moves (n,), quantiles (n, levels): (move − q) · level above q, (q − move) · (1 − level) below.
    """
    excess = moves[:, None] - quantiles
    probabilities: NDArray[np.float64] = np.asarray(levels)[None, :]
    loss = np.where(excess >= 0, probabilities * excess, (probabilities - 1) * excess)
    return np.asarray(loss.mean(axis=1), dtype=np.float64)
