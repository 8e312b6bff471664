"""Several replicas of a stored market over one database, for tests to look at and to break."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick_rpc.database import Database, open_database
from foretick_rpc.errors import AppError, DatabaseUnavailableError
from foretick_rpc.leases import Lease, Time
from foretick_rpc.testing import calling, serving
from quote_svc.app import service
from quote_svc.servicer import QuoteServicer
from quote_svc.source import SourceQuote
from quote_svc.store import Shared
from quote_svc.stored_market import StoredMarket, Upkeep, opened_stored_market
from quote_svc.tables import leases
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
