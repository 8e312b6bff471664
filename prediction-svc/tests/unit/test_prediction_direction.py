from typing import Any

import numpy as np
import pytest

from prediction_svc.direction import (
    base_rates,
    own_multiplier,
    own_multipliers,
    replay_multipliers,
    up_probabilities,
)
from prediction_svc.histories import History
from prediction_svc.panel import build_panel, outcomes_of
from prediction_svc.recipe import Recipe

MakeHistory = Any
RECIPE = Recipe()


@pytest.mark.parametrize("horizon", [1, 5])
def test_base_rates_count_what_had_resolved(mixed_histories: list[History], horizon: int) -> None:
    panel = build_panel(mixed_histories, RECIPE)
    outcomes = outcomes_of(panel, horizon)
    rows = np.array([panel.rows(panel.symbols.index(s)).stop - 30 for s in ("COIN", "T0", "NY03")])
    found = base_rates(panel, outcomes, rows, RECIPE)
    for row, rate in zip(rows, found, strict=True):
        known = outcomes.seconds <= panel.seconds[row]
        up = outcomes.moves > 0
        pool = (up[known].sum() + 50) / (known.sum() + 100)
        group = panel.group_of[panel.symbol_of] == panel.group_of[panel.symbol_of[row]]
        own = known & group
        assert rate == pytest.approx((up[own].sum() + 250 * pool) / (own.sum() + 250), rel=1e-12)


def test_probability_of_up_by_hand() -> None:
    base, score = np.array([0.52, 0.52, 0.52]), np.array([1.0, -2.0, 4.0])
    made = up_probabilities(base, score, np.array([1.0, 1.0, 40.0]), RECIPE)
    np.testing.assert_allclose(made, [0.526, 0.508, 0.98])


def test_own_multiplier_by_hand() -> None:
    scores, moves = np.array([1.0, -1.0, 2.0]), np.array([0.5, -0.3, 0.1])
    kappa = (0.5 + 0.3 + 0.2 + 3000 * 0.015) / (6 + 3000)
    assert own_multiplier(scores, moves, RECIPE) == pytest.approx(kappa / 0.015)
    assert own_multiplier(np.ones(9000), -np.ones(9000), RECIPE) == 0.0
    assert own_multiplier(np.zeros(0), np.zeros(0), RECIPE) == 1.0


def planted(make_history: MakeHistory, follows: float) -> Any:
    """A stock whose move follows a score, the forecasts of 700 sessions and their base rates."""
    panel = build_panel([make_history("A", sessions=800)], RECIPE)
    random = np.random.default_rng(6)
    noise = random.standard_normal(800)
    standardised = panel.next_returns / panel.sigma
    score = np.where(np.isfinite(standardised), follows * standardised, 0) + noise
    score = score / score.std()
    base = np.where(panel.own_session >= 100, 0.5, np.nan)
    return panel, score, base


def test_a_symbol_with_direction_gets_a_multiplier_of_its_own(make_history: MakeHistory) -> None:
    panel, score, base = planted(make_history, 0.6)
    multipliers, directions = replay_multipliers(panel, score, base, RECIPE)
    assert directions == {"A"}
    first = 100 + 150  # the first review
    assert (multipliers[:first] == 1).all()
    assert (multipliers[first:] > 2).all()
    rows = np.flatnonzero(np.isfinite(base))
    standardised = panel.next_returns / panel.sigma
    k = 555
    expected = own_multiplier(score[100:k], standardised[100:k], RECIPE)
    assert multipliers[k] == pytest.approx(expected, rel=1e-12)
    latest = own_multipliers(panel, score, rows, directions, RECIPE)
    assert latest.tobytes() == multipliers[-1:].tobytes()
    assert own_multipliers(panel, score, rows, frozenset(), RECIPE).tolist() == [1.0]


def test_a_symbol_without_direction_gets_none(make_history: MakeHistory) -> None:
    panel, score, base = planted(make_history, 0.0)
    multipliers, directions = replay_multipliers(panel, score, base, RECIPE)
    assert directions == frozenset()
    assert (multipliers == 1).all()
