"""Online control of the bands' width: wider after misses, narrower after hits.

An adaptive conformal controller on the logarithm of the width, after Gibbs and Candès (2021): each
time that forecasts of a group resolve, the log-width moves by γ · (0.8 − their coverage) and then
decays towards 0. A forecast is as wide as the state was at its as-of close.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import NEVER, Outcomes, Panel
from prediction_svc.quantiles import Moves
from prediction_svc.recipe import LEVELS, Recipe

LOW, MIDDLE, HIGH = LEVELS.index(0.10), LEVELS.index(0.50), LEVELS.index(0.90)
COVERAGE = 0.8


@dataclass(frozen=True)
class WidthState:
    """What is known of the width of one group's bands at one horizon after some instant."""

    log_width: float = 0.0
    coverages: tuple[float, ...] = ()
    """Coverage of the forecasts that resolved together, the latest last, at most 250."""

    def digest(self) -> str:
        """SHA-256 of the state, in hex: equal states have equal ones, bit for bit."""
        values = (self.log_width, *self.coverages)
        return sha256(" ".join(value.hex() for value in values).encode()).hexdigest()


WidthStates = Mapping[str, WidthState]
"""States by the name of the group; one that is absent is at its beginning."""


@dataclass(frozen=True)
class Resolved:
    """The forecasts of one group and horizon whose outcomes became known at one instant."""

    group: str
    second: int
    hits: int
    """How many of the published 80 % bands held the outcome, ends included."""
    count: int


def advance(state: WidthState, resolved: Resolved, horizon: int, recipe: Recipe) -> WidthState:
    """Return the state after the forecasts of one instant; to be called in order of instants.

    γ = 0.15 / horizon · min(1, n_eff / 8): the more symbols miss together, the less it says.
    """
    coverage = resolved.hits / resolved.count
    coverages = (*state.coverages, coverage)[-recipe.width_sessions :]
    effective = effective_count(coverages, resolved.count)
    gain = recipe.width_gain / horizon * min(1.0, effective / recipe.width_symbols)
    moved = recipe.width_decay * (state.log_width + gain * (COVERAGE - coverage))
    return WidthState(min(max(moved, -recipe.width_limit), recipe.width_limit), coverages)


def effective_count(coverages: Iterable[float], count: int) -> float:
    """How many independent forecasts `count` pooled ones are worth, 1 to `count`.

    n / (1 + (n − 1) ρ̄) with the mean correlation ρ̄ of their hits: the ratio of the variance of
    one hit, p (1 − p), to that of the mean of n. Two at most before 20 sessions were seen.
    """
    seen = np.fromiter(coverages, dtype=np.float64)
    if len(seen) < 20:
        return min(count, 2.0)
    mean, variance = float(seen.mean()), float(seen.var())
    if variance <= 0:
        return float(count)
    return min(max(mean * (1 - mean) / variance, 1.0), float(count))


def advance_all(
    states: WidthStates, resolved: Iterable[Resolved], horizon: int, recipe: Recipe
) -> dict[str, WidthState]:
    """Advance the states of all groups by what resolved since, in order of its instants."""
    advanced = dict(states)
    for one in sorted(resolved, key=lambda one: (one.second, one.group)):
        state = advanced.get(one.group, WidthState())
        advanced[one.group] = advance(state, one, horizon, recipe)
    return advanced


def widen(quantiles: Floats, log_widths: Floats | float) -> Floats:
    """Stretch quantiles, shape (n, levels), about their median by exp(log-width), shape (n,)."""
    middle = quantiles[:, MIDDLE : MIDDLE + 1]
    factor = np.exp(np.asarray(log_widths, dtype=np.float64)).reshape(-1, 1)
    return np.asarray(middle + factor * (quantiles - middle), dtype=np.float64)


def hits_of(moves: Floats, quantiles: Floats) -> NDArray[np.bool_]:
    """Whether each log move, shape (n,), lies in its published 80 % band, ends included."""
    return np.asarray((moves >= quantiles[:, LOW]) & (moves <= quantiles[:, HIGH]), dtype=np.bool_)


def replay(
    panel: Panel, outcomes: Outcomes, moves: Moves, recipe: Recipe
) -> tuple[Floats, dict[str, WidthState]]:
    """Run the control over past forecasts, each group by itself, as if they had been published.

    `moves` are not yet widened (NaN: none was made). Returns the log-width that each had, shape
    (rows,), and the state of each group after all that has resolved.
    """
    log_widths = np.zeros(len(moves.rows))
    states: dict[str, WidthState] = {}
    group_of = panel.group_of[panel.symbol_of[moves.rows]]
    for group, name in enumerate(panel.groups):
        own = np.flatnonzero((group_of == group) & np.isfinite(moves.quantiles[:, 0]))
        if len(own):
            rows, quantiles = moves.rows[own], moves.quantiles[own]
            known = (panel.seconds[rows], outcomes.seconds[rows], outcomes.moves[rows])
            log_widths[own], states[name] = _replay_group(
                name, known, quantiles, outcomes.horizon, recipe
            )
    return log_widths, states


def _replay_group(
    name: str,
    known: tuple[Ints, Ints, Floats],
    quantiles: Floats,
    horizon: int,
    recipe: Recipe,
) -> tuple[Floats, WidthState]:
    # instants of as-of closes, those of outcomes, and the outcomes, one each a forecast
    made_at, resolved_at, moves = known
    log_widths = np.zeros(len(made_at))
    state = WidthState()
    instants = np.unique(np.concatenate((made_at, resolved_at[resolved_at < NEVER])))
    making, resolving = np.argsort(made_at, kind="stable"), np.argsort(resolved_at, kind="stable")
    made_to = np.searchsorted(made_at[making], instants, side="right")
    resolved_to = np.searchsorted(resolved_at[resolving], instants, side="right")
    first_made = first_resolved = 0
    for instant, last_made, last_resolved in zip(instants, made_to, resolved_to, strict=True):
        if last_resolved > first_resolved:
            due = resolving[first_resolved:last_resolved]
            hits = hits_of(moves[due], widen(quantiles[due], log_widths[due]))
            one = Resolved(name, int(instant), int(hits.sum()), len(due))
            state = advance(state, one, horizon, recipe)
        log_widths[making[first_made:last_made]] = state.log_width
        first_made, first_resolved = last_made, last_resolved
    return log_widths, state
