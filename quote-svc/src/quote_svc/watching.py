"""What changes on a market, for any number of watchers: its quotes, and what its sessions do."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum, auto
from typing import TypeAlias

from quote_svc.market import (
    MOST_SESSIONS,
    ExchangeClock,
    Market,
    MarketClock,
    Quote,
    QuoteBatch,
    Session,
    SymbolUnavailable,
    microseconds,
)

_Answer: TypeAlias = Quote | SymbolUnavailable
Tick: TypeAlias = Callable[[], Awaitable[None]]
# A watcher hears of changes at most this often: the latest of each symbol, whatever came between.
TICK_SECONDS = 0.25
# Of prices that a source pushes it hears at once, of those that come together together.
PUSH_PAUSE_SECONDS = 0.01
# What is missing may have to be fetched, so it is asked for apart and less often.
_TICKS_FOR_MISSING = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WatchingEnded(Exception):  # noqa: N818 - a state, not a fault
    """The service is stopping, and nothing is watched any longer."""


class SessionEventKind(Enum):
    """What can happen to a session, in this order."""

    OPENED = auto()
    CLOSED = auto()
    BARS_FINAL = auto()


@dataclass(frozen=True)
class SessionEvent:
    """Something that happened to one session of one exchange."""

    exchange_code: str
    kind: SessionEventKind
    session: Session


class Pushes:
    """Symbols whose prices a source has pushed, until somebody takes them."""

    def __init__(self) -> None:
        self._symbols: set[str] = set()
        self._any = asyncio.Event()

    def add(self, symbol: str) -> None:
        """Note that a price has come."""
        self._symbols.add(symbol)
        self._any.set()

    async def some(self) -> None:
        """Return once there is one."""
        await self._any.wait()

    def take(self) -> set[str]:
        """All that there are; from then on there is none."""
        taken, self._symbols = self._symbols, set()
        self._any.clear()
        return taken


class Watching:
    """Watches one market for many: however many watch, it is asked once a tick.

    Nothing is queued for a watcher. It compares what it was told with what is known now, so a
    slow one costs no memory and misses only what has been overtaken.
    """

    def __init__(
        self, market: Market, tick: Tick | None = None, pushes: Pushes | None = None
    ) -> None:
        """`tick` returns when the market is to be asked again: every quarter of a second.

        What is in `pushes` is asked for at once.
        """
        tick = tick or _quarter_second
        self._market = market
        self._pushes = pushes or Pushes()
        self._versions = QuoteVersions()
        self._wanted: Counter[str] = Counter()
        self._known: dict[str, _Known] = {}
        self._asks = 0
        self._market_time = _EPOCH
        self._clock: MarketClock | None = None
        self._quote_poller = _Poller(self._ask_again, tick)
        self._missing_poller = _Poller(self._ask_for_missing, _every(_TICKS_FOR_MISSING, tick))
        self._push_poller = _Poller(self._ask_for_pushed, self._next_push)
        self._clock_poller = _Poller(self._ask_clock, tick)
        self._pollers = (
            self._quote_poller,
            self._missing_poller,
            self._push_poller,
            self._clock_poller,
        )

    def versioned(self, batch: QuoteBatch) -> QuoteBatch:
        """The batch with a version on each quote, the same that watchers are told."""
        return self._versions.versioned(batch)

    def end(self) -> None:
        """End every stream with WatchingEnded, and refuse new ones."""
        for poller in self._pollers:
            poller.end()

    async def quotes(self, symbols: Sequence[str]) -> AsyncGenerator[QuoteBatch, None]:
        """First the answers for all `symbols`, then those that have changed since the last batch.

        Raises WatchingEnded, or whatever the market raises where it fails as a whole.
        """
        with (
            self._quote_poller.watched(),
            self._missing_poller.watched(),
            self._push_poller.watched(),
            self._wanting(symbols),
        ):
            await self._ask(symbols)
            told: dict[str, _Answer] = {}
            first = True
            while True:
                polled = self._quote_poller.polled
                known = {symbol: self._known[symbol].answer for symbol in symbols}
                changed = {key: each for key, each in known.items() if told.get(key) is not each}
                if changed or first:
                    told, first = known, False
                    yield QuoteBatch(self._market_time, changed)
                await polled.wait()
                self._quote_poller.check()
                self._missing_poller.check()
                self._push_poller.check()

    async def sessions(self, seen: Mapping[str, date]) -> AsyncGenerator[SessionEvent, None]:
        """What happened to sessions after those of `seen`, by exchange, and all that happens then.

        For an exchange without a session in `seen` it begins with the last that is final. Each
        thing is told once; of a longer past only the latest 2,000 sessions are told. Raises as
        `quotes` does.
        """
        tellers: dict[str, _Teller] = {}
        with self._clock_poller.watched():
            clock = await self._market.clock()
            while True:
                polled = self._clock_poller.polled
                for exchange in clock.exchanges:
                    code = exchange.exchange_code
                    if code not in tellers:
                        tellers[code] = _Teller(self._market, seen.get(code, _before(exchange)))
                    for event in await tellers[code].news(exchange, clock.market_time):
                        yield event
                await polled.wait()
                self._clock_poller.check()
                clock = self._clock or clock

    @contextmanager
    def _wanting(self, symbols: Sequence[str]) -> Iterator[None]:
        self._wanted.update(symbols)
        try:
            yield
        finally:
            self._wanted.subtract(symbols)
            for symbol in symbols:
                if not self._wanted[symbol]:
                    del self._wanted[symbol]
                    self._known.pop(symbol, None)

    async def _ask_again(self) -> None:
        quoted = [key for key, each in self._known.items() if isinstance(each.answer, Quote)]
        if quoted:
            await self._ask(quoted)

    async def _ask_for_missing(self) -> None:
        missing = [key for key, each in self._known.items() if not isinstance(each.answer, Quote)]
        if missing:
            await self._ask(missing)

    async def _next_push(self) -> None:
        await asyncio.sleep(PUSH_PAUSE_SECONDS)
        await self._pushes.some()

    async def _ask_for_pushed(self) -> None:
        pushed = self._pushes.take() & self._known.keys()
        if pushed:
            await self._ask(list(pushed))
            self._quote_poller.wake()

    async def _ask_clock(self) -> None:
        self._clock = await self._market.clock()

    async def _ask(self, symbols: Sequence[str]) -> None:
        self._asks += 1
        ask = self._asks
        batch = self.versioned(await self._market.quotes(symbols))
        self._market_time = max(self._market_time, batch.market_time)
        for symbol, answer in batch.answers.items():
            known = self._known.get(symbol)
            if symbol in self._wanted and (known is None or known.gives_way(answer, ask)):
                self._known[symbol] = _Known(ask, answer)


class QuoteVersions:
    """Versions for the quotes of a market that has none of its own.

    A changed quote gets the market time in microseconds since the epoch, or one more than its
    last version where the clock stands still.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[datetime, Quote, Quote]] = {}

    def versioned(self, batch: QuoteBatch) -> QuoteBatch:
        """The batch with a version on each quote."""
        return QuoteBatch(
            batch.market_time,
            {
                symbol: self._versioned(symbol, answer, batch.market_time)
                if isinstance(answer, Quote) and not answer.version
                else answer
                for symbol, answer in batch.answers.items()
            },
        )

    def _versioned(self, symbol: str, quote: Quote, market_time: datetime) -> Quote:
        version = microseconds(market_time)
        if symbol in self._last:
            last_time, plain, last = self._last[symbol]
            if quote == plain:
                return last
            # An answer that was overtaken keeps its own, lower version.
            if market_time < last_time:
                return replace(quote, version=version)
            version = max(version, last.version + 1)
        versioned = replace(quote, version=version)
        self._last[symbol] = market_time, quote, versioned
        return versioned


@dataclass(frozen=True)
class _Known:
    """The answer that is known for a symbol, and the number of the ask that gave it."""

    ask: int
    answer: _Answer

    def gives_way(self, new: _Answer, ask: int) -> bool:
        """Whether `new`, the answer to `ask`, is a later one and says something else."""
        if ask < self.ask or new is self.answer:
            return False
        if isinstance(self.answer, Quote) and isinstance(new, Quote):
            return new.version >= self.answer.version and new != self.answer
        return _says(self.answer) != _says(new)


def _says(answer: _Answer) -> object:
    if isinstance(answer, Quote):
        return answer
    return type(answer), answer.message, getattr(answer, "reason", "")


class _Poller:
    """Polls once a tick for as long as anybody watches, and wakes them after each poll."""

    def __init__(self, poll: Callable[[], Awaitable[None]], tick: Tick) -> None:
        self.polled = asyncio.Event()
        self._poll = poll
        self._tick = tick
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        if isinstance(self._failure, WatchingEnded):
            raise self._failure
        if self._task is None or self._failure is not None:
            self._failure = None
            self._task = asyncio.create_task(self._run())
        self._watchers += 1
        try:
            yield
        finally:
            self._leave()

    def check(self) -> None:
        """Raise why polling has stopped, if it has."""
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._failure = WatchingEnded()
        self.wake()

    def _leave(self) -> None:
        self._watchers -= 1
        if self._task is not None and not self._watchers:
            self._task.cancel()
            self._task = None

    def wake(self) -> None:
        """Wake who watches, as after each poll."""
        self.polled.set()
        self.polled = asyncio.Event()

    async def _run(self) -> None:
        try:
            while True:
                await self._tick()
                await self._poll()
                self.wake()
        except Exception as error:  # noqa: BLE001 - every watcher raises it
            self._failure = error
            self.wake()


class _Teller:
    """Tells one watcher what happens to the sessions of one exchange, each thing once."""

    def __init__(self, market: Market, seen: date) -> None:
        """`seen` is the last session that the watcher knows all about."""
        self._market = market
        self._seen = seen
        self._told: set[tuple[date, SessionEventKind]] = set()
        self._stage: object = None

    async def news(self, exchange: ExchangeClock, now: datetime) -> list[SessionEvent]:
        """What has happened by `now` and was not told yet, session by session."""
        last, coming = exchange.last_session, exchange.next_session
        final = None if last is None else last.session_date
        stage = final, coming.session_date, coming.open_time <= now
        # Between its close and its final bar a session may be joined by the next one.
        if stage == self._stage and coming.close_time > now:
            return []
        sessions = await self._market.sessions_after(exchange.exchange_code, self._seen)
        events = [
            SessionEvent(exchange.exchange_code, kind, session)
            for session in sessions[-MOST_SESSIONS:]
            for kind in _happened(session, final, now)
            if (session.session_date, kind) not in self._told
        ]
        self._told.update((event.session.session_date, event.kind) for event in events)
        if final is not None and final > self._seen:
            self._seen = final
            self._told = {(day, kind) for day, kind in self._told if day > final}
        self._stage = stage
        return events


def _happened(session: Session, final: date | None, now: datetime) -> Iterator[SessionEventKind]:
    if session.open_time <= now:
        yield SessionEventKind.OPENED
    if session.close_time <= now:
        yield SessionEventKind.CLOSED
        if final is not None and session.session_date <= final:
            yield SessionEventKind.BARS_FINAL


def _before(exchange: ExchangeClock) -> date:
    """The day before the last session that is final, or before the first of all."""
    session = exchange.last_session or exchange.next_session
    return session.session_date - timedelta(days=1)


def _every(count: int, tick: Tick) -> Tick:
    async def ticked() -> None:
        for _ in range(count):
            await tick()

    return ticked


async def _quarter_second() -> None:
    await asyncio.sleep(TICK_SECONDS)
