"""What tests of the stored market share: a scripted source, plain weekdays, a clock set by hand."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np

from foretick_rpc.database import open_database
from quote_svc.background import background
from quote_svc.market import (
    SESSIONS_AHEAD,
    Ahead,
    InstrumentKind,
    MarketDescription,
    MarketKind,
    Session,
    date_of,
    epoch_day,
)
from quote_svc.sessions import SessionCalendar
from quote_svc.source import (
    Source,
    SourceBars,
    SourceHistory,
    SourceInstrument,
    SourceQuote,
    UnknownSymbol,
)
from quote_svc.store import Shared
from quote_svc.stored_market import StoredMarket, Upkeep

DESCRIPTION = MarketDescription("test", MarketKind.YAHOO, "Scripted", False, ())
_COLUMNS = ("opens", "highs", "lows", "closes", "volumes", "dividends", "split_factors")


@dataclass(eq=False)
class Weekdays:
    """Sessions on weekdays that are not `holidays`, from 14:30 to 21:00 UTC."""

    code: str = "XTST"
    inferred: bool = False
    holidays: frozenset[date] = frozenset()

    def session_on(self, day: date) -> Session | None:
        """See `SessionCalendar`."""
        if day.weekday() >= 5 or day in self.holidays:
            return None
        opens, closes = (datetime.combine(day, at, UTC) for at in (time(14, 30), time(21)))
        return Session(day, opens, closes, self.inferred)

    def sessions(self, first: date, last: date) -> Sequence[Session]:
        """See `SessionCalendar`."""
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [session for session in map(self.session_on, days) if session is not None]

    def next_unfinished(self, now: datetime) -> Session:
        """See `SessionCalendar`."""
        around = self.sessions(now.date(), now.date() + timedelta(days=14))
        return next(session for session in around if session.close_time > now)

    def last_closed(self, now: datetime) -> Session:
        """See `SessionCalendar`."""
        around = self.sessions(now.date() - timedelta(days=14), now.date())
        return next(session for session in reversed(around) if session.close_time <= now)

    def is_open(self, now: datetime) -> bool:
        """See `SessionCalendar`."""
        return self.next_unfinished(now).open_time <= now

    def ahead(self, day: date) -> Ahead:
        """See `SessionCalendar`; enough for two weeks of holidays."""
        coming = self.sessions(day, day + timedelta(days=2 * SESSIONS_AHEAD))[:SESSIONS_AHEAD]
        days = tuple(epoch_day(session.session_date) for session in coming)
        return Ahead(days, known=0 if self.inferred else len(days))


@dataclass
class Wall:
    """Wall time that only moves when it is told to; callers wait until `impatient` is set."""

    now: datetime
    impatient: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self) -> datetime:
        """The time that it is."""
        return self.now

    def forward(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)

    async def sleep(self, seconds: float) -> None:
        """Sleep between steps of the background for a moment; else until the test lets it pass."""
        if seconds <= 1:
            await asyncio.sleep(min(seconds, 0.005))
        else:
            await self.impatient.wait()


@dataclass
class ScriptedSource:
    """A `Source` whose every answer a test decides, and which counts what it is asked.

    `rows` are opens, highs, lows, closes, volumes, dividends and split factors by day. While
    `gate` is cleared, histories stall; `asked` is set by the first call. A failure in
    `failing` is raised instead of an answer; `down` is raised whatever is asked.
    """

    rows: dict[str, dict[date, list[float]]] = field(default_factory=dict)
    quotes: dict[str, SourceQuote] = field(default_factory=dict)
    failing: dict[str, Exception] = field(default_factory=dict)
    down: Exception | None = None
    exchange_code: str = "NYQ"
    calls: list[tuple[str, date | None]] = field(default_factory=list)
    found: list[SourceInstrument] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def trade(self, symbol: str, days: Sequence[date], first: float = 100.0) -> None:
        """Give `symbol` bars that rise by one a day."""
        self.rows[symbol] = {
            day: [close - 0.5, close + 1, close - 1, close, 1000.0 + n, 0.0, 1.0]
            for n, day in enumerate(days)
            for close in (first + n,)
        }

    def count(self, symbol: str) -> int:
        """How often the history of `symbol` was asked for."""
        return Counter(name for name, _ in self.calls)[symbol]

    async def history(self, symbol: str, start: date | None) -> SourceHistory:
        """See `Source`."""
        self.calls.append((symbol, start))
        self.asked.set()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        failure = self.down or self.failing.get(symbol)
        if failure is not None:
            raise failure
        if symbol not in self.rows:
            raise UnknownSymbol(symbol)
        rows = {day: row for day, row in self.rows[symbol].items() if start is None or day >= start}
        return SourceHistory(self.instrument(symbol), source_bars(rows), self.quotes.get(symbol))

    async def search(self, query: str) -> Sequence[SourceInstrument]:
        """See `Source`."""
        self.queries.append(query)
        if self.down is not None:
            raise self.down
        return self.found

    def instrument(self, symbol: str) -> SourceInstrument:
        """What the source says of `symbol`."""
        return SourceInstrument(
            symbol, f"{symbol} Inc.", InstrumentKind.STOCK, self.exchange_code,
            "America/New_York", "USD", 2,
        )  # fmt: skip

    def split(self, symbol: str, day: date, factor: float) -> None:
        """Let every price before `day` be adjusted for a split, and name it."""
        for each, row in self.rows[symbol].items():
            if each < day:
                row[:4] = [price / factor for price in row[:4]]
        self.rows[symbol][day][6] = factor

    def quote(self, symbol: str, price: float, at: datetime) -> None:
        """Set the latest price of `symbol`."""
        before = self.quotes.get(symbol)
        told = SourceQuote(price, at)
        self.quotes[symbol] = (
            told if before is None else replace(before, price=price, as_of_time=at)
        )


@asynccontextmanager
async def staged(
    folder: Path,
    source: Source,
    wall: Wall,
    *,
    seeds: tuple[str, ...] = (),
    calendar: SessionCalendar | None = None,
) -> AsyncIterator[StoredMarket]:
    """A stored market whose background does a step whenever the test calls `step`."""
    async with open_database(f"sqlite:///{folder}/quote.db", "quote_svc") as database:
        trades = calendar or Weekdays()
        upkeep = Upkeep(seeds=seeds, wall=wall, sleep=wall.sleep)
        shared = Shared.of(database, DESCRIPTION.market_id)
        market = StoredMarket(DESCRIPTION, source, shared, lambda _: trades, upkeep)
        await market.open()
        held = asyncio.Event()

        async def hold() -> None:
            async with market.holding():
                held.set()
                await asyncio.Event().wait()

        async with background(shared.lease.run(hold)):
            await held.wait()
            yield market


async def settled(market: StoredMarket) -> None:
    """Let the background do all that is due now."""
    while await market.step() == 0:
        pass


def source_bars(rows: dict[date, list[float]]) -> SourceBars:
    """Columns of the rows, in their order."""
    days = np.array([epoch_day(day) for day in rows], dtype=np.int64)
    columns = np.array(list(rows.values()), dtype=np.float64).reshape(-1, len(_COLUMNS)).T
    return SourceBars(days, *(column.copy() for column in columns))


def weekdays(last: date, count: int) -> list[date]:
    """The last `count` weekdays up to `last`, oldest first."""
    days: list[date] = []
    day = epoch_day(last)
    while len(days) < count:
        if date_of(day).weekday() < 5:
            days.append(date_of(day))
        day -= 1
    return days[::-1]
