import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prediction_svc.histories import History
from prediction_svc.panel import build_panel
from prediction_svc.quantiles import move_quantiles, no_learning_scale, pinball_loss
from prediction_svc.recipe import LEVELS, Recipe

MakeHistory = Any


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


def test_the_pool_is_what_had_resolved_at_the_close(mixed_histories: list[History]) -> None:
    recipe = Recipe()
    panel = build_panel(mixed_histories, recipe)
    scale = no_learning_scale(panel)
    of = panel.symbols.index("T0")
    row = panel.rows(of).stop - 40
    now = panel.seconds[row]
    pool: list[float] = []
    for i in range(len(panel.symbols)):
        own = panel.rows(i)
        residuals = [
            panel.next_returns[k] / scale[k]
            for k in range(own.start, own.stop)
            if panel.next_seconds[k] <= now
        ]
        recent = residuals[-recipe.residual_sessions :]
        pool += [residual for residual in recent if math.isfinite(residual)]
    made = move_quantiles(panel, scale, np.array([row]), 30, recipe)
    expected = np.quantile(pool, LEVELS) * scale[row]
    np.testing.assert_array_equal(made.quantiles[0], expected)


def test_quantiles_never_cross(mixed_histories: list[History]) -> None:
    panel = build_panel(mixed_histories, Recipe())
    rows = np.flatnonzero(panel.own_session >= 60)
    made = move_quantiles(panel, no_learning_scale(panel), rows, 30, Recipe()).quantiles
    made = made[np.isfinite(made).all(axis=1)]
    assert len(made) > 10_000
    assert (np.diff(made, axis=1) >= 0).all()


def test_a_young_market_has_no_quantiles(make_history: MakeHistory) -> None:
    histories = [make_history(f"S{i}", sessions=45) for i in range(20)]
    panel = build_panel(histories, Recipe())
    made = move_quantiles(panel, no_learning_scale(panel), panel.last_rows, 30, Recipe())
    assert np.isnan(made.quantiles).all()
    least = move_quantiles(panel, no_learning_scale(panel), panel.last_rows, 20, Recipe())
    assert np.isfinite(least.quantiles).all()


def test_bands_cover_what_they_say(mixed_histories: list[History]) -> None:
    panel = build_panel(mixed_histories, Recipe())
    rows = np.flatnonzero((panel.own_session >= 250) & np.isfinite(panel.next_returns))
    made = move_quantiles(panel, no_learning_scale(panel), rows, 30, Recipe()).quantiles
    moves = panel.next_returns[rows]
    covered = (moves >= made[:, 1]) & (moves <= made[:, -2])
    assert covered.mean() == pytest.approx(0.8, abs=0.02)
