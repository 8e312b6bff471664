import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prediction_svc.histories import COLUMNS, Floats, History, Ints, clean_history
from prediction_svc.panel import Panel, build_panel, outcomes_of
from prediction_svc.quantiles import (
    Moves,
    Predictions,
    move_quantiles,
    no_learning_scale,
    pinball_loss,
    strictly_rising,
)
from prediction_svc.recipe import LEVELS, Recipe
from prediction_svc.width import widen

MakeHistory = Any


def forecast(panel: Panel, rows: Ints, least_sessions: int = 30, horizon: int = 1) -> Moves:
    """Quantiles of the no-learning scale by the product's recipe."""
    scale = no_learning_scale(panel, horizon)
    predicted = Predictions(horizon, scale, np.zeros(len(scale)), least_sessions)
    return move_quantiles(panel, predicted, rows, Recipe())


@given(
    move=st.floats(-0.5, 0.5),
    quantiles=st.lists(st.floats(-0.5, 0.5), min_size=len(LEVELS), max_size=len(LEVELS)),
)
def test_pinball_loss_is_its_definition(move: float, quantiles: list[float]) -> None:
    losses = [
        level * (move - q) if move >= q else (1 - level) * (q - move)
        for level, q in zip(LEVELS, quantiles, strict=True)
    ]
    (loss,) = pinball_loss(np.array([move]), np.array([quantiles]))
    assert loss == pytest.approx(sum(losses) / len(losses), abs=1e-15)


@pytest.mark.parametrize(("horizon", "window"), [(1, 250), (5, 500), (20, 500)])
def test_the_pool_is_what_had_resolved_at_the_close(
    make_history: MakeHistory, horizon: int, window: int
) -> None:
    histories = [make_history(f"N{i}", sessions=640) for i in range(3)]
    histories += [make_history("T", sessions=600, closes_at=6.0)]
    panel = build_panel(histories, Recipe())
    scale, outcomes = no_learning_scale(panel, horizon), outcomes_of(panel, horizon)
    row = panel.rows(panel.symbols.index("T")).stop - 40
    pool: list[float] = []
    for i in range(len(panel.symbols)):
        own = panel.rows(i)
        residuals = [
            outcomes.moves[k] / scale[k]
            for k in range(own.start, own.stop)
            if outcomes.seconds[k] <= panel.seconds[row]
        ]
        pool += [residual for residual in residuals[-window:] if math.isfinite(residual)]
    made = forecast(panel, np.array([row]), horizon=horizon)
    expected = np.quantile(pool, LEVELS) * scale[row]
    np.testing.assert_array_equal(made.quantiles[0], expected)


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_outcomes_are_the_closes_own_sessions_ahead(
    mixed_histories: list[History], horizon: int
) -> None:
    panel = build_panel(mixed_histories, Recipe())
    outcomes = outcomes_of(panel, horizon)
    for i, history in enumerate(panel.histories):
        own = slice(panel.rows(i).start, panel.rows(i).stop - horizon)
        expected = np.log(history.closes[horizon:] / history.closes[:-horizon])
        np.testing.assert_allclose(outcomes.moves[own], expected, atol=1e-12)
        np.testing.assert_array_equal(outcomes.seconds[own], history.close_seconds[horizon:])
        assert np.isnan(outcomes.moves[own.stop : own.stop + horizon]).all()


def test_a_groups_quantiles_lean_on_those_of_all(make_history: MakeHistory) -> None:
    stocks = [make_history(f"S{i}", sessions=400) for i in range(9)]
    coin: History = make_history("COIN", sessions=400, every_day=True, closes_at=24.0)
    columns = {name: getattr(coin, name) for name in COLUMNS}
    alone = clean_history("COIN", coin.days, coin.close_seconds, columns, "24/7")
    panel = build_panel([*stocks, alone], Recipe())
    row = panel.rows(0).stop - 1
    scale = no_learning_scale(panel)
    own = (panel.next_returns / scale)[row - 250 : row]
    resolved = panel.next_seconds <= panel.seconds[row]
    pool = [
        (panel.next_returns / scale)[panel.rows(i)][resolved[panel.rows(i)]][-250:]
        for i in range(10)
    ]
    expected = (np.quantile(own, LEVELS) + np.quantile(np.concatenate(pool), LEVELS)) / 2
    made = forecast(panel, np.array([row])).quantiles[0]
    np.testing.assert_allclose(made, expected * scale[row], rtol=1e-12)


@given(
    st.lists(st.lists(st.floats(-0.5, 0.5), min_size=7, max_size=7), min_size=1, max_size=5).map(
        np.array
    )
)
def test_quantiles_that_meet_are_set_apart(quantiles: Floats) -> None:
    apart = strictly_rising(quantiles)
    assert (np.diff(apart, axis=1) > 0).all()
    risen = strictly_rising(np.sort(quantiles, axis=1))
    assert (np.abs(risen - np.sort(quantiles, axis=1)) <= 14e-6).all()
    untouched = (np.diff(quantiles, axis=1) >= 1e-6).all(axis=1)
    assert apart[untouched].tobytes() == quantiles[untouched].tobytes()


@given(
    scores=st.lists(st.floats(-4, 4), min_size=30, max_size=30),
    multiplier=st.floats(0, 60),
    log_width=st.floats(-0.5, 0.5),
)
@settings(deadline=None)
def test_published_quantiles_never_cross(
    scores: list[float], multiplier: float, log_width: float
) -> None:
    random = np.random.default_rng(len(scores))
    bare = np.sort(random.standard_normal((30, 7)), axis=1) * 0.01
    drift = 0.015 * multiplier * np.array(scores)[:, None] * 0.01
    published = strictly_rising(widen(bare + drift, log_width))
    assert (np.diff(published, axis=1) > 0).all()


def test_a_price_that_stands_still_tells_nothing_of_others(make_history: MakeHistory) -> None:
    moving = [make_history(f"S{i}", sessions=400) for i in range(3)]
    still: History = make_history("STILL", sessions=400)
    columns = {name: np.full(400, 7.0) for name in COLUMNS}
    flat = clean_history("STILL", still.days, still.close_seconds, columns)
    panel = build_panel([*moving, flat], Recipe())
    with_it = forecast(panel, panel.last_rows).quantiles
    without = build_panel(moving, Recipe())
    np.testing.assert_array_equal(with_it[:3], forecast(without, without.last_rows).quantiles)
    assert (np.diff(with_it[3]) > 0).all()


def test_a_young_market_has_no_quantiles(make_history: MakeHistory) -> None:
    histories = [make_history(f"S{i}", sessions=45) for i in range(20)]
    panel = build_panel(histories, Recipe())
    assert np.isnan(forecast(panel, panel.last_rows, 30).quantiles).all()
    assert np.isfinite(forecast(panel, panel.last_rows, 20).quantiles).all()


def test_bands_cover_what_they_say(mixed_histories: list[History]) -> None:
    panel = build_panel(mixed_histories, Recipe())
    rows = np.flatnonzero((panel.own_session >= 250) & np.isfinite(panel.next_returns))
    made = forecast(panel, rows).quantiles
    moves = panel.next_returns[rows]
    covered = (moves >= made[:, 1]) & (moves <= made[:, -2])
    assert covered.mean() == pytest.approx(0.8, abs=0.02)
