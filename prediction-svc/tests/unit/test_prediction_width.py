import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prediction_svc.forecasting import backtest, forecast_latest, usable_rows, without_learning
from prediction_svc.histories import History
from prediction_svc.panel import NEVER, build_panel, outcomes_of
from prediction_svc.quantiles import Moves
from prediction_svc.recipe import Recipe
from prediction_svc.width import (
    Resolved,
    WidthState,
    advance,
    advance_all,
    effective_count,
    hits_of,
    replay,
    widen,
)

MakeHistory = Any
RECIPE = Recipe()


def test_one_step_by_hand() -> None:
    # two independent forecasts at most count before 20 sessions: γ = .15 · 2 / 8
    moved = advance(WidthState(0.1), Resolved("g", 0, hits=6, count=10), 1, RECIPE)
    assert moved.log_width == pytest.approx(0.98 * (0.1 + 0.15 * 2 / 8 * (0.8 - 0.6)))
    assert moved.coverages == (0.6,)
    far = advance(WidthState(0.1), Resolved("g", 0, hits=6, count=10), 5, RECIPE)
    assert far.log_width == pytest.approx(0.98 * (0.1 + 0.15 / 5 * 2 / 8 * 0.2))


def test_the_width_is_bounded_and_returns_to_0() -> None:
    state = WidthState()
    for second in range(2000):
        state = advance(state, Resolved("g", second, hits=0, count=40), 1, RECIPE)
    assert state.log_width == 0.5
    assert len(state.coverages) == 250
    for second in range(400):
        state = advance(state, Resolved("g", second, hits=32, count=40), 1, RECIPE)
    assert abs(state.log_width) < 0.01


def test_effective_count_is_that_of_correlated_hits() -> None:
    """n / (1 + (n − 1) ρ̄), where hits that are equal with chance ρ correlate by ρ."""
    random = np.random.default_rng(3)
    n, share = 20, 0.3
    common = random.random((5000, 1)) < 0.8
    own = random.random((5000, n)) < 0.8
    together = random.random((5000, n)) < math.sqrt(share)
    hits = np.where(together, common, own)
    expected = n / (1 + (n - 1) * share)
    assert effective_count(hits.mean(axis=1), n) == pytest.approx(expected, rel=0.1)
    assert effective_count([0.8] * 19, 40) == 2.0
    assert effective_count([0.8] * 20, 40) == 40.0
    assert effective_count([0.0, 1.0] * 20, 40) == 1.0


@given(log_width=st.floats(-0.5, 0.5), middle=st.floats(-0.1, 0.1))
def test_widening_is_about_the_median(log_width: float, middle: float) -> None:
    quantiles = middle + np.array([[-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]])
    wide = widen(quantiles, log_width)
    assert wide[0, 3] == quantiles[0, 3]
    np.testing.assert_allclose(wide - middle, (quantiles - middle) * math.exp(log_width))


def bands(mixed_histories: list[History], horizon: int) -> tuple[Any, Any, Moves]:
    panel = build_panel(mixed_histories, RECIPE)
    rows = np.flatnonzero(panel.own_session >= 60)
    reach = 1.2 * panel.long_sd[rows, None] * math.sqrt(horizon)
    return panel, outcomes_of(panel, horizon), Moves(rows, reach * np.linspace(-1.5, 1.5, 7))


@pytest.mark.parametrize("horizon", [1, 5])
def test_replay_is_what_advancing_day_by_day_gives(
    mixed_histories: list[History], horizon: int
) -> None:
    """As a service would: forecasts are stored as published, and scored when they resolve."""
    panel, outcomes, moves = bands(mixed_histories, horizon)
    log_widths, states = replay(panel, outcomes, moves, RECIPE)
    live: dict[str, WidthState] = {}
    published: dict[int, Any] = {}
    used: dict[int, float] = {}
    groups = [panel.groups[panel.group_of[s]] for s in panel.symbol_of]
    made_at, resolved_at = panel.seconds[moves.rows], outcomes.seconds[moves.rows]
    instants = np.unique(np.concatenate((made_at, resolved_at[resolved_at < NEVER])))
    for now in instants.tolist():
        due: dict[str, list[bool]] = {}
        for k in np.flatnonzero(resolved_at == now).tolist():
            row = moves.rows[k]
            hit = hits_of(outcomes.moves[row : row + 1], published.pop(k))
            due.setdefault(groups[row], []).append(bool(hit[0]))
        resolved = [Resolved(name, now, sum(hits), len(hits)) for name, hits in due.items()]
        live = advance_all(live, resolved, horizon, RECIPE)
        for k in np.flatnonzero(made_at == now).tolist():
            used[k] = live.get(groups[moves.rows[k]], WidthState()).log_width
            published[k] = widen(moves.quantiles[k : k + 1], used[k])
    assert np.array([used[k] for k in range(len(moves.rows))]).tobytes() == log_widths.tobytes()
    assert {name: state.digest() for name, state in states.items()} == {
        name: state.digest() for name, state in live.items()
    }
    assert set(states) == {"24/7", "equity:XNYS", "equity:XTKS", "fund"}


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_the_latest_forecast_is_the_last_of_the_backtest(
    mixed_histories: list[History], horizon: int
) -> None:
    panel = build_panel(mixed_histories, RECIPE)
    predicted = without_learning(panel, horizon, RECIPE)
    made, standing = backtest(panel, predicted, usable_rows(panel, predicted, RECIPE), RECIPE)
    latest = forecast_latest(panel, predicted, standing, RECIPE)
    last = made.chosen(np.isin(made.rows, panel.last_rows))
    assert latest.quantiles.tobytes() == last.quantiles.tobytes()
    assert latest.p_up.tobytes() == last.p_up.tobytes()


def test_a_state_is_told_apart_by_every_bit() -> None:
    state = WidthState(0.1, (0.8, 0.75))
    assert state.digest() == WidthState(0.1, (0.8, 0.75)).digest()
    others = [WidthState(math.nextafter(0.1, 1), (0.8, 0.75)), WidthState(0.1, (0.75, 0.8))]
    assert len({state.digest(), *(other.digest() for other in others)}) == 3


def test_width_control_follows_a_change_of_volatility(make_history: MakeHistory) -> None:
    histories = [make_history(f"S{i:02d}", sessions=900) for i in range(30)]
    panel = build_panel(histories, RECIPE)
    rows = np.flatnonzero(panel.own_session >= 60)
    random = np.random.default_rng(8)
    spread = np.where(panel.own_session < 400, 0.01, 0.013)
    moves = spread * random.standard_normal(len(spread))
    outcomes = outcomes_of(panel, 1)
    known = np.where(np.isfinite(outcomes.moves), moves, np.nan)
    levels = np.array([-1.645, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.645])
    fixed = Moves(rows, np.tile(0.01 * levels, (len(rows), 1)))
    log_widths, _ = replay(panel, type(outcomes)(1, known, outcomes.seconds), fixed, RECIPE)
    late = (panel.own_session[rows] > 480) & np.isfinite(known[rows])
    bare = hits_of(known[rows][late], fixed.quantiles[late]).mean()
    controlled = hits_of(known[rows][late], widen(fixed.quantiles, log_widths)[late]).mean()
    assert bare == pytest.approx(0.676, abs=0.01)
    assert controlled > 0.77
