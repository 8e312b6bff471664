"""The rows of a watchlist: subscriptions with quotes and forecasts, any of which may lack."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from gateway.drawings import reach, sparkline
from gateway.languages import N_
from gateway.model import Fetching, Forecast, Forecasts, Market, Quote, Quotes, Reason, Training

T = TypeVar("T")

BAND = (0.10, 0.90)
BAND_LEVEL = 0.8
OTHER_MARKET = Reason(
    "MARKET_MISMATCH", "The forecasts at hand are of another market; new ones are being made."
)
# Beside what nobody has answered for yet.
PENDING = Reason("PENDING", N_("It is being fetched."))
# What is being fetched or made by a service that answers.
_PENDING_REASONS = frozenset({"PENDING", "HISTORY_PENDING", "FORECAST_PENDING"})
NOT_ANSWERED = Reason("NOT_ANSWERED", "Nothing was answered for this symbol.")


@dataclass(frozen=True, slots=True)
class Row:
    """One subscription with what is known of it; where a part is None its reason is not."""

    symbol: str
    quote: Quote | None
    price_reason: Reason | None
    forecast: Forecast | None
    forecast_reason: Reason | None

    @property
    def is_price_pending(self) -> bool:
        """Whether the price is still to come."""
        return self.price_reason is not None and self.price_reason.reason in _PENDING_REASONS

    @property
    def is_forecast_pending(self) -> bool:
        """Whether the forecast is still to come."""
        return self.forecast_reason is not None and self.forecast_reason.reason in _PENDING_REASONS

    @property
    def change_percent(self) -> float | None:
        """Price against the previous close, in percent."""
        if self.quote is None:
            return None
        return percent_move(self.quote.price, self.quote.previous_close)

    @property
    def expected_move(self) -> float | None:
        """Expected close against the reference close, in percent, rounded to two decimals."""
        if self.forecast is None:
            return None
        move = percent_move(self.forecast.expected_close, self.forecast.reference_close)
        return None if move is None else round(move, 2) + 0.0  # no "-0.0"

    @property
    def band(self) -> tuple[float, float] | None:
        """Prices of the 10 % and the 90 % quantile."""
        if self.forecast is None:
            return None
        low, high = (_quantile(self.forecast, probability) for probability in BAND)
        return None if low is None or high is None else (low, high)

    @property
    def band_moves(self) -> tuple[float, float] | None:
        """The band against the reference close, in percent."""
        if self.forecast is None or self.band is None:
            return None
        low, high = (percent_move(price, self.forecast.reference_close) for price in self.band)
        return None if low is None or high is None else (low, high)

    @property
    def reach(self) -> float:
        """How far the band reaches from no change, in percent; 0 without a band."""
        return round(reach(self.band_moves), 2)

    @property
    def spark(self) -> str:
        """The points of a line through the last closes; empty where there are too few."""
        return sparkline(self.quote.recent_closes) if self.quote else ""

    @property
    def median_move(self) -> float | None:
        """The median against the reference close, in percent."""
        if self.forecast is None:
            return None
        return percent_move(_quantile(self.forecast, 0.5), self.forecast.reference_close)

    @property
    def forecast_state(self) -> str | None:
        """ "current", or "updating" where a newer session is next; None where one can't tell."""
        if self.forecast is None or self.quote is None or self.quote.next_session is None:
            return None
        is_next = self.forecast.target_session == self.quote.next_session.date
        return "current" if is_next else "updating"


def watchlist_rows(
    symbols: tuple[str, ...], quotes: Quotes | Reason, forecasts: Forecasts | Reason
) -> list[Row]:
    """Join in the order of ``symbols``; a Reason in place of an answer stands beside every row."""
    # Prices of different markets never mix, not even for the moment of a change.
    if (
        isinstance(quotes, Quotes)
        and isinstance(forecasts, Forecasts)
        and quotes.market_id != forecasts.market_id
    ):
        forecasts = OTHER_MARKET
    if isinstance(quotes, Reason):
        quotes = Quotes("", None, missing=dict.fromkeys(symbols, quotes))
    if isinstance(forecasts, Reason):
        forecasts = Forecasts("", missing=dict.fromkeys(symbols, forecasts))
    rows = []
    for symbol in symbols:
        quote, price_reason = _answer(symbol, quotes.found, quotes.missing)
        forecast, forecast_reason = _answer(symbol, forecasts.found, forecasts.missing)
        rows.append(Row(symbol, quote, price_reason, forecast, forecast_reason))
    return rows


def percent_move(price: float | None, reference: float | None) -> float | None:
    """Return 100 * (price - reference) / reference; None where that is no finite number."""
    if price is None or reference is None or reference <= 0:
        return None
    move = 100 * (price - reference) / reference
    return move if math.isfinite(move) else None


def market_json(market: Market, market_time: datetime | None) -> dict[str, Any]:
    """Return where prices come from as programs get it."""
    return {
        "id": market.market_id,
        "kind": market.kind,
        "name": market.name,
        "synthetic": market.synthetic,
        "notices": list(market.notices),
        "time": iso(market_time),
    }


def row_json(row: Row) -> dict[str, Any]:
    """Return the row as programs get it; the first four keys have always had these names."""
    score = row.forecast.score if row.forecast else None
    return {
        "symbol": row.symbol,
        "predictScore": score and score.value,
        "currentPrice": row.quote and row.quote.price,
        "limit_up_down": row.expected_move,
        **_quote_json(row),
        **_forecast_json(row),
        "predictScoreLow": score and score.low,
        "predictScoreHigh": score and score.high,
        "predictScoreN": score and score.sessions,
        "predictScoreBasis": score and score.basis,
    }


def _quote_json(row: Row) -> dict[str, Any]:
    quote = row.quote
    return {
        "name": quote and quote.name,
        "currency": quote.currency if quote else row.forecast and row.forecast.currency,
        "priceAsOf": quote and iso(quote.as_of),
        "priceSource": quote and quote.source,
        "priceSession": quote and quote.session_date,
        "previousClose": quote and quote.previous_close,
        "changePercent": row.change_percent,
        "dayLow": quote and quote.day_low,
        "dayHigh": quote and quote.day_high,
        "volume": quote and quote.volume,
        "sessionState": quote and quote.state,
        "stale": quote and bool(quote.stale_reason),
        "staleReason": quote.stale_reason or None if quote else None,
        "recentCloses": quote and list(quote.recent_closes),
        "priceReason": reason_json(row.price_reason),
    }


def _forecast_json(row: Row) -> dict[str, Any]:
    forecast = row.forecast
    next_session = row.quote.next_session if row.quote else None
    if forecast is None or next_session is None or next_session.date != forecast.target_session:
        next_session = None  # its hours would be those of another session
    band = row.band
    return {
        "forecastSession": forecast and forecast.target_session,
        "forecastSessionOpen": iso(next_session.open_time) if next_session else None,
        "forecastSessionClose": iso(next_session.close_time) if next_session else None,
        "forecastSessionInferred": forecast and forecast.target_inferred,
        "forecastState": row.forecast_state,
        "asOfSession": forecast and forecast.as_of_session,
        "referenceClose": forecast and forecast.reference_close,
        "expectedClose": forecast and forecast.expected_close,
        "band": {"low": band[0], "high": band[1], "level": BAND_LEVEL} if band else None,
        "quantiles": [
            {"probability": probability, "price": price}
            for probability, price in (forecast.quantiles if forecast else ())
        ],
        "forecaster": forecast and forecast.forecaster,
        "modelVersion": forecast.model_version or None if forecast else None,
        "forecastReason": reason_json(row.forecast_reason),
    }


def fetching_json(fetching: Fetching | None) -> dict[str, int] | None:
    """How far the first fetching of histories is."""
    if fetching is None:
        return None
    return {"known": fetching.known, "failed": fetching.failed, "total": fetching.total}


def training_json(training: Training | None) -> dict[str, object] | None:
    """How far training is; seconds of real time, null while they cannot be told."""
    if training is None:
        return None
    remaining = training.remaining
    return {
        "stage": training.stage,
        "fraction": training.fraction,
        "remainingSeconds": None if remaining is None else round(remaining.total_seconds()),
    }


def reason_json(reason: Reason | None) -> dict[str, str] | None:
    """Return reason and message as programs get them."""
    return {"reason": reason.reason, "message": reason.message} if reason else None


def _answer(
    symbol: str, found: Mapping[str, T], missing: Mapping[str, Reason]
) -> tuple[T | None, Reason | None]:
    answer = found.get(symbol)
    return (answer, None) if answer else (None, missing.get(symbol, NOT_ANSWERED))


def _quantile(forecast: Forecast, probability: float) -> float | None:
    for candidate, price in forecast.quantiles:
        if math.isclose(candidate, probability, abs_tol=1e-9):
            return price
    return None


def iso(instant: datetime | None) -> str | None:
    """Return an instant as programs get it, "2019-12-31T21:00:00Z"."""
    return instant.isoformat().replace("+00:00", "Z") if instant else None
