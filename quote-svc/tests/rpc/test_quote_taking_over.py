"""What becomes of the work when the replica that does it stops, dies, or loses its database."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from foretick.quote.v1 import quote_pb2 as pb
from foretick_rpc.leases import Time
from quote_svc.source import SourceQuote, StreamedPrice
from replica_stage import MONDAY, Refusal, Stage, brief, eventually, until


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
