"""The middle of the distribution: the probability of up, and a drift shrunk hard towards 0."""

from collections.abc import Set

import numpy as np
from numpy.typing import NDArray

from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import Outcomes, Panel
from prediction_svc.recipe import Recipe
from prediction_svc.verdicts import direction_gains, review, reviews_of

SMALLEST_P, LARGEST_P = 0.02, 0.98
PSEUDO_MOVES = 100  # half of them up: a young market's base rate is near one half


def base_rates(panel: Panel, outcomes: Outcomes, rows: Ints, recipe: Recipe) -> Floats:
    """Share of up moves among all that had resolved at each row's close, shape (rows,).

    Of all symbols (ups + 50) / (n + 100); a group's own share weighs n / (n + 250) against it.
    """
    ends = panel.seconds[rows]
    resolved = np.isfinite(outcomes.moves)
    ups, count = _resolved_by(outcomes, resolved, ends)
    everybody = (ups + PSEUDO_MOVES / 2) / (count + PSEUDO_MOVES)
    result = everybody.copy()
    group_of = panel.group_of[panel.symbol_of]
    for group in range(len(panel.groups)):
        own = group_of[rows] == group
        ups, count = _resolved_by(outcomes, resolved & (group_of == group), ends[own])
        weight = recipe.group_weight
        result[own] = (ups + weight * everybody[own]) / (count + weight)
    return result


def _resolved_by(outcomes: Outcomes, among: NDArray[np.bool_], ends: Ints) -> tuple[Floats, Floats]:
    # how many rose, and how many resolved at all, by each instant
    rows = np.flatnonzero(among)
    order = rows[np.argsort(outcomes.seconds[rows], kind="stable")]
    risen = np.concatenate(([0.0], np.cumsum(outcomes.moves[order] > 0)))
    by = np.searchsorted(outcomes.seconds[order], ends, side="right")
    return risen[by], by.astype(np.float64)


def own_multiplier(scores: Floats, moves: Floats, recipe: Recipe) -> float:
    """How many times the pool's drift a symbol deserves, from its past scores and moves in σ.

    κ / κ_pool with κ = (Σ score · move + P · κ_pool) / (Σ score² + P): a regression through 0
    shrunk to the pool. Never below 0: a score is not turned round.
    """
    pool = recipe.drift_per_score
    # summed pairwise: unlike BLAS, to the same bits wherever the arrays lie in memory
    above = float((scores * moves).sum()) + recipe.drift_prior * pool
    kappa = above / (float((scores * scores).sum()) + recipe.drift_prior)
    return max(kappa, 0.0) / pool


def up_probabilities(
    base: Floats, score: Floats, multiplier: Floats | float, recipe: Recipe
) -> Floats:
    """Base rate + 0.006 · multiplier · standardised rank score, within .02 and .98."""
    published = base + recipe.up_per_score * multiplier * score
    return np.clip(published, SMALLEST_P, LARGEST_P)


def own_multipliers(
    panel: Panel, score: Floats, rows: Ints, standing: Set[str], recipe: Recipe
) -> Floats:
    """Multiplier of each symbol's latest row, shape (S,): 1 unless its direction verdict stands.

    Scores have the shape (N,); `rows` are those that forecasts could have been made of.
    """
    standardised = panel.next_returns / panel.sigma
    multipliers = np.ones(len(panel.symbols))
    for i, symbol in enumerate(panel.symbols):
        if symbol in standing:
            own = rows[(panel.symbol_of[rows] == i) & (score[rows] != 0)]
            past = own[own < panel.last_rows[i]]
            multipliers[i] = own_multiplier(score[past], standardised[past], recipe)
    return multipliers


def replay_multipliers(
    panel: Panel, score: Floats, base: Floats, recipe: Recipe
) -> tuple[Floats, frozenset[str]]:
    """Multiplier of each row, shape (N,), as if its forecasts had been published one by one.

    A symbol's own multiplier applies from a review at which its direction verdict is reached to
    one at which it is lost; before and after it is 1. `base` is NaN where no forecast was made.
    Also returns the symbols whose verdict stands at their latest row.
    """
    multipliers = np.ones(len(score))
    standardised = panel.next_returns / panel.sigma
    directions: list[str] = []
    for symbol in range(len(panel.symbols)):
        own = panel.rows(symbol)
        rows = own.start + np.flatnonzero(np.isfinite(base[own]) & (score[own] != 0))
        multipliers[rows], stands = _replay_symbol(
            score[rows], standardised[rows], panel.next_returns[rows], base[rows], recipe
        )
        if stands:
            directions.append(panel.symbols[symbol])
    return multipliers, frozenset(directions)


def _replay_symbol(
    score: Floats, standardised: Floats, moves: Floats, base: Floats, recipe: Recipe
) -> tuple[Floats, bool]:
    # Row k is made when the outcomes of those before it are known, its own not yet.
    multipliers = np.ones(len(score))
    gains = np.zeros(len(score))
    stands = False
    for first, last in reviews_of(len(score)):
        if first:
            stands, _ = review(gains[:first], stands)
        for k in range(first, last):
            if stands:
                multipliers[k] = own_multiplier(score[:k], standardised[:k], recipe)
        part = slice(first, last)
        published = up_probabilities(base[part], score[part], multipliers[part], recipe)
        gains[part] = direction_gains(published, base[part], moves[part])
    return multipliers, stands
