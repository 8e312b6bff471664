"""What Yahoo's chart endpoint answers, judged before anything is computed from it.

The shape: {"chart": {"result": [{"meta", "timestamp", "events", "indicators"}], "error"}}.
"""

import json
import logging
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quote_svc.source import Nonsense, UnknownSymbol

_log = logging.getLogger("foretick.quote.yahoo")
_COLUMNS = ("open", "high", "low", "close", "volume")
_NUMBERS = {int, float, type(None)}
_EVENTS = ("dividends", "splits", "capitalGains")

# Yahoo quotes some exchanges in a hundredth of the currency, told apart by case alone.
MINOR_UNITS = {"GBp": "GBP", "GBX": "GBP", "ZAc": "ZAR", "ILA": "ILS"}


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object of an answer; raises Nonsense for HTML, half a JSON and the like."""
    try:
        document = json.loads(body)
    except ValueError as error:
        start = body[:40].decode("utf-8", "replace")
        raise Nonsense(f"Yahoo's answer is not JSON; it starts with {start!r}") from error
    if not isinstance(document, dict):
        raise Nonsense("Yahoo's answer is not a JSON object")
    return document


def mend_chart(document: dict[str, Any], status: int, symbol: str) -> None:
    """Checks a chart, and changes in place what yfinance would stumble over or get wrong.

    Raises UnknownSymbol where Yahoo itself says with its 404 that there is no such symbol, and
    Nonsense where the answer is none: an error, no bars, columns that don't fit, no price at all.
    """
    chart = document.get("chart")
    error = chart.get("error") if isinstance(chart, dict) else document.get("finance")
    if status == 404 and isinstance(error, dict) and error.get("code") == "Not Found":
        raise UnknownSymbol(f"Yahoo doesn't know {symbol}: {error.get('description')}")
    if not isinstance(chart, dict) or error or status >= 400:
        raise Nonsense(f"Yahoo answered {status} for {symbol}: {json.dumps(error)[:200]}")
    results = chart.get("result")
    if not isinstance(results, list) or not results or not isinstance(results[0], dict):
        raise Nonsense(f"Yahoo's chart of {symbol} is empty")
    result = results[0]
    zone = _checked_meta(result.get("meta"), symbol)
    _check_columns(result, symbol)
    _fill_volumes(result)
    _settle_dividends(result, symbol)
    _add_event_rows(result, zone)


def _checked_meta(meta: object, symbol: str) -> ZoneInfo:
    """The exchange's time zone, once it is sure that the chart is of `symbol`."""
    if not isinstance(meta, dict):
        raise Nonsense(f"Yahoo's chart of {symbol} doesn't say what it is of")
    named = meta.get("symbol")
    if not isinstance(named, str) or _pair(named) != _pair(symbol):
        raise Nonsense(f"Yahoo answered with the chart of {named!r} for {symbol}")
    for key in ("instrumentType", "currency"):
        meta.setdefault(key, None)
    try:
        return ZoneInfo(str(meta.get("exchangeTimezoneName")))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Nonsense(f"Yahoo names no time zone for {symbol}") from error


def _pair(symbol: str) -> str:
    """One spelling of a currency pair: Yahoo drops the dollar that comes first."""
    symbol = symbol.upper()
    return symbol.removeprefix("USD") if symbol.endswith("=X") else symbol


def _check_columns(result: dict[str, Any], symbol: str) -> None:
    days = result.get("timestamp")
    if not isinstance(days, list) or not days or not all(type(day) is int for day in days):
        raise Nonsense(f"Yahoo's chart of {symbol} has no bars")
    try:
        bars = result["indicators"]["quote"][0]
        columns = [bars[name] for name in _COLUMNS if name != "volume" or name in bars]
        columns += [block["adjclose"] for block in result["indicators"].get("adjclose", ())]
        fits = all(len(column) == len(days) for column in columns)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Nonsense(f"Yahoo's chart of {symbol} lacks a column") from error
    if not fits or not all(_NUMBERS.issuperset(map(type, column)) for column in columns):
        raise Nonsense(f"Yahoo's chart of {symbol} has columns that don't fit")
    if all(close is None for close in bars["close"]):
        raise Nonsense(f"Yahoo's chart of {symbol} has no price in it")


def _fill_volumes(result: dict[str, Any]) -> None:
    """Funds and currencies may come without volumes; a column of nothing stops yfinance."""
    bars = result["indicators"]["quote"][0]
    if all(volume is None for volume in bars.get("volume", ())):
        bars["volume"] = [0] * len(result["timestamp"])


def _settle_dividends(result: dict[str, Any], symbol: str) -> None:
    """Dividends in the unit of the prices. One in another currency has no value here: dropped."""
    unit = result["meta"]["currency"]
    dividends = _events(result, "dividends")
    foreign = {
        key: row for key, row in dividends.items() if row.get("currency") not in ("", unit, None)
    }
    for key, dividend in foreign.items():
        if dividend["currency"] == MINOR_UNITS.get(unit):
            dividend["amount"] *= 100
            dividend["currency"] = unit
        else:
            _log.warning(
                "a dividend of %s is paid in %s and left out", symbol, dividend["currency"]
            )
            del dividends[key]


def _add_event_rows(result: dict[str, Any], zone: ZoneInfo) -> None:
    """An event on a day whose bar is lost gets an empty bar: yfinance would move it a day."""
    moments = {row["date"] for name in _EVENTS for row in _events(result, name).values()}
    lost = moments.difference(result["timestamp"])
    if not lost:
        return
    first, known = min(result["timestamp"]), {_day(at, zone) for at in result["timestamp"]}
    for moment in lost:
        day = _day(moment, zone)
        if moment > first and day not in known and day.weekday() < 5:
            known.add(day)
            result["timestamp"].append(moment)
            for column in result["indicators"]["quote"][0].values():
                column.append(None)
            for block in result["indicators"].get("adjclose", ()):
                block["adjclose"].append(None)


def _day(moment: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(moment, zone).date()


def _events(result: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    events: dict[str, dict[str, Any]] = (result.get("events") or {}).get(name) or {}
    return events
