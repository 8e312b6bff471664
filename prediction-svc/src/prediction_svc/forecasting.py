"""From predicted scales and scores to published forecasts: quantiles, P(up) and width."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from prediction_svc.direction import (
    base_rates,
    own_multipliers,
    replay_multipliers,
    up_probabilities,
)
from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import Panel, outcomes_of
from prediction_svc.quantiles import (
    Moves,
    Predictions,
    move_quantiles,
    no_learning_scale,
    strictly_rising,
)
from prediction_svc.recipe import Recipe
from prediction_svc.record import Record
from prediction_svc.scores import NORMAL_QUANTILES
from prediction_svc.width import WidthState, replay, widen


@dataclass(frozen=True)
class Standing:
    """What forecasts of one horizon carry on from: to be stored with each batch."""

    states: Mapping[str, WidthState] = field(default_factory=dict)
    """Width states by group; one that is absent is at its beginning."""
    directions: frozenset[str] = frozenset()
    """Symbols whose direction verdict stands."""


@dataclass(frozen=True)
class Forecasts:
    """Published forecasts of n rows of a panel at one horizon; NaN where none is made."""

    horizon: int
    rows: Ints
    quantiles: Floats
    """Log moves, shape (n, levels), strictly rising."""
    p_up: Floats
    base_rate: Floats
    score: Floats
    multiplier: Floats
    """Of the pool's drift: other than 1 only where a symbol's direction verdict stands."""
    log_width: Floats

    def chosen(self, which: NDArray[np.bool_] | Ints) -> "Forecasts":
        """Those at the given indices, or where a mask is true."""
        names = ("rows", "quantiles", "p_up", "base_rate", "score", "multiplier", "log_width")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    @property
    def made(self) -> NDArray[np.bool_]:
        """Mask of the rows that have a forecast."""
        return np.asarray(np.isfinite(self.quantiles).all(axis=1), dtype=np.bool_)


def without_learning(panel: Panel, horizon: int, recipe: Recipe) -> Predictions:
    """√(EWMA σ · 250-day sd · horizon), and no direction."""
    return _undirected(horizon, no_learning_scale(panel, horizon), recipe)


def naive(panel: Panel, horizon: int, recipe: Recipe) -> Predictions:
    """EWMA σ of the returns alone · √horizon, and no direction: the naive forecaster."""
    return _undirected(horizon, panel.return_sigma * np.sqrt(horizon), recipe)


def farther(panel: Panel, predicted: Predictions, horizon: int) -> Predictions:
    """Predictions of a horizon beyond 1 from those of 1: √(scale · 250-day sd · horizon)."""
    scale = np.sqrt(predicted.scale * panel.long_sd * horizon)
    return replace(predicted, horizon=horizon, scale=scale)


def _undirected(horizon: int, scale: Floats, recipe: Recipe) -> Predictions:
    return Predictions(horizon, scale, np.zeros(len(scale)), recipe.min_residual_sessions)


def usable_rows(panel: Panel, predicted: Predictions, recipe: Recipe) -> Ints:
    """Rows of symbols with enough bars that a forecast could have been made of."""
    usable = np.isfinite(predicted.scale) & (panel.own_session + 1 >= recipe.min_bars)
    return np.flatnonzero(usable).astype(np.int64)


def backtest(
    panel: Panel, predicted: Predictions, rows: Ints, recipe: Recipe
) -> tuple[Forecasts, Standing]:
    """Forecast rows one after the other, as if each had been published at its as-of close.

    `rows` are all `usable_rows`, or those up to some instant, since width and multipliers know
    their past. Returns the forecasts, and what stands after all that has resolved.
    """
    outcomes = outcomes_of(panel, predicted.horizon)
    multipliers, directions = np.ones(len(panel.seconds)), frozenset[str]()
    base = np.full(len(panel.seconds), np.nan)
    base[rows] = base_rates(panel, outcomes, rows, recipe)
    if predicted.horizon == 1:
        multipliers, directions = replay_multipliers(panel, predicted.score, base, recipe)
    bare = _unwidened(panel, predicted, rows, multipliers[rows], recipe)
    log_width, states = replay(panel, outcomes, bare, recipe)
    direction = base[rows], multipliers[rows]
    forecasts = _published(predicted, bare, log_width, direction, recipe)
    return forecasts, Standing(states, directions)


def forecast_latest(
    panel: Panel, predicted: Predictions, carried: Standing, recipe: Recipe
) -> Forecasts:
    """Forecast the latest row of each symbol, given what stands at its close.

    The same forecasts as the last of `backtest`, bit for bit, where the same stands.
    """
    rows = panel.last_rows
    base = base_rates(panel, outcomes_of(panel, predicted.horizon), rows, recipe)
    multipliers = np.ones(len(rows))
    if predicted.horizon == 1 and carried.directions:
        usable = usable_rows(panel, predicted, recipe)
        score, directions = predicted.score, carried.directions
        multipliers = own_multipliers(panel, score, usable, directions, recipe)
    bare = _unwidened(panel, predicted, rows, multipliers, recipe)
    by_group = [carried.states.get(name, WidthState()).log_width for name in panel.groups]
    log_width = np.array(by_group)[panel.group_of]
    return _published(predicted, bare, log_width, (base, multipliers), recipe)


def _unwidened(
    panel: Panel, predicted: Predictions, rows: Ints, multipliers: Floats, recipe: Recipe
) -> Moves:
    moves = move_quantiles(panel, predicted, rows, recipe)
    old_enough = panel.own_session[rows] + 1 >= recipe.least_bars
    quantiles = np.where(old_enough[:, None], moves.quantiles, np.nan)
    if predicted.horizon != 1:
        return Moves(rows, quantiles)
    drift = recipe.drift_per_score * multipliers * predicted.score[rows] * panel.sigma[rows]
    return Moves(rows, quantiles + drift[:, None])


def _published(
    predicted: Predictions,
    bare: Moves,
    log_width: Floats,
    direction: tuple[Floats, Floats],
    recipe: Recipe,
) -> Forecasts:
    base, multipliers = direction
    score = predicted.score[bare.rows]
    # the score is about the next session alone
    of_next = score if predicted.horizon == 1 else np.zeros(len(score))
    return Forecasts(
        horizon=predicted.horizon,
        rows=bare.rows,
        quantiles=strictly_rising(widen(bare.quantiles, log_width)),
        p_up=up_probabilities(base, of_next, multipliers, recipe),
        base_rate=base,
        score=score,
        multiplier=multipliers,
        log_width=log_width,
    )


def baselines(
    panel: Panel, rows: Ints, horizon: int, recipe: Recipe
) -> tuple[Floats, Floats, Floats]:
    """Naive quantiles of log moves made at the same closes, each of shape (rows, levels).

    EWMA-normal: √horizon · EWMA σ · normal quantiles, mean 0. EWMA × empirical: with pooled
    quantiles of its own past residuals. 250-day sd × empirical: the same with that sd.
    """
    ewma, long_sd = (sd * np.sqrt(horizon) for sd in (panel.return_sigma, panel.long_sd))
    normal = ewma[rows][:, None] * NORMAL_QUANTILES[None, :]
    empirical, of_long_sd = (
        move_quantiles(panel, _undirected(horizon, scale, recipe), rows, recipe).quantiles
        for scale in (ewma, long_sd)
    )
    return normal, empirical, of_long_sd


def record_of(panel: Panel, forecasts: Forecasts, recipe: Recipe) -> Record:
    """Past forecasts beside what happened: those that were made and have resolved, by target."""
    outcomes = outcomes_of(panel, forecasts.horizon)
    sigma = panel.return_sigma * np.sqrt(forecasts.horizon)
    rows = forecasts.rows
    naive_ones = baselines(panel, rows, forecasts.horizon, recipe)
    known = forecasts.made & np.isfinite(outcomes.moves[rows])
    for quantiles in naive_ones:
        known &= np.isfinite(quantiles).all(axis=1)
    kept = np.flatnonzero(known)
    kept = kept[np.argsort(outcomes.seconds[rows[kept]], kind="stable")]
    chosen, rows = forecasts.chosen(kept), rows[kept]
    return Record(
        horizon=forecasts.horizon,
        symbols=np.array(panel.symbols)[panel.symbol_of[rows]],
        target_days=panel.days[rows + forecasts.horizon],
        moves=outcomes.moves[rows],
        quantiles=chosen.quantiles,
        p_up=chosen.p_up,
        base_rate=chosen.base_rate,
        score=chosen.score,
        sigma=sigma[rows],
        baselines=tuple(quantiles[kept] for quantiles in naive_ones),
    )
