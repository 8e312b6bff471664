"""The `demo` market: a synthetic exchange whose days pass in minutes."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import takewhile

import numpy as np

from quote_svc import demo_time
from quote_svc.demo_actions import split_adjusted
from quote_svc.demo_prices import DemoPrices
from quote_svc.demo_stocks import STOCKS
from quote_svc.demo_time import EXCHANGE_CODE, PAST_SESSIONS, DemoInstant, DemoPace
from quote_svc.market import (
    MOST_SESSIONS,
    RECENT_CLOSES,
    Bars,
    ExchangeClock,
    FetchProgress,
    Floats,
    History,
    Instrument,
    Ints,
    MarketClock,
    MarketDescription,
    MarketKind,
    PriceSource,
    Quote,
    QuoteBatch,
    Session,
    SessionState,
    SymbolNotFound,
    SymbolUnavailable,
    microseconds,
)
from quote_svc.search import matches

_TICK = timedelta(minutes=1)


def market_id(seed: int, turmoil_after: int | None = None) -> str:
    """The key of everything stored about the demo market of this seed, and of this turmoil."""
    return f"demo:{seed}" + ("" if turmoil_after is None else f":turmoil-{turmoil_after}")


class DemoMarket:
    """A `Market` of made-up prices, as of what `elapsed` says."""

    def __init__(
        self,
        seed: int,
        pace: DemoPace,
        elapsed: Callable[[], float],
        is_held: Callable[[], bool] = lambda: False,
        turmoil_after: int | None = None,
    ) -> None:
        """`elapsed` returns the seconds that the market has run; it never goes back.

        `is_held` says whether it stands still. After `turmoil_after` live sessions the market
        falls into turmoil.
        """
        self.description = MarketDescription(
            market_id=market_id(seed, turmoil_after),
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
        self._is_held = is_held
        turmoil_from = None if turmoil_after is None else PAST_SESSIONS + turmoil_after
        self._prices = DemoPrices(STOCKS, seed, turmoil_from)
        self._stocks = {stock.symbol: (row, stock) for row, stock in enumerate(STOCKS)}
        self._instruments = {
            stock.symbol: Instrument(stock.symbol, stock.name, EXCHANGE_CODE, "USD", 2)
            for stock in sorted(STOCKS, key=lambda stock: stock.symbol)
        }

    def catch_up(self) -> DemoInstant:
        """Make what has been traded by now and return what now is.

        Blocks for about a millisecond a session; for a second or two the first time.
        """
        now = demo_time.instant(self._elapsed(), self._pace)
        self._prices.make_through(now.next_session)
        return now

    async def clock(self) -> MarketClock:
        """See `Market`."""
        now = self.catch_up()
        exchange = ExchangeClock(
            exchange_code=EXCHANGE_CODE,
            state=SessionState.OPEN if now.is_open else SessionState.CLOSED,
            last_session=demo_time.session(now.next_session - 1),
            next_session=demo_time.session(now.next_session),
        )
        change_in = None if self._is_held() else now.next_change_in
        return MarketClock(now.market_time, (exchange,), change_in)

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        """See `Market`."""
        now = self.catch_up()
        answers: dict[str, Quote | SymbolUnavailable] = {}
        for symbol in symbols:
            try:
                answers[symbol] = self._quote(symbol, now)
            except SymbolUnavailable as unavailable:
                answers[symbol] = unavailable
        return QuoteBatch(now.market_time, answers)

    async def history(self, symbol: str, start: date | None) -> History:
        """See `Market`.

        A split divides the past from the close of its first session on, when the bar that says
        so is there.
        """
        now = self.catch_up()
        closed, sessions = self._closed(symbol, now)
        days = demo_time.session_days(self._prices.first_kept, int(sessions[-1]) + 1)[sessions]
        columns = (np.ascontiguousarray(column) for column in split_adjusted(closed[:, sessions]))
        opens, highs, lows, closes, volumes, dividends, factors = columns
        adjusted = Bars(
            session_days=days,
            opens=opens,
            highs=highs,
            lows=lows,
            closes=closes,
            volumes=volumes,
            dividends=dividends,
            split_factors=factors,
            close_seconds=demo_time.close_seconds(days),
        )
        return History(
            self._instruments[symbol],
            adjusted.since(start),
            demo_time.session(now.next_session),
            demo_time.ahead(now.next_session),
        )

    async def search(self, query: str) -> Sequence[Instrument]:
        """See `Market`."""
        return await asyncio.to_thread(matches, tuple(self._instruments.values()), query)

    async def universe(self) -> Sequence[Instrument]:
        """See `Market`; what is delisted is no longer forecast."""
        now = self.catch_up()
        return tuple(
            instrument
            for symbol, instrument in self._instruments.items()
            if not self._stocks[symbol][1].delisted_by(now.next_session)
        )

    def _closed(self, symbol: str, now: DemoInstant) -> tuple[Floats, Ints]:
        """The bars, as traded, of the kept sessions that have closed, and which had trades.

        Raises SymbolNotFound, also for what was delisted before any of them.
        """
        if symbol not in self._stocks:
            raise SymbolNotFound(symbol)
        bars = self._prices.bars(self._stocks[symbol][0])
        closed = bars[:, : now.next_session - self._prices.first_kept]
        sessions: Ints = np.flatnonzero(~np.isnan(closed[3]))
        if not len(sessions):
            raise SymbolNotFound(symbol)
        return closed, sessions

    def _quote(self, symbol: str, now: DemoInstant) -> Quote:
        closed, sessions = self._closed(symbol, now)
        bars = closed[:, sessions[-RECENT_CLOSES:]]
        closes = split_adjusted(bars)[3]
        _, stock = self._stocks[symbol]
        current = now.next_session if now.is_open else now.next_session - 1
        if now.is_open and stock.trades_in(current):
            return self._open_quote(symbol, now, closes)
        last = demo_time.session(self._prices.first_kept + int(sessions[-1]))
        # Nothing changes between an open and the close, or a close and the open.
        turn = demo_time.session(current)
        since = turn.open_time if now.is_open else turn.close_time
        state, stale_reason = SessionState.CLOSED, ""
        if stock.delisted_by(current):
            stale_reason = f"delisted: it was last traded on {last.session_date}"
        elif stock.is_suspended_in(current):
            state = SessionState.HALTED
        return Quote(
            instrument=self._instruments[symbol],
            price=float(bars[3, -1]),
            as_of_time=last.close_time,
            previous_close=float(bars[3, -2] / bars[6, -1]) if len(sessions) > 1 else None,
            session_date=last.session_date,
            state=state,
            next_session=demo_time.session(now.next_session),
            day_low=float(bars[2, -1]),
            day_high=float(bars[1, -1]),
            volume=float(bars[4, -1]),
            stale=bool(stale_reason),
            stale_reason=stale_reason,
            version=microseconds(since),
            recent_closes=tuple(closes.tolist()),
        )

    def _open_quote(self, symbol: str, now: DemoInstant, closes: Floats) -> Quote:
        session = demo_time.session(now.next_session)
        row, _ = self._stocks[symbol]
        tick = (now.market_time - session.open_time) // _TICK
        ticks = self._prices.ticks(row)
        volume, factor = self._prices.bars(row)[[4, 6], -1]
        prices = ticks[: tick + 1]
        closes = closes / factor
        return Quote(
            instrument=self._instruments[symbol],
            price=float(prices[-1]),
            as_of_time=session.open_time + tick * _TICK,
            previous_close=float(closes[-1]),
            session_date=session.session_date,
            state=SessionState.OPEN,
            next_session=session,
            day_low=float(prices.min()),
            day_high=float(prices.max()),
            # Trading is spread evenly over the session.
            volume=float(volume * len(prices) // len(ticks)),
            source=PriceSource.LATEST_TRADE,
            version=microseconds(session.open_time + tick * _TICK),
            recent_closes=tuple(closes.tolist()),
        )

    async def progress(self) -> FetchProgress | None:
        """See `Market`; prices are made, not fetched."""
        return None

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[Session]:
        """See `Market`."""
        if exchange_code != EXCHANGE_CODE:
            return ()
        now = self.catch_up()
        opened = now.next_session + now.is_open
        kept = range(max(self._prices.first_kept, opened - MOST_SESSIONS), opened)
        # Nearly always only the last few are wanted, so they are looked for from the end.
        after = takewhile(
            lambda session: session.session_date > day, map(demo_time.session, reversed(kept))
        )
        return list(after)[::-1]
