"""A market that is broken on purpose, in the ways in which sources of prices break."""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from enum import Enum, auto

import numpy as np

from quote_svc.market import (
    Bars,
    FetchProgress,
    History,
    Instrument,
    Market,
    MarketClock,
    MarketDescription,
    MarketDown,
    Quote,
    QuoteBatch,
    Session,
    SymbolNotFound,
    SymbolUnavailable,
    epoch_day,
)

_REVISION = 1.01


class FaultKind(Enum):
    """What can be wrong with a market."""

    SLOW = auto()
    DOWN = auto()
    MISSING_SESSION = auto()
    LATE_BAR = auto()
    REVISED_BAR = auto()


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, with some symbols (all, if empty) where it is about bars.

    `seconds` is how long an answer takes where the kind is SLOW, and how late a bar is where it
    is LATE_BAR, in real time.
    """

    kind: FaultKind
    symbols: frozenset[str] = frozenset()
    seconds: float = 0.0


class FaultyMarket:
    """A `Market` that shows another one with the faults that are set, at first none.

    * SLOW and DOWN are of every answer; DOWN raises MarketDown.
    * MISSING_SESSION takes the last closed session out of the history, as lost by the source.
    * LATE_BAR keeps the bars of sessions that close from now on out of it for a while after the
      close was first seen, by whoever asked anything.
    * REVISED_BAR raises the last close as of now by one percent, for as long as it is set, in
      the history and in quotes.
    """

    def __init__(self, market: Market, wall: Callable[[], float]) -> None:
        """`wall` is a monotonic clock in seconds."""
        self._market = market
        self._wall = wall
        self._faults: tuple[Fault, ...] = ()
        self._changed = asyncio.Event()
        self._closes: dict[str, list[_Closes]] = {}
        self._revised: dict[str, date] = {}

    async def set_faults(self, faults: Sequence[Fault]) -> None:
        """All faults from now on; raises SymbolNotFound and changes nothing if one is unknown."""
        named = sorted(frozenset[str]().union(*(fault.symbols for fault in faults)))
        answers = (await self._market.quotes(named)).answers if named else {}
        for answer in answers.values():
            if isinstance(answer, SymbolNotFound):
                raise answer
        last = _last_sessions(await self._market.clock())
        self._closes = {code: [_Closes(day, day, -math.inf)] for code, day in last.items()}
        self._revised = last
        self._faults = tuple(faults)
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def description(self) -> MarketDescription:
        """See `Market`; raises MarketDown."""
        self._check()
        return self._market.description

    async def clock(self) -> MarketClock:
        """See `Market`."""
        await self._answering()
        return await self._market.clock()

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        """See `Market`."""
        await self._answering()
        batch = await self._market.quotes(symbols)
        answers: dict[str, Quote | SymbolUnavailable] = dict(batch.answers)
        for symbol, answer in batch.answers.items():
            if isinstance(answer, Quote):
                # Faults are of this process, and so are versions that tell of them.
                answers[symbol] = replace(answer, version=0)
                if self._set(FaultKind.REVISED_BAR, symbol):
                    answers[symbol] = replace(await self._revised_quote(answer), version=0)
        return QuoteBatch(batch.market_time, answers)

    async def history(self, symbol: str, start: date | None) -> History:
        """See `Market`."""
        await self._answering()
        history = await self._market.history(symbol, start)
        if not self._faults:
            return history
        bars, exchange = history.bars, history.instrument.exchange_code
        if self._set(FaultKind.REVISED_BAR, symbol):
            bars = _revised(bars, self._revised[exchange], history.instrument)
        last = self._last_seen(exchange, symbol)
        lost = history.lost_days
        if self._set(FaultKind.MISSING_SESSION, symbol):
            lost = (*lost, epoch_day(self._closes[exchange][-1].last))
        return replace(history, bars=bars if last is None else _until(bars, last), lost_days=lost)

    async def search(self, query: str) -> Sequence[Instrument]:
        """See `Market`."""
        await self._answering()
        return await self._market.search(query)

    async def universe(self) -> Sequence[Instrument]:
        """See `Market`."""
        await self._answering()
        return await self._market.universe()

    async def progress(self) -> FetchProgress | None:
        """See `Market`."""
        self._check()
        return await self._market.progress()

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[Session]:
        """See `Market`."""
        self._check()
        return await self._market.sessions_after(exchange_code, day)

    def _check(self) -> None:
        if any(fault.kind is FaultKind.DOWN for fault in self._faults):
            raise MarketDown("the market has been switched off")

    async def _answering(self) -> None:
        """Take as long as it takes, and notice which sessions have closed."""
        self._check()
        if not self._faults:
            return
        delays = [fault.seconds for fault in self._faults if fault.kind is FaultKind.SLOW]
        if delays:
            # Whoever waits for a market that is no longer slow need not wait on.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(delays)):
                    await self._changed.wait()
            self._check()
        for code, day in _last_sessions(await self._market.clock()).items():
            closes = self._closes[code]
            if day > closes[-1].last:
                closes.append(_Closes(closes[-1].last, day, self._wall()))

    def _set(self, kind: FaultKind, symbol: str) -> list[Fault]:
        """The faults of this kind that the symbol has."""
        return [
            fault
            for fault in self._faults
            if fault.kind is kind and (not fault.symbols or symbol in fault.symbols)
        ]

    def _last_seen(self, exchange_code: str, symbol: str) -> date | None:
        """The last session whose bar is let through; None for all of them."""
        closes = self._closes[exchange_code]
        late = max((fault.seconds for fault in self._set(FaultKind.LATE_BAR, symbol)), default=0)
        begin = self._wall() - late
        held_back = [close.previous for close in closes if close.seen_at > begin]
        if self._set(FaultKind.MISSING_SESSION, symbol):
            held_back.append(closes[-1].last - timedelta(days=1))
        return min(held_back, default=None)

    async def _revised_quote(self, quote: Quote) -> Quote:
        instrument = quote.instrument
        revised = self._revised[instrument.exchange_code]
        since = (await self._market.history(instrument.symbol, revised)).bars
        days = since.session_days[:2].tolist()
        if not days or days[0] != epoch_day(revised):
            return quote
        if quote.session_date == revised:
            price = _higher(quote.price, instrument)
            return replace(quote, price=price, day_high=max(price, quote.day_high or price))
        follows = len(days) == 1 or days[1] == epoch_day(quote.session_date)
        if quote.previous_close is None or not follows:
            return quote
        return replace(quote, previous_close=_higher(quote.previous_close, instrument))


@dataclass(frozen=True)
class _Closes:
    """Sessions after `previous` up to `last`, whose closes were first seen at `seen_at`."""

    previous: date
    last: date
    seen_at: float


def _last_sessions(clock: MarketClock) -> dict[str, date]:
    """The last session that has closed, by exchange."""
    return {
        each.exchange_code: each.last_session.session_date
        for each in clock.exchanges
        if each.last_session is not None
    }


def _higher(price: float, instrument: Instrument) -> float:
    return round(price * _REVISION, instrument.price_decimals)


def _until(bars: Bars, day: date) -> Bars:
    """The bars of the sessions up to `day`."""
    count = int(np.searchsorted(bars.session_days, epoch_day(day), side="right"))
    return Bars(*(getattr(bars, column.name)[:count] for column in fields(bars)))


def _revised(bars: Bars, day: date, instrument: Instrument) -> Bars:
    """The bars with the close of `day` one percent higher; the same where it has no bar."""
    at = np.flatnonzero(bars.session_days == epoch_day(day))
    closes, highs = bars.closes.copy(), bars.highs.copy()
    closes[at] = [_higher(float(close), instrument) for close in closes[at]]
    highs[at] = np.maximum(highs[at], closes[at])
    return replace(bars, closes=closes, highs=highs)
