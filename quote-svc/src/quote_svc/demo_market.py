"""The `demo` market: a synthetic exchange whose days pass in minutes."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import numpy as np

from quote_svc import demo_time
from quote_svc.demo_prices import DemoPrices
from quote_svc.demo_stocks import STOCKS
from quote_svc.demo_time import EXCHANGE_CODE, DemoInstant, DemoPace
from quote_svc.market import (
    Bars,
    ExchangeClock,
    Floats,
    History,
    Instrument,
    MarketClock,
    MarketDescription,
    MarketKind,
    Quote,
    QuoteBatch,
    SessionState,
    SymbolNotFound,
    SymbolUnavailable,
)
from quote_svc.search import matches

_TICK = timedelta(minutes=1)


def market_id(seed: int) -> str:
    """The key of everything stored about the demo market of this seed."""
    return f"demo:{seed}"


class DemoMarket:
    """A `Market` of made-up prices, as of what `elapsed` says."""

    def __init__(self, seed: int, pace: DemoPace, elapsed: Callable[[], float]) -> None:
        """`elapsed` returns the seconds that the market has run; it never goes back."""
        self.description = MarketDescription(
            market_id=market_id(seed),
            kind=MarketKind.DEMO,
            display_name="Demo exchange",
            synthetic=True,
            notices=(
                f"The companies are made up, and a session passes in {pace.session_seconds:g} "
                "seconds.",
            ),
        )
        self._pace = pace
        self._elapsed = elapsed
        self._prices = DemoPrices(STOCKS, seed)
        self._rows = {stock.symbol: row for row, stock in enumerate(STOCKS)}
        self._instruments = {
            stock.symbol: Instrument(stock.symbol, stock.name, EXCHANGE_CODE, "USD", 2)
            for stock in sorted(STOCKS, key=lambda stock: stock.symbol)
        }

    def catch_up(self) -> DemoInstant:
        """Make what has been traded by now and return what now is.

        Blocks for under a millisecond a session; for a second or two the first time.
        """
        now = demo_time.instant(self._elapsed(), self._pace)
        self._prices.make_through(now.next_session)
        return now

    async def clock(self) -> MarketClock:
        """See `Market`."""
        now = self.catch_up()
        exchange = ExchangeClock(
            exchange_code=EXCHANGE_CODE,
            state=_state(now),
            last_session=demo_time.session(now.next_session - 1),
            next_session=demo_time.session(now.next_session),
        )
        return MarketClock(now.market_time, (exchange,), now.next_change_in)

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        """See `Market`."""
        now = self.catch_up()
        answers: dict[str, Quote | SymbolUnavailable] = {}
        for symbol in symbols:
            found = symbol in self._instruments
            answers[symbol] = self._quote(symbol, now) if found else SymbolNotFound(symbol)
        return QuoteBatch(now.market_time, answers)

    async def history(self, symbol: str, start: date | None) -> History:
        """See `Market`."""
        if symbol not in self._instruments:
            raise SymbolNotFound(symbol)
        now = self.catch_up()
        columns, first = self._closed(symbol, now)
        opens, highs, lows, closes, volumes = columns
        days = demo_time.session_days(first, len(closes))
        bars = Bars(
            session_days=days,
            opens=opens,
            highs=highs,
            lows=lows,
            closes=closes,
            volumes=volumes,
            dividends=np.zeros(len(days)),
            split_factors=np.ones(len(days)),
            close_seconds=demo_time.close_seconds(days),
        )
        next_session = demo_time.session(now.next_session)
        return History(self._instruments[symbol], bars.since(start), next_session)

    async def search(self, query: str) -> Sequence[Instrument]:
        """See `Market`."""
        return await asyncio.to_thread(matches, tuple(self._instruments.values()), query)

    async def universe(self) -> Sequence[Instrument]:
        """See `Market`."""
        return tuple(self._instruments.values())

    def _closed(self, symbol: str, now: DemoInstant) -> tuple[Floats, int]:
        """The columns of the kept sessions that have closed, and the index of the first."""
        first = self._prices.first_kept
        columns = self._prices.bars(self._rows[symbol])[:, : now.next_session - first]
        return columns, first

    def _quote(self, symbol: str, now: DemoInstant) -> Quote:
        closes = self._closed(symbol, now)[0][3]
        if now.is_open:
            session = demo_time.session(now.next_session)
            tick = (now.market_time - session.open_time) // _TICK
            price = self._prices.ticks(self._rows[symbol])[tick]
            as_of, previous = session.open_time + tick * _TICK, closes[-1]
        else:
            session = demo_time.session(now.next_session - 1)
            price, as_of, previous = closes[-1], session.close_time, closes[-2]
        return Quote(
            instrument=self._instruments[symbol],
            price=float(price),
            as_of_time=as_of,
            previous_close=float(previous),
            session_date=session.session_date,
            state=_state(now),
            next_session=demo_time.session(now.next_session),
        )


def _state(now: DemoInstant) -> SessionState:
    return SessionState.OPEN if now.is_open else SessionState.CLOSED
