import json
from datetime import UTC, datetime

import pytest

from gateway.model import Forecast, Forecasts, Quote, Quotes, Reason, Score, Session
from gateway.watchlist import NOT_ANSWERED, OTHER_MARKET, Row, row_json, watchlist_rows

NOW = datetime(2019, 12, 31, 21, 0, tzinfo=UTC)
DOWN = Reason("UNAVAILABLE", "quote-svc can't be reached at the moment.")


def a_quote(symbol: str = "AAPL", next_date: str = "2020-01-02") -> Quote:
    next_session = Session(next_date, NOW, NOW)
    return Quote(
        symbol, "Apple", "USD", 2, 293.65, NOW, 291.52, "2019-12-31", "closed", next_session
    )


def a_forecast(
    symbol: str = "AAPL",
    *,
    close: float | None = 200.0,
    expected: float | None = 200.5,
    low: float = 196.0,
    high: float = 203.0,
) -> Forecast:
    return Forecast(
        symbol=symbol,
        as_of_session="2019-12-31",
        target_session="2020-01-02",
        target_inferred=False,
        reference_close=close,
        currency="USD",
        decimals=2,
        quantiles=((0.1, low), (0.5, 200.5), (0.9, high)),
        expected_close=expected,
        forecaster="scale_model",
        model_version="7",
        score=Score(2.0, 0.5, 3.5, 250, "backtest"),
    )


def rows(quotes: Quotes | Reason, forecasts: Forecasts | Reason) -> list[Row]:
    return watchlist_rows(("AAPL", "MSFT"), quotes, forecasts)


def quotes(*found: Quote, market_id: str = "m") -> Quotes:
    return Quotes(market_id, NOW, {each.symbol: each for each in found})


def forecasts(*found: Forecast, market_id: str = "m") -> Forecasts:
    return Forecasts(market_id, {each.symbol: each for each in found})


def test_expected_move_is_relative_to_the_reference_close_and_not_to_the_price() -> None:
    row = rows(quotes(a_quote()), forecasts(a_forecast()))[0]
    content = row_json(row)
    assert content["currentPrice"] == 293.65
    assert content["limit_up_down"] == round(100 * (200.5 - 200.0) / 200.0, 2) == 0.25
    assert content["predictScore"] == 2.0
    assert content["band"] == {"low": 196.0, "high": 203.0, "level": 0.8}
    assert content["changePercent"] == pytest.approx(100 * (293.65 - 291.52) / 291.52)
    assert content["forecastState"] == "current"
    assert content["forecastSessionOpen"] == "2019-12-31T21:00:00Z"


def test_a_small_fall_is_no_negative_zero() -> None:
    row = rows(quotes(a_quote()), forecasts(a_forecast(expected=199.999)))[0]
    assert str(row.expected_move) == "0.0"


@pytest.mark.parametrize(("close", "expected"), [(0.0, 1.0), (None, 1.0), (1.0, None), (-1.0, 1.0)])
def test_a_move_that_is_no_number_is_null(close: float | None, expected: float | None) -> None:
    row = rows(quotes(a_quote()), forecasts(a_forecast(close=close, expected=expected)))[0]
    assert row.expected_move is None
    json.dumps(row_json(row), allow_nan=False)


def test_a_service_that_is_down_leaves_nulls_and_a_reason() -> None:
    without_prices, _ = rows(DOWN, forecasts(a_forecast()))
    content = row_json(without_prices)
    assert content["currentPrice"] is None
    assert content["priceReason"] == {"reason": "UNAVAILABLE", "message": DOWN.message}
    assert content["limit_up_down"] == 0.25
    assert content["forecastState"] is None
    without_forecasts, _ = rows(quotes(a_quote()), DOWN)
    content = row_json(without_forecasts)
    assert content["currentPrice"] == 293.65
    assert [content[key] for key in ("predictScore", "limit_up_down", "forecastSession")] == [
        None,
        None,
        None,
    ]
    assert content["forecastReason"] == {"reason": "UNAVAILABLE", "message": DOWN.message}


def test_a_symbol_that_nobody_mentions_has_a_reason_too() -> None:
    _, missing = rows(quotes(a_quote()), forecasts(a_forecast()))
    assert (missing.price_reason, missing.forecast_reason) == (NOT_ANSWERED, NOT_ANSWERED)


def test_forecasts_of_another_market_are_not_shown() -> None:
    row = rows(quotes(a_quote()), forecasts(a_forecast(), market_id="other"))[0]
    assert row.forecast is None
    assert row.forecast_reason == OTHER_MARKET


def test_a_forecast_of_an_older_session_is_updating_and_lends_no_hours() -> None:
    row = rows(quotes(a_quote(next_date="2020-01-03")), forecasts(a_forecast()))[0]
    content = row_json(row)
    assert content["forecastState"] == "updating"
    assert content["forecastSession"] == "2020-01-02"
    assert content["forecastSessionOpen"] is None
