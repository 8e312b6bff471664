from typing import Any

import numpy as np
import pytest

from prediction_svc import jobs
from prediction_svc.crowd import means_across, ranks_among_peers
from prediction_svc.features import build_features
from prediction_svc.fits import fits_of
from prediction_svc.histories import COLUMNS, History, clean_history
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe
from prediction_svc.testing import models_of, next_forecasts

MakeHistory = Any


def changed(history: History, **columns: Any) -> History:
    kept = {name: getattr(history, name) for name in COLUMNS}
    return clean_history(history.symbol, history.days, history.close_seconds, kept | columns)


def difficult(make_history: MakeHistory) -> list[History]:
    """A stock that never moves, one that jumps, one without volumes, one of two bars."""
    still: History = make_history("STILL", sessions=500)
    flat = np.full(500, 7.0)
    prices = dict.fromkeys(("opens", "highs", "lows", "closes"), flat)
    jump: History = make_history("JUMP", sessions=500)
    factor = np.where(np.arange(500) < 400, 1.0, 1000.0)
    jumped = {name: getattr(jump, name) * factor for name in ("opens", "highs", "lows", "closes")}
    return [
        changed(still, **prices, volumes=np.zeros(500)),
        changed(jump, **jumped),
        changed(make_history("DARK", sessions=500), volumes=np.full(500, np.nan)),
        make_history("TWO", sessions=2),
        make_history("PLAIN", sessions=500),
    ]


def test_difficult_histories_are_missing_values_and_finite_forecasts(
    make_history: MakeHistory, quick_recipe: Recipe
) -> None:
    histories = difficult(make_history)
    panel = build_panel(histories, quick_recipe)
    features = build_features(panel)
    assert features.values.shape == (2002, len(features.names))
    assert not np.isinf(features.values).any()
    dark = features.values[panel.rows(0), features.names.index("volume 1")]
    assert np.isnan(dark).all()
    assert np.isfinite(features.values[panel.last_rows[2]]).all()
    reasons = {symbol: why.reason for symbol, why in jobs.refusals(histories, quick_recipe).items()}
    assert reasons == {"STILL": "TRADING_HALTED", "TWO": "HISTORY_TOO_SHORT"}
    without = next_forecasts(histories, quick_recipe)
    fits = fits_of(histories)[-2:]
    models = models_of(histories, fits, quick_recipe)
    learned = next_forecasts(histories, quick_recipe, models)
    for batch in (without, learned):
        assert set(batch) == {"JUMP", "DARK", "PLAIN"}
        for made in batch.values():
            assert np.isfinite(made.log_moves).all()
            assert list(made.log_moves) == sorted(made.log_moves)


def test_one_short_or_seven_day_symbol_empties_nobodys_rows(make_history: MakeHistory) -> None:
    stocks = [make_history(f"S{i}", sessions=400) for i in range(3)]
    others = [
        make_history("COIN", sessions=300, every_day=True, closes_at=24.0),
        make_history("LATE", sessions=30),
    ]
    alone = build_features(build_panel(stocks, Recipe())).values
    panel = build_panel([*stocks, *others], Recipe())
    together = build_features(panel).values[panel.rows(panel.symbols.index("S0"))]
    assert np.isnan(together).sum() <= np.isnan(alone[:400]).sum()
    assert np.isfinite(together[300:]).all()


def test_means_are_exact_in_any_order() -> None:
    random = np.random.default_rng(1)
    values = random.standard_normal((50, 37))
    values[random.random((50, 37)) < 0.2] = np.nan
    among = random.random((50, 37)) < 0.8
    means = means_across(values, among)
    order = random.permutation(37)
    np.testing.assert_array_equal(means, means_across(values[:, order], among[:, order]))
    expected = np.nanmean(np.where(among, values, np.nan), axis=1)
    np.testing.assert_allclose(means, expected, atol=1e-9)


@pytest.mark.parametrize(("symbols", "ranked"), [(19, False), (20, True), (24, True)])
def test_ranks_need_twenty_peers_and_average_ties(
    make_history: MakeHistory, symbols: int, ranked: bool
) -> None:
    histories = [make_history(f"S{i:02d}", sessions=3) for i in range(symbols)]
    # one that closes at another instant is nobody's peer
    panel = build_panel([*histories, make_history("T", sessions=3, closes_at=6.0)], Recipe())
    values = np.repeat(np.arange(symbols + 1) // 2, 3).astype(float)
    ranks = ranks_among_peers(panel, values)
    last = ranks[panel.last_rows]
    assert last[-1] == 0.0
    if not ranked:
        assert (ranks == 0).all()
        return
    assert last[0] == last[1] == pytest.approx(1 / symbols - 0.5)
    assert last[:symbols].sum() == pytest.approx(0.0)
    assert (np.diff(last[:symbols:2]) > 0).all()


def test_tokyo_does_not_see_new_york_of_the_same_date(make_history: MakeHistory) -> None:
    tokyo = make_history("T", sessions=300, closes_at=6.0)
    new_york = make_history("N", sessions=300)
    louder = new_york.closes.copy()
    louder[200] *= 1.2
    names = build_features(build_panel([tokyo], Recipe())).names
    quiet, loud = (
        build_features(build_panel([tokyo, changed(new_york, closes=closes)], Recipe()))
        for closes in (new_york.closes, louder)
    )
    column = names.index("market |z|")
    # rows of N come first; both markets trade on the same dates
    same = quiet.values[300:, column] == loud.values[300:, column]
    assert same[100:201].all()
    assert not same[201]
