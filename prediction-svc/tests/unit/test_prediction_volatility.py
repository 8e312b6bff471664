import math
from typing import Any

import numpy as np
import pytest

from prediction_svc import rolling
from prediction_svc.histories import COLUMNS, History, clean_history
from prediction_svc.panel import build_panel, garman_klass, volatility
from prediction_svc.recipe import Recipe

MakeHistory = Any


def direct_ewma(values: list[float], decay: float) -> float:
    level, seen = math.nan, 0
    for value in values:
        if math.isnan(value):
            continue
        seen += 1
        if seen == 1:
            level = value
        elif 1 / seen > 1 - decay:
            level = level * (seen - 1) / seen + value / seen
        else:
            level = decay * level + (1 - decay) * value
    return level


def test_sigma_is_the_mean_of_two_ewmas(make_history: MakeHistory) -> None:
    history: History = make_history("A", sessions=90)
    ((sigma, of_returns),) = volatility([history], 0.94)
    for last in (20, 40, 89):
        squares, ranges = [], []
        for t in range(last + 1):
            o, h, low, c = (
                float(getattr(history, name)[t]) for name in ("opens", "highs", "lows", "closes")
            )
            garman = 0.5 * math.log(h / low) ** 2 - (2 * math.log(2) - 1) * math.log(c / o) ** 2
            ranges.append(garman)
            if t:
                squares.append(math.log(c / float(history.closes[t - 1])) ** 2)
        expected = (direct_ewma(squares, 0.94) + direct_ewma(ranges, 0.94)) / 2
        assert sigma[last] == pytest.approx(math.sqrt(expected), rel=1e-12)
        assert of_returns[last] == pytest.approx(math.sqrt(direct_ewma(squares, 0.94)), rel=1e-12)
    assert np.isnan(sigma[:20]).all()


def test_without_a_range_the_returns_alone_count(make_history: MakeHistory) -> None:
    history: History = make_history("A", sessions=60)
    columns = {name: getattr(history, name) for name in COLUMNS}
    columns |= dict.fromkeys(("opens", "highs", "lows"), history.closes)
    flat = clean_history("A", history.days, history.close_seconds, columns)
    assert np.isnan(garman_klass(flat)).all()
    ((sigma, of_returns),) = volatility([flat], 0.94)
    np.testing.assert_array_equal(sigma[20:], of_returns[20:])


def test_a_gap_carries_the_level_on() -> None:
    seen = rolling.ewma(np.array([1.0, np.nan, 3.0]), 0.94)
    np.testing.assert_array_equal(seen, [1.0, 1.0, 2.0])


@pytest.mark.parametrize("window", [1, 5, 21])
def test_windows_end_at_the_session(window: int) -> None:
    values = np.random.default_rng(1).standard_normal(40)
    means = rolling.mean(values, window, 1)
    highest = rolling.maximum(values, window)
    ago = rolling.sessions_since_maximum(values, window)
    for t in range(40):
        seen = values[max(0, t + 1 - window) : t + 1]
        assert means[t] == pytest.approx(seen.mean())
        if t + 1 >= window:
            assert highest[t] == seen.max()
            assert ago[t] == window - 1 - seen.argmax()
        else:
            assert math.isnan(highest[t])


def test_lagged_windows_end_earlier() -> None:
    values = np.arange(20.0)
    highest = rolling.maximum(values, 3, lag=4)
    assert np.isnan(highest[:6]).all()
    np.testing.assert_array_equal(highest[6:], values[2:16])


def test_labels_are_the_next_own_session(make_history: MakeHistory) -> None:
    short: History = make_history("B", sessions=30)
    long: History = make_history("A", sessions=40)
    panel = build_panel([short, long], Recipe())
    assert panel.symbols == ("A", "B")
    own = panel.rows(1)
    expected = np.diff(np.log(short.closes))
    np.testing.assert_array_equal(panel.next_returns[own][:-1], expected)
    assert np.isnan(panel.next_returns[own][-1])
    np.testing.assert_array_equal(panel.next_seconds[own][:-1], short.close_seconds[1:])


def test_a_bar_without_a_close_is_left_out(make_history: MakeHistory) -> None:
    history: History = make_history("A", sessions=5)
    columns = {name: getattr(history, name).copy() for name in COLUMNS}
    columns["closes"][2] = 0.0
    columns["opens"][1] = -1.0
    clean = clean_history("A", history.days, history.close_seconds, columns)
    np.testing.assert_array_equal(clean.days, history.days[[0, 1, 3, 4]])
    assert math.isnan(clean.opens[1])


def test_instants_must_rise(make_history: MakeHistory) -> None:
    history: History = make_history("A", sessions=5)
    columns = {name: getattr(history, name) for name in COLUMNS}
    with pytest.raises(ValueError, match="A: instants of closes do not rise"):
        clean_history("A", history.days, history.close_seconds[::-1], columns)
    with pytest.raises(ValueError, match="A: columns of different lengths"):
        clean_history("A", history.days[1:], history.close_seconds, columns)
