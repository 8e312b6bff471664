"""Several replicas of the stored market over one database: one asks the source, all answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from grpc import StatusCode
from sqlalchemy import Connection, func, select

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.errors import AppError, DatabaseUnavailableError
from foretick_rpc.leases import Lease, Time
from foretick_rpc.testing import calling, serving
from quote_svc.app import service
from quote_svc.market import InstrumentKind
from quote_svc.servicer import QuoteServicer
from quote_svc.source import SourceInstrument, SourceQuote, StreamedPrice, Unreachable
from quote_svc.store import Shared
from quote_svc.stored_market import StoredMarket, Upkeep, opened_stored_market
from quote_svc.tables import errands, leases
from quote_svc.testing import DESCRIPTION, ScriptedSource, Wall, Weekdays, weekdays

DAYS = weekdays(date(2026, 11, 20), 40)
MONDAY = date(2026, 11, 23)
OPEN = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]


async def brief(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.01))


@dataclass
class Breakable:
    """A database that can be away."""

    inner: Database
    is_away: bool = False

    @property
    def is_exclusive(self) -> bool:
        return self.inner.is_exclusive

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        return await self._reached(self.inner.read, work)

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        return await self._reached(self.inner.write, work)

    async def _reached(self, call: Callable[..., Awaitable[Any]], work: object) -> Any:
        if self.is_away:
            raise DatabaseUnavailableError("the database does not answer")
        return await call(work)


@dataclass
class Replica:
    """One replica, what it asked of the source, and a stub to ask it."""

    market: StoredMarket
    source: ScriptedSource
    database: Breakable
    stub: QuoteServiceStub

    async def quote(self, symbol: str = "AAA") -> pb.Quote:
        answer = await self.stub.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=[symbol]))
        assert answer.quotes, answer.missing
        return answer.quotes[0]

    async def price(self, symbol: str = "AAA") -> float:
        return (await self.quote(symbol)).price


@dataclass
class Stage:
    """Starts replicas over one database and one wall clock, each with a source of its own."""

    url: str
    wall: Wall = field(default_factory=lambda: Wall(OPEN))

    def source(self) -> ScriptedSource:
        scripted = ScriptedSource()
        scripted.trade("AAA", DAYS)
        scripted.trade("BBB", DAYS, first=500.0)
        scripted.quotes["AAA"] = SourceQuote(140.0, OPEN, 77.0, 139.0, 141.0, 4000.0)
        return scripted

    @asynccontextmanager
    async def replica(
        self, *seeds: str, time: Time | None = None, patience: float = 4.0
    ) -> AsyncIterator[Replica]:
        source, trades = self.source(), Weekdays()
        upkeep = Upkeep(
            seeds, patience=timedelta(seconds=patience), wall=self.wall, sleep=self.wall.sleep
        )
        async with open_database(self.url, "quote_svc") as opened:
            database = Breakable(opened)
            lease = Lease(database, leases, "market:test", time=time or Time(sleep=brief))
            shared = Shared(database, lease)
            async with (
                opened_stored_market(
                    DESCRIPTION, source, shared, lambda _: trades, upkeep
                ) as market,
                serving(service(QuoteServicer(market)), domain="quote.foretick") as server,
                calling(server, pb.DESCRIPTOR.services_by_name["QuoteService"]) as channel,
            ):
                yield Replica(market, source, database, QuoteServiceStub(channel))

    @asynccontextmanager
    async def pair(self, *seeds: str) -> AsyncIterator[tuple[Replica, Replica]]:
        """The one that holds the lease, and another."""
        async with self.replica(*seeds) as holder:
            await until(lambda: holder.market.holds)
            async with self.replica(*seeds) as follower:
                yield holder, follower
                assert follower.source.calls == []
                assert follower.source.queries == []


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


async def eventually(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    async with asyncio.timeout(20):
        while await ask() != wanted:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)


@pytest.fixture
async def stage(postgres_url: str) -> Stage:
    await migrate(postgres_url, "quote_svc")
    return Stage(postgres_url)


async def test_one_asks_the_source_and_all_answer_the_same(stage: Stage) -> None:
    async with stage.pair("AAA", "BBB") as (holder, follower):
        for symbol in ("AAA", "BBB"):
            told = await follower.quote(symbol)
            assert told == await holder.quote(symbol)
            assert told.version > 0
        assert holder.source.count("AAA") == 1
        asked = pb.GetHistoryRequest(symbol="AAA")
        assert await follower.stub.GetHistory(asked) == await holder.stub.GetHistory(asked)


async def test_a_price_that_was_pushed_reaches_the_others(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower):
        before = await follower.quote()
        stage.wall.forward(seconds=5)
        pushed = StreamedPrice("AAA", SourceQuote(140.5, stage.wall.now))
        follower.market.accept_price(pushed)  # no business of its
        holder.market.accept_price(pushed)
        await eventually(follower.price, 140.5)
        after = await follower.quote()
        assert after == await holder.quote()
        assert after.version > before.version


async def test_a_cold_symbol_is_fetched_once_whoever_is_asked(stage: Stage) -> None:
    async with stage.pair() as (holder, follower):
        prices = await asyncio.gather(*(follower.price() for _ in range(20)), holder.price())
        assert prices == [140.0] * 21
        assert holder.source.calls == [("AAA", None)]
        answer = await follower.stub.GetHistory(pb.GetHistoryRequest(symbol="BBB"))
        assert answer.closes[0] == 500.0


async def test_a_refusal_reaches_whoever_asked(stage: Stage, refusal: Refusal) -> None:
    async with stage.pair() as (holder, follower):
        error = await refusal(follower.stub.GetHistory(pb.GetHistoryRequest(symbol="ZZZ")))
        assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "SYMBOL_NOT_FOUND")
        holder.source.down = Unreachable("Nobody is there.")
        error = await refusal(follower.stub.GetHistory(pb.GetHistoryRequest(symbol="AAA")))
        assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "SOURCE_UNREACHABLE")
        assert error.message == "Nobody is there."
        # It is remembered for as long as the holder remembers it, and then asked again.
        calls = len(holder.source.calls)
        await refusal(follower.stub.GetHistory(pb.GetHistoryRequest(symbol="AAA")))
        assert len(holder.source.calls) == calls
        holder.source.down = None
        stage.wall.forward(seconds=11)
        assert await follower.price() == 140.0


async def test_search_finds_what_the_source_knows(stage: Stage) -> None:
    async with stage.pair() as (holder, follower):
        apple = SourceInstrument(
            "AAPL", "Apple Inc.", InstrumentKind.STOCK, "NMS", "America/New_York", "USD", 2
        )
        holder.source.found = [apple]
        request = pb.SearchInstrumentsRequest(query="ap\0ple")
        found = (await follower.stub.SearchInstruments(request)).instruments
        assert [(each.symbol, each.display_name) for each in found] == [("AAPL", "Apple Inc.")]
        assert holder.source.queries == ["apple"]
        holder.source.down = Unreachable("Nobody is there.")
        request = pb.SearchInstrumentsRequest(query="pear")
        assert not (await follower.stub.SearchInstruments(request)).instruments


async def test_what_is_looked_at_anywhere_is_polled(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower):
        await follower.quote()
        await until(lambda: holder.market.polled_symbols() == {"AAA"})
        assert follower.market.polled_symbols() == frozenset()
        holder.source.quote("AAA", 141.0, stage.wall.now)
        stage.wall.forward(seconds=15)
        await eventually(follower.price, 141.0)


async def test_errands_are_few_and_forgotten(stage: Stage) -> None:
    async def count(replica: Replica) -> int:
        query = select(func.count()).select_from(errands)
        return int(await replica.database.read(lambda connection: connection.scalar(query)))

    async with stage.pair("AAA") as (holder, follower):
        for _ in range(30):
            await follower.quote()
        await until(lambda: bool(holder.market.polled_symbols()))
        assert await count(holder) <= 2  # the cold symbol, perhaps, and that it is looked at
        stage.wall.forward(seconds=61)
        await eventually(lambda: count(holder), 0)


async def test_versions_are_the_same_on_both_sides_of_a_boundary(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower):
        seen: list[int] = []
        held_back = asyncio.Event()
        holder.source.gate = held_back  # nothing but time changes
        await follower.quote()
        close = datetime(2026, 11, 23, 21, tzinfo=UTC)
        for now in (
            OPEN + timedelta(seconds=75),
            OPEN + timedelta(seconds=76),  # not refreshed for too long
            close - timedelta(seconds=1),
            close,
            close + timedelta(minutes=20),
            close + timedelta(minutes=35),
            datetime(2026, 11, 24, 14, 30, tzinfo=UTC),
            datetime(2026, 11, 24, 15, 0, tzinfo=UTC),
        ):
            stage.wall.now = now
            ours, theirs = await holder.quote(), await follower.quote()
            assert ours == theirs
            seen.append(ours.version)
        assert seen == sorted(seen)
        assert len(set(seen)) >= 6
        held_back.set()


async def test_versions_never_fall_for_who_asks_the_replicas_in_turn(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower):
        known: pb.Quote = await follower.quote()
        told: dict[int, bytes] = {}
        for second in range(1, 40):
            stage.wall.forward(seconds=1)
            if second % 3 == 0:
                price = SourceQuote(140 + second / 100, stage.wall.now)
                holder.market.accept_price(StreamedPrice("AAA", price))
            for replica in (holder, follower):
                quote = await replica.quote()
                same = told.setdefault(quote.version, quote.SerializeToString(deterministic=True))
                assert same == quote.SerializeToString(deterministic=True)
                # One that lags says so by its version.
                assert (quote.version >= known.version) == (quote.as_of_time.ToDatetime()
                    >= known.as_of_time.ToDatetime())  # fmt: skip
                known = max(known, quote, key=lambda each: each.version)
        await eventually(follower.quote, known)


async def test_streams_begin_with_everything_on_any_replica(stage: Stage) -> None:
    async with stage.pair("AAA", "BBB") as (holder, follower):
        request = pb.WatchQuotesRequest(symbols=["AAA", "BBB"])
        firsts = []
        for replica in (holder, follower):
            stream: Any = replica.stub.WatchQuotes(request, timeout=20)
            first = await stream.read()
            assert first.snapshot
            firsts.append([(each.instrument.symbol, each.version) for each in first.quotes])
            stream.cancel()
        assert firsts[0] == firsts[1]


async def test_new_bars_reach_the_others(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower):
        request = pb.GetHistoryRequest(symbol="AAA")
        before = await follower.stub.GetHistory(request)
        holder.source.rows["AAA"][MONDAY] = [141.0, 142.0, 140.0, 141.5, 5000.0, 0.0, 1.0]
        stage.wall.now = datetime(2026, 11, 23, 21, 20, tzinfo=UTC)

        async def sessions() -> int:
            return len((await follower.stub.GetHistory(request)).closes)

        await eventually(sessions, len(before.closes) + 1)
        after = await follower.stub.GetHistory(request)
        assert after == await holder.stub.GetHistory(request)
        assert after.next_session.session_date == "2026-11-24"


async def test_a_failing_source_shows_everywhere(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower):
        await follower.quote()
        await until(lambda: bool(holder.market.polled_symbols()))
        holder.source.down = Unreachable("Nobody is there.")

        async def reason() -> str:
            return (await follower.quote()).stale_reason

        stage.wall.forward(seconds=80)
        await eventually(reason, "Nobody is there.")
        assert await follower.quote() == await holder.quote()


async def test_another_takes_over_when_the_holder_stops(stage: Stage) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        holder = await first.enter_async_context(stage.replica("AAA"))
        await until(lambda: holder.market.holds)
        heir = await stack.enter_async_context(stage.replica("AAA"))
        before = await heir.quote()
        # What was pushed last is stored on the way out.
        stage.wall.forward(seconds=1)
        pushed = SourceQuote(140.25, stage.wall.now)
        holder.market.accept_price(StreamedPrice("AAA", pushed))
        last = await holder.quote()
        await first.aclose()
        await until(lambda: heir.market.holds)
        after = await heir.quote()
        assert (after.price, after.version) == (140.25, last.version)
        assert after.version > before.version
        heir.source.quote("AAA", 141.0, stage.wall.now)
        stage.wall.forward(seconds=15)
        await eventually(heir.price, 141.0)


async def test_an_errand_outlasts_who_was_to_do_it(stage: Stage) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        holder = await first.enter_async_context(stage.replica())
        await until(lambda: holder.market.holds)
        heir = await stack.enter_async_context(stage.replica())
        third = await stack.enter_async_context(stage.replica())
        holder.source.gate.clear()
        request = pb.BatchGetQuotesRequest(symbols=["AAA"])
        asked = asyncio.ensure_future(third.stub.BatchGetQuotes(request, timeout=20))
        await holder.source.asked.wait()
        await first.aclose()
        await until(lambda: heir.market.holds or third.market.holds)
        # It is answered by the heir; who takes over while it waits is told to ask again.
        answer = await asked
        assert answer.quotes or answer.missing[0].reason == "HISTORY_PENDING"

        async def prices() -> list[float]:
            return [each.price for each in (await third.stub.BatchGetQuotes(request)).quotes]

        await eventually(prices, [140.0])


async def test_a_history_has_all_that_another_replica_told_of(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower):
        request = pb.GetHistoryRequest(symbol="AAA")
        await follower.stub.GetHistory(request)
        for n in range(1, 6):
            day = MONDAY + timedelta(days=n - 1)
            row = [141.0 + n, 142.0 + n, 140.0 + n, 141.5 + n, 5000.0, 0.0, 1.0]
            holder.source.rows["AAA"][day] = row
            stage.wall.now = datetime.combine(day, datetime.min.time(), UTC)
            stage.wall.forward(hours=21, minutes=20)

            async def told() -> str:
                clock = await holder.stub.GetClock(pb.GetClockRequest())
                return clock.exchanges[0].last_session.session_date

            await eventually(told, day.isoformat())
            assert (await follower.stub.GetHistory(request)).closes[-1] == 141.5 + n


@dataclass
class Stalled:
    """A process that stands still, and does not know it, until `goes_on` is set."""

    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def sleep(self, seconds: float) -> None:
        await self.goes_on.wait()
        await brief(seconds)


@dataclass
class Fast:
    """Time of a contender, for whom a second passes in a hundredth."""

    now: float = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(seconds / 100)


async def test_another_takes_over_when_the_holder_dies(stage: Stage) -> None:
    stalled, fast = Stalled(), Fast()
    dead = Time(clock=lambda: 0.0, sleep=stalled.sleep)
    async with (
        stage.replica("AAA", time=dead) as zombie,
        AsyncExitStack() as stack,
    ):
        await until(lambda: zombie.market.holds)
        heir = await stack.enter_async_context(
            stage.replica("AAA", time=Time(clock=lambda: fast.now, sleep=fast.sleep))
        )
        await heir.quote()
        await until(lambda: heir.market.holds)
        assert zombie.market.holds  # as it believes
        # What it hears now, it keeps to itself.
        stage.wall.forward(seconds=1)
        price = SourceQuote(99.0, stage.wall.now)
        zombie.market.accept_price(StreamedPrice("AAA", price))
        heir.source.quote("AAA", 141.0, stage.wall.now + timedelta(seconds=10))
        stage.wall.forward(seconds=15)
        await eventually(heir.price, 141.0)
        # Once it notices, it follows.
        stalled.goes_on.set()
        await until(lambda: not zombie.market.holds)
        await eventually(zombie.price, 141.0)
        assert await zombie.quote() == await heir.quote()


async def test_without_the_database_what_is_known_is_served(
    stage: Stage, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        holder = await stack.enter_async_context(stage.replica("AAA"))
        await until(lambda: holder.market.holds)
        await holder.quote()
        follower = await stack.enter_async_context(stage.replica("AAA", patience=0.01))
        before = await follower.quote()
        await until(lambda: bool(holder.market.polled_symbols()))
        for replica in (holder, follower):
            replica.database.is_away = True
        caplog.clear()
        for _ in range(100):
            stage.wall.forward(seconds=1)
            assert (await holder.price(), await follower.price()) == (140.0, 140.0)
        assert (await follower.quote()).stale
        error = await refusal(follower.stub.GetHistory(pb.GetHistoryRequest(symbol="BBB")))
        assert error.reason == "HISTORY_PENDING"
        assert [record for record in caplog.records if record.exc_info] == []
        for replica in (holder, follower):
            replica.database.is_away = False
        for replica in (holder, follower):
            replica.source.quote("AAA", 143.0, stage.wall.now)
        stage.wall.forward(seconds=15)
        await eventually(follower.price, 143.0)
        assert (await follower.quote()).version > before.version
