"""From what yfinance makes of a chart to what a Source gives: days, units, the latest price."""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from quote_svc.market import Floats, InstrumentKind, epoch_day
from quote_svc.source import (
    Nonsense,
    SourceBars,
    SourceHistory,
    SourceInstrument,
    SourceQuote,
)
from quote_svc.yahoo_chart import MINOR_UNITS

KINDS = {
    "EQUITY": InstrumentKind.STOCK,
    "ETF": InstrumentKind.ETF,
    "INDEX": InstrumentKind.INDEX,
    "MUTUALFUND": InstrumentKind.FUND,
    "MONEYMARKET": InstrumentKind.FUND,
    "CURRENCY": InstrumentKind.FX,
    "CRYPTOCURRENCY": InstrumentKind.CRYPTO,
    "FUTURE": InstrumentKind.FUTURE,
}
_MOST_DECIMALS = 8
NO_CURRENCY = "XXX"  # ISO 4217 for "no currency", as of an index in points
_MAY_FALL_BELOW_ZERO = (InstrumentKind.FUTURE,)  # crude oil did in April 2020
_WITHOUT_VOLUME = (InstrumentKind.FX, InstrumentKind.FUND, InstrumentKind.INDEX)


def minor_divisor(unit: str | None) -> float:
    """What a price in Yahoo's `unit` is divided by to be in the major unit."""
    return 100.0 if unit in MINOR_UNITS else 1.0


def history_of(
    symbol: str, frame: Any, meta: Mapping[str, Any], start: date | None
) -> SourceHistory:
    """The answer for `symbol`: `frame` and `meta` are yfinance's, of Ticker.history.

    Raises Nonsense where it cannot be right.
    """
    instrument = instrument_of(symbol, meta)
    bars = _bars_of(instrument, frame, meta)
    quote = quote_of(instrument, bars, meta)
    if start is not None:
        first = int(np.searchsorted(bars.session_days, epoch_day(start)))
        bars = SourceBars(*(column[first:] for column in vars(bars).values()))
    return SourceHistory(instrument, bars, quote)


def instrument_of(symbol: str, meta: Mapping[str, Any]) -> SourceInstrument:
    """Who it is, from a chart's "meta"."""
    kind = KINDS.get(str(meta.get("instrumentType")))
    if kind is None:
        raise Nonsense(f"{symbol} is of a type that is not served: {meta.get('instrumentType')}")
    unit = meta.get("currency")
    decimals = meta.get("priceHint")
    decimals = min(max(decimals, 0), _MOST_DECIMALS) if isinstance(decimals, int) else 2
    return SourceInstrument(
        symbol=symbol,
        display_name=str(meta.get("longName") or meta.get("shortName") or symbol),
        kind=kind,
        exchange_code=str(meta.get("exchangeName") or ""),
        timezone=str(meta["exchangeTimezoneName"]),
        currency_code=MINOR_UNITS.get(str(unit), str(unit)) if unit else NO_CURRENCY,
        price_decimals=decimals + 2 if unit in MINOR_UNITS else decimals,
    )


def _bars_of(instrument: SourceInstrument, frame: Any, meta: Mapping[str, Any]) -> SourceBars:
    # The index holds midnights of the exchange's own days, in its own time zone.
    days = frame.index.tz_localize(None).to_numpy("datetime64[D]").astype(np.int64)
    if not len(days) or (np.diff(days) <= 0).any():
        raise Nonsense(f"Yahoo's bars of {instrument.symbol} are not in the order of their days")
    prices = {name: _floats(frame[name]) for name in ("Open", "High", "Low", "Close", "Adj Close")}
    lost = _lost(instrument, prices)
    for column in prices.values():
        column[lost | (column <= 0)] = math.nan
    if np.isnan(prices["Close"]).all():
        raise Nonsense(f"Yahoo's bars of {instrument.symbol} have no close")
    dividends = _floats(frame["Dividends"])
    divisor = minor_divisor(meta.get("currency"))
    if divisor != 1:
        dividends = _in_minor_unit(dividends, prices["Close"], prices["Adj Close"])
    splits = _floats(frame["Stock Splits"])
    return SourceBars(
        session_days=days,
        opens=prices["Open"] / divisor,
        highs=prices["High"] / divisor,
        lows=prices["Low"] / divisor,
        closes=prices["Close"] / divisor,
        volumes=_floats(frame["Volume"]),
        dividends=dividends / divisor,
        split_factors=np.where(splits > 0, splits, 1.0),
    )


def _floats(column: Any) -> Floats:
    return np.array(column, dtype=np.float64)


def _lost(instrument: SourceInstrument, prices: Mapping[str, Floats]) -> Any:
    """Which bars cannot be used at all; raises Nonsense for prices below zero elsewhere."""
    values = np.vstack([prices[name] for name in ("Open", "High", "Low", "Close")])
    below = (values < 0).any(axis=0)
    if below.any() and instrument.kind not in _MAY_FALL_BELOW_ZERO:
        raise Nonsense(f"Yahoo's bars of {instrument.symbol} hold prices below zero")
    return below | np.isinf(values).any(axis=0)


def _in_minor_unit(dividends: Floats, closes: Floats, adjusted: Floats) -> Floats:
    """Dividends in the unit of the closes: Yahoo gives some in pounds, others in pence.

    The step of the adjusted close across the ex-date says which, being (close before - dividend)
    / close before; without a step a payment of more than the price in pounds must be pence.
    """
    converted = dividends.copy()
    for at in np.flatnonzero(dividends > 0):
        before = int(at) - 1
        while before >= 0 and not (closes[before] > 0):
            before -= 1
        if before < 0:
            previous, step = float(closes[at]), math.nan
        else:
            previous = float(closes[before])
            ratio = (adjusted[before] / previous) / (adjusted[at] / closes[at])
            step = 1 - float(ratio)
        share = float(dividends[at]) / previous
        if math.isfinite(step) and step > 1e-6:
            in_major = abs(math.log(step / (share * 100))) < abs(math.log(step / share))
        else:
            in_major = share * 100 <= 1
        if in_major:
            converted[at] *= 100
    return converted


def quote_of(
    instrument: SourceInstrument, bars: SourceBars, meta: Mapping[str, Any]
) -> SourceQuote | None:
    """The latest price, None where a chart's "meta" has none that can be right."""
    divisor = minor_divisor(meta.get("currency"))
    price = _positive(meta.get("regularMarketPrice"))
    moment = _instant(meta.get("regularMarketTime"))
    if price is None or moment is None:
        return None
    low = _positive(meta.get("regularMarketDayLow"))
    high = _positive(meta.get("regularMarketDayHigh"))
    if low is None or high is None or low > high:
        low = high = None
    volume = meta.get("regularMarketVolume")
    least = 1 if instrument.kind in _WITHOUT_VOLUME else 0
    if not isinstance(volume, int | float) or volume < least:
        volume = None
    if _out_of_scale(price / divisor, bars):
        return None
    session_day = epoch_day(moment.astimezone(ZoneInfo(instrument.timezone)).date())
    return SourceQuote(
        price=price / divisor,
        as_of_time=moment,
        previous_close=_previous_close(bars, session_day, meta, divisor),
        day_low=None if low is None else low / divisor,
        day_high=None if high is None else high / divisor,
        volume=None if volume is None else float(volume),
    )


def _previous_close(
    bars: SourceBars, session_day: int, meta: Mapping[str, Any], divisor: float
) -> float | None:
    """The close before `session_day`, in the major unit, where Yahoo itself says it.

    "chartPreviousClose" is the close before the chart's first bar. Before a later bar Yahoo may
    have lost a session, which only a calendar can tell: the bar before is not taken for it.
    """
    before = _positive(meta.get("chartPreviousClose"))
    if before is None or not len(bars.session_days) or bars.session_days[0] != session_day:
        return None
    return before / divisor


def _out_of_scale(price: float, bars: SourceBars) -> bool:
    """Whether a price is in another unit than the bars: at times Yahoo mixes pounds and pence."""
    closes = bars.closes[~np.isnan(bars.closes)]
    return not closes[-1] / 50 < price < closes[-1] * 50


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _instant(value: object) -> datetime | None:
    """A time of a chart's "meta": seconds since the epoch, or what yfinance made of them."""
    if isinstance(value, datetime):
        # pandas' Timestamp is a datetime of its own kind; what leaves here is a plain one.
        return datetime.fromtimestamp(value.timestamp(), UTC)
    if isinstance(value, int) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    return None
