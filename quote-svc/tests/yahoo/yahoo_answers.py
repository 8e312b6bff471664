"""Answers in the shapes of Yahoo's chart and search endpoints, made from facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from math import sin
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]
NOT_FOUND: Json = {
    "chart": {
        "result": None,
        "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"},
    }
}
VALID_RANGES = ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"]


@dataclass(frozen=True)
class Listing:
    """One instrument as Yahoo knows it, with all its bars; None is a price that Yahoo lost.

    `last_price` and the day's range are of `last_time`, by default the open of the last bar
    plus 30 minutes. Events are keyed by date: amounts, and (numerator, denominator).
    """

    symbol: str
    days: Sequence[date]
    closes: Sequence[float | None]
    kind: str = "EQUITY"
    currency: str | None = "USD"
    zone: str = "America/New_York"
    exchange: str = "NMS"
    name: str = "Example Inc."
    opens_at: time = time(9, 30)
    price_hint: int = 2
    volumes: Sequence[int | None] | None = None
    adjusted: Sequence[float | None] | None = None
    dividends: Mapping[date, float] = field(default_factory=dict)
    splits: Mapping[date, tuple[float, float]] = field(default_factory=dict)
    last_price: float | None = None
    last_time: datetime | None = None
    meta: Json = field(default_factory=dict)

    def second(self, day: date) -> int:
        """The instant of the bar of `day`: when its exchange opens."""
        return int(datetime.combine(day, self.opens_at, ZoneInfo(self.zone)).timestamp())


def sessions(first: date, count: int, every_day: bool = False) -> list[date]:
    """Days from `first` on: weekdays, or every one."""
    days: list[date] = []
    day = first
    while len(days) < count:
        if every_day or day.weekday() < 5:
            days.append(day)
        day += timedelta(days=1)
    return days


def chart(listing: Listing, period1: int, period2: int) -> Json:
    """The body of v8/finance/chart for the bars from period1 to before period2."""
    at = [i for i, d in enumerate(listing.days) if period1 <= listing.second(d) < period2]
    result: Json = {"meta": _meta(listing, at[0] if at else len(listing.days))}
    if at:
        result["timestamp"] = [listing.second(listing.days[i]) for i in at]
        if events := _events(listing, period1, period2):
            result["events"] = events
    result["indicators"] = _indicators(listing, at)
    return {"chart": {"result": [result], "error": None}}


def _meta(listing: Listing, first: int) -> Json:
    known = [close for close in listing.closes if close is not None]
    before = [close for close in listing.closes[:first] if close is not None]
    price = listing.last_price if listing.last_price is not None else known[-1]
    opened = listing.second(listing.days[-1])
    moment = int(listing.last_time.timestamp()) if listing.last_time else opened + 1800
    zone = ZoneInfo(listing.zone)
    offset = datetime.fromtimestamp(moment, zone).utcoffset() or timedelta()
    short = datetime.fromtimestamp(moment, zone).strftime("%Z")
    period = {"timezone": short, "gmtoffset": int(offset.total_seconds())}
    return {
        "currency": listing.currency,
        "symbol": listing.symbol,
        "exchangeName": listing.exchange,
        "fullExchangeName": listing.exchange,
        "instrumentType": listing.kind,
        "firstTradeDate": listing.second(listing.days[0]),
        "regularMarketTime": moment,
        "hasPrePostMarketData": listing.zone == "America/New_York",
        "gmtoffset": int(offset.total_seconds()),
        "timezone": short,
        "exchangeTimezoneName": listing.zone,
        "regularMarketPrice": price,
        "fiftyTwoWeekHigh": max(known),
        "fiftyTwoWeekLow": min(known),
        "regularMarketDayHigh": price * 1.01,
        "regularMarketDayLow": price * 0.99,
        "regularMarketVolume": 0 if listing.volumes is None else listing.volumes[-1],
        "longName": listing.name,
        "shortName": listing.name,
        "chartPreviousClose": before[-1] if before else None,
        "priceHint": listing.price_hint,
        "currentTradingPeriod": {
            "pre": {**period, "start": opened - 19800, "end": opened},
            "regular": {**period, "start": opened, "end": opened + 23400},
            "post": {**period, "start": opened + 23400, "end": opened + 37800},
        },
        "dataGranularity": "1d",
        "range": "",
        "validRanges": VALID_RANGES,
        **listing.meta,
    }


def _indicators(listing: Listing, at: Sequence[int]) -> Json:
    if not at:
        return {"quote": [{}], "adjclose": [{}]}
    closes = [listing.closes[i] for i in at]
    volumes = listing.volumes or [None if close is None else 0 for close in listing.closes]
    adjusted = listing.adjusted or listing.closes
    return {
        "quote": [
            {
                "open": list(closes),
                "high": [None if close is None else close * 1.02 for close in closes],
                "low": [None if close is None else close * 0.98 for close in closes],
                "close": closes,
                "volume": [volumes[i] for i in at],
            }
        ],
        "adjclose": [{"adjclose": [adjusted[i] for i in at]}],
    }


def _events(listing: Listing, period1: int, period2: int) -> Json:
    def within(events: Mapping[date, Any]) -> dict[int, Any]:
        moments = {listing.second(day): event for day, event in events.items()}
        return {at: event for at, event in moments.items() if period1 <= at < period2}

    dividends = {
        str(at): {"amount": amount, "date": at} for at, amount in within(listing.dividends).items()
    }
    splits = {
        str(at): {
            "date": at,
            "numerator": new,
            "denominator": old,
            "splitRatio": f"{new:g}:{old:g}",
        }
        for at, (new, old) in within(listing.splits).items()
    }
    events = {"dividends": dividends, "splits": splits}
    return {name: rows for name, rows in events.items() if rows}


def found(*rows: Json) -> Json:
    """The body of v1/finance/search."""
    return {"explains": [], "count": len(rows), "quotes": list(rows), "news": [], "nav": []}


def found_row(symbol: str, name: str, kind: str = "EQUITY", exchange: str = "NMS") -> Json:
    """One result of a search."""
    return {
        "exchange": exchange,
        "shortname": name[:30],
        "quoteType": kind,
        "symbol": symbol,
        "index": "quotes",
        "score": 20000,
        "typeDisp": kind.title(),
        "longname": name,
        "exchDisp": exchange,
        "isYahooFinance": True,
    }


def example_listings(today: date) -> dict[str, Listing]:
    """One instrument of each kind with 300 sessions up to `today`, in made-up prices."""

    def listing(symbol: str, name: str, price: float, **facts: Any) -> Listing:
        every_day = facts.get("kind") == "CRYPTOCURRENCY"
        days = [d for d in sessions(today - timedelta(days=450), 451, every_day) if d <= today]
        closes = [round(price * (1 + sin(at * 0.7) / 50 + at / 5000), 4) for at in range(len(days))]
        return Listing(symbol, days, closes, name=name, **facts)

    midnight = time(0)
    made = (
        listing("AAPL", "Apple Inc.", 240),
        listing("MSFT", "Microsoft Corporation", 410),
        listing(
            "VOD.L",
            "Vodafone Group Public Limited Company",
            71.5,
            currency="GBp",
            zone="Europe/London",
            exchange="LSE",
            opens_at=time(8),
        ),
        listing("^GSPC", "S&P 500", 6100, kind="INDEX", exchange="SNP"),
        listing(
            "BTC-USD",
            "Bitcoin USD",
            97_000,
            kind="CRYPTOCURRENCY",
            zone="UTC",
            exchange="CCC",
            opens_at=midnight,
        ),
        listing(
            "EURUSD=X",
            "EUR/USD",
            1.05,
            kind="CURRENCY",
            zone="Europe/London",
            exchange="CCY",
            opens_at=midnight,
            price_hint=4,
        ),
        listing("GC=F", "Gold", 2900, kind="FUTURE", exchange="CMX", opens_at=midnight),
        listing("SPY", "SPDR S&P 500 ETF", 610, kind="ETF", exchange="PCX"),
        listing("VFIAX", "Vanguard 500 Index Fund Admiral", 560, kind="MUTUALFUND", exchange="NAS"),
    )
    return {one.symbol: one for one in made}
