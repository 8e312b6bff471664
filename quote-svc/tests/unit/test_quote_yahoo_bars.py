"""What becomes of a chart's numbers, without anything on the way."""

import math
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from quote_svc.market import epoch_day
from quote_svc.source import Nonsense, SourceHistory
from quote_svc.yahoo_bars import history_of, instrument_of

DAYS = [date(2024, 1, day) for day in (2, 3, 4, 5, 8)]
META: dict[str, Any] = {
    "instrumentType": "EQUITY",
    "currency": "GBp",
    "exchangeName": "LSE",
    "exchangeTimezoneName": "Europe/London",
    "regularMarketPrice": 504.0,
    "regularMarketTime": int(datetime(2024, 1, 8, 16, 30, tzinfo=UTC).timestamp()),
    "priceHint": 2,
}


def read(
    closes: list[float], dividend: float = 0.0, adjusted: list[float] | None = None, **meta: Any
) -> SourceHistory:
    """The history of these closes; the dividend is paid on the fourth day."""
    frame = pd.DataFrame(
        {
            **dict.fromkeys(("Open", "High", "Low", "Close"), closes),
            "Adj Close": adjusted or closes,
            "Volume": [0] * 5,
            "Dividends": [0.0, 0, 0, dividend, 0],
            "Stock Splits": [0.0] * 5,
        },
        index=pd.DatetimeIndex(DAYS).tz_localize("Europe/London"),
    )
    return history_of("ABC.L", frame, {**META, **meta}, None)


CLOSES = [500.0, 501, 502, 503, 504]


def with_step(share: float) -> list[float]:
    """Adjusted closes that a dividend of this share of the close before has stepped down."""
    return [close * (1 - share) for close in CLOSES[:3]] + CLOSES[3:]


@pytest.mark.parametrize(
    ("amount", "share", "pounds"),
    [
        pytest.param(5.02, 0.01, 0.0502, id="in pence"),
        pytest.param(0.0502, 0.01, 0.0502, id="in pounds"),
        pytest.param(0.9, 0.9 / 502, 0.009, id="a small one in pence"),
        pytest.param(1.2, 120 / 502, 1.2, id="a large one in pounds"),
        pytest.param(8.0, 0, 0.08, id="no step; a yield of 160 % if it were pounds"),
        pytest.param(0.08, 0, 0.08, id="no step"),
    ],
)
def test_the_step_of_the_adjusted_close_says_in_which_unit_a_dividend_is(
    amount: float, share: float, pounds: float
) -> None:
    history = read(CLOSES, amount, with_step(share))
    assert history.bars.dividends.tolist() == pytest.approx([0, 0, 0, pounds, 0])


def test_dividends_of_other_currencies_are_taken_as_they_are() -> None:
    assert read(CLOSES, 0.5, currency="USD").bars.dividends[3] == 0.5


def test_a_future_that_fell_below_zero_has_a_gap_there() -> None:
    history = read([20, 10, -37.63, 15, 16], currency="USD", instrumentType="FUTURE")
    assert math.isnan(history.bars.closes[2])
    assert history.bars.closes[3] == 15


def test_nothing_else_falls_below_zero() -> None:
    with pytest.raises(Nonsense, match="below zero"):
        read([20, 10, -37.63, 15, 16])


def test_a_price_of_zero_is_a_price_that_was_lost() -> None:
    history = read([500, 0, 502, 503, 504])
    assert history.bars.session_days.tolist() == [epoch_day(day) for day in DAYS]
    assert math.isnan(history.bars.closes[1])


@pytest.mark.parametrize(
    "gone", [{"regularMarketPrice": None}, {"regularMarketTime": None}, {"regularMarketPrice": 0}]
)
def test_no_price_or_no_time_is_no_quote(gone: dict[str, Any]) -> None:
    assert read(CLOSES, **gone).quote is None


def test_the_close_before_is_told_only_by_the_bars_around_the_quote() -> None:
    later = int(datetime(2025, 6, 2, 12, tzinfo=UTC).timestamp())
    quote = read(CLOSES, regularMarketTime=later).quote
    assert quote is not None
    assert quote.previous_close is None


def test_a_day_range_that_is_none_is_left_out() -> None:
    quote = read(CLOSES, regularMarketDayLow=506.0, regularMarketDayHigh=505.0).quote
    assert quote is not None
    assert (quote.day_low, quote.day_high) == (None, None)


def test_an_index_without_a_currency_has_the_code_for_none() -> None:
    instrument = instrument_of("^VIX", {**META, "currency": None, "instrumentType": "INDEX"})
    assert instrument.currency_code == "XXX"
    assert instrument.price_decimals == 2
