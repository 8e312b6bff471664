"""Two whole services over one database: one market time, one market, one that may be held."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import pytest
from grpc import StatusCode

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import MarketControlServiceStub, QuoteServiceStub
from foretick_rpc.convert import instant
from foretick_rpc.database import migrate
from foretick_rpc.errors import AppError
from foretick_rpc.testing import SERVICE_TOKEN, calling
from quote_svc.app import running
from quote_svc.settings import QuoteSettings

SYMBOLS = ["ALVQ", "RHZM", "DOZX"]
TICK = timedelta(minutes=1)
pytestmark = pytest.mark.usefixtures("shared_past")


class Wall(Protocol):
    now: float

    def __call__(self) -> float: ...


@dataclass
class Replica:
    quote: QuoteServiceStub
    control: MarketControlServiceStub

    async def market_time(self) -> datetime:
        return instant((await self.quote.GetClock(pb.GetClockRequest())).market_time)

    async def quotes(self) -> pb.BatchGetQuotesResponse:
        return await self.quote.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=SYMBOLS))


Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]


@asynccontextmanager
async def replica(url: str, wall: Wall, *, control: bool = False) -> AsyncIterator[Replica]:
    settings = QuoteSettings.model_validate(
        {
            "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN,
            "QUOTE_LISTEN": "127.0.0.1:0",
            "QUOTE_DATABASE_URL": url,
            "QUOTE_CONTROL": control,
            "DEMO_NIGHT_SECONDS": 1,
        }
    )
    services = pb.DESCRIPTOR.services_by_name
    async with (
        running(settings, wall, wall) as server,
        calling(server, services["QuoteService"]) as quote,
        calling(server, services["MarketControlService"]) as control_channel,
    ):
        yield Replica(QuoteServiceStub(quote), MarketControlServiceStub(control_channel))


async def moving(one: Replica, wall: Wall) -> None:
    """Wait until its clock moves with the wall's."""
    async with asyncio.timeout(20):
        before = await one.market_time()
        while await one.market_time() == before:
            wall.now += 0.001


@pytest.fixture
async def url(postgres_url: str) -> str:
    await migrate(postgres_url, "quote_svc")
    return postgres_url


async def test_replicas_show_one_time_and_one_market(url: str, wall: Wall) -> None:
    async with replica(url, wall) as one:
        await moving(one, wall)
        async with replica(url, wall) as two:
            versions: list[int] = []
            for _ in range(4):
                wall.now += 2
                first, second = await one.quotes(), await two.quotes()
                assert abs(first.market_time.ToDatetime() - second.market_time.ToDatetime()) < TICK
                assert first.quotes == second.quotes
                versions.append(first.quotes[0].version)
            assert versions == sorted(versions)
            assert versions[0] > 0


async def test_another_runs_on_when_the_one_stops(url: str, wall: Wall) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        one = await first.enter_async_context(replica(url, wall))
        await moving(one, wall)
        two = await stack.enter_async_context(replica(url, wall))
        wall.now += 4
        shown = max(await one.market_time(), await two.market_time())
        await first.aclose()
        # It stands still, and then goes on from there.
        wall.now += 5
        assert await two.market_time() >= shown
        await moving(two, wall)
        assert await two.market_time() - shown < timedelta(minutes=40)


async def test_only_the_one_that_runs_the_clock_holds_it(
    url: str, wall: Wall, refusal: Refusal
) -> None:
    hold = pb.SetClockRequest(hold=True)
    async with replica(url, wall, control=True) as one:
        await moving(one, wall)
        async with replica(url, wall, control=True) as two:
            error = await refusal(two.control.SetClock(hold))
            assert error.code is StatusCode.FAILED_PRECONDITION
            assert error.reason == "CLOCK_RUNS_ELSEWHERE"
            await one.control.SetClock(hold)
            async with asyncio.timeout(20):
                while (await two.quote.GetClock(pb.GetClockRequest())).HasField("next_change_in"):
                    pass
            wall.now += 3
            assert await two.market_time() == await one.market_time()
