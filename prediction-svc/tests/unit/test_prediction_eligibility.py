import math
from typing import Any

import numpy as np
import pytest

from prediction_svc.eligibility import why_not
from prediction_svc.histories import COLUMNS, History, clean_history
from prediction_svc.panel import build_panel, volatility
from prediction_svc.recipe import Recipe
from prediction_svc.testing import next_forecasts

MakeHistory = Any
RECIPE = Recipe()


def changed(history: History, **columns: Any) -> History:
    kept = {name: getattr(history, name) for name in COLUMNS} | columns
    return clean_history(history.symbol, history.days, history.close_seconds, kept, history.group)


def reason(history: History) -> str | None:
    why = why_not(history, RECIPE)
    return why.reason if why else None


@pytest.mark.parametrize(("bars", "expected"), [(4, "HISTORY_TOO_SHORT"), (5, None), (300, None)])
def test_the_least_history(make_history: MakeHistory, bars: int, expected: str | None) -> None:
    assert reason(make_history("A", sessions=bars)) == expected


@pytest.mark.parametrize(
    ("ago", "factor", "expected"),
    [
        (1, 0.5, "CORPORATE_ACTION_PENDING"),
        (1, 10.0, "CORPORATE_ACTION_PENDING"),
        (5, 1 / 3, "CORPORATE_ACTION_PENDING"),
        (6, 0.5, None),  # it was real: 5 sessions have passed
        (1, math.exp(-0.55), None),  # no split has this ratio
        (1, 0.75, None),
    ],
)
def test_a_move_like_an_untold_split_is_withheld(
    make_history: MakeHistory, ago: int, factor: float, expected: str | None
) -> None:
    history: History = make_history("A", sessions=300)
    flat = np.full(300, 20.0)
    flat[-ago:] *= factor
    prices = dict.fromkeys(("opens", "highs", "lows", "closes"), flat)
    assert reason(changed(history, **prices)) == expected


def test_a_halted_stock_is_named_and_a_quiet_one_is_not(make_history: MakeHistory) -> None:
    history: History = make_history("A", sessions=300)
    closes, volumes = history.closes.copy(), history.volumes.copy()
    closes[-10:], volumes[-10:] = closes[-11], 0.0
    assert reason(changed(history, closes=closes, volumes=volumes)) == "TRADING_HALTED"
    assert reason(changed(history, closes=closes)) is None
    assert reason(changed(history, volumes=volumes)) is None


def test_an_unknown_group_is_refused(make_history: MakeHistory) -> None:
    history: History = make_history("A", sessions=10)
    columns = {name: getattr(history, name) for name in COLUMNS}
    with pytest.raises(ValueError, match="A: group 'shares' does not begin with one of equity"):
        clean_history("A", history.days, history.close_seconds, columns, "shares")


def test_few_bars_lean_on_the_group(make_history: MakeHistory) -> None:
    others = [make_history(f"S{i}", sessions=300, group="equity:XNYS") for i in range(4)]
    coin = make_history("COIN", sessions=300, group="24/7")
    new: History = make_history("NEW", sessions=30, group="equity:XNYS")
    panel = build_panel([*others, coin, new], RECIPE)
    row = panel.last_rows[panel.symbols.index("NEW")]
    peers = [panel.last_rows[panel.symbols.index(f"S{i}")] for i in range(4)]
    pool = np.log(panel.sigma[peers]).mean()
    own = np.log(volatility([new], RECIPE.decay, 1)[0][0][-1])
    assert np.log(panel.sigma[row]) == pytest.approx((29 * own + 31 * pool) / 60, abs=1e-8)
    first = panel.rows(panel.symbols.index("NEW")).start
    earlier = [panel.last_rows[panel.symbols.index(f"S{i}")] - 29 for i in range(4)]
    assert np.log(panel.sigma[first]) == pytest.approx(
        np.log(panel.sigma[earlier]).mean(), abs=1e-8
    )
    alone = build_panel([new], RECIPE)
    assert np.isnan(alone.sigma[:20]).all()


@pytest.mark.parametrize("bars", [5, 12, 45])
def test_a_short_history_is_forecast_like_its_group(make_history: MakeHistory, bars: int) -> None:
    others = [make_history(f"S{i}", sessions=300) for i in range(5)]
    batch = next_forecasts([*others, make_history("NEW", sessions=bars)], RECIPE)
    reach = {symbol: made.log_moves[-1] for symbol, made in batch.items()}
    assert len(reach) == 6
    usual = np.median([reach[f"S{i}"] for i in range(5)])
    assert usual / 4 < reach["NEW"] < usual * 4
