"""Several replicas of the stored market over one database: one asks the source, all answer."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from grpc import StatusCode
from sqlalchemy import func, select

from foretick.quote.v1 import quote_pb2 as pb
from foretick_rpc.convert import epoch_day
from quote_svc.market import InstrumentKind
from quote_svc.source import SourceInstrument, SourceQuote, StreamedPrice, Unreachable
from quote_svc.tables import errands
from replica_stage import MONDAY, OPEN, Refusal, Replica, Stage, eventually, until


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


async def test_final_bars_are_there_on_all_replicas_once_any_says_so(stage: Stage) -> None:
    async with stage.pair("AAA", "BBB") as (holder, follower):
        for replica in (holder, follower):
            await eventually(partial(progress, replica), (2, 0, 2))
        # Until the second is fetched too, the session is not final.
        for symbol in ("AAA", "BBB"):
            holder.source.rows[symbol][MONDAY] = [141.0, 142.0, 140.0, 141.5, 5000.0, 0.0, 1.0]
        request = pb.WatchMarketSessionsRequest()
        streams = [
            replica.stub.WatchMarketSessions(request, timeout=20) for replica in (holder, follower)
        ]
        for stream in streams:
            events = [await anext(aiter(stream)) for _ in range(4)]
            assert [event.session.session_date for event in events] == [
                *["2026-11-20"] * 3,
                "2026-11-23",
            ]
        stage.wall.now = datetime(2026, 11, 23, 21, 20, tzinfo=UTC)
        for stream in streams:
            async for event in stream:
                if event.kind == pb.SESSION_EVENT_KIND_BARS_FINAL:
                    break
            assert event.session.session_date == "2026-11-23"
            for replica in (holder, follower):
                for symbol in ("AAA", "BBB"):
                    history = await replica.stub.GetHistory(pb.GetHistoryRequest(symbol=symbol))
                    assert history.session_days[-1] == epoch_day(MONDAY)
            stream.cancel()


async def test_every_replica_counts_a_symbol_that_one_was_asked_for(stage: Stage) -> None:
    async with stage.pair("AAA") as (holder, follower), stage.replica("AAA") as third:
        replicas = (holder, follower, third)
        for replica in replicas:
            await eventually(partial(progress, replica), (1, 0, 1))
        await follower.quote("BBB")
        for replica in replicas:
            await eventually(partial(progress, replica), (2, 0, 2))
            history = await replica.stub.GetHistory(pb.GetHistoryRequest(symbol="BBB"))
            assert history.closes[0] == 500.0


async def progress(replica: Replica) -> tuple[int, int, int]:
    """Known, failed and total, as the cheapest listing says."""
    listing = await replica.stub.ListUniverse(pb.ListUniverseRequest(page_size=1))
    counted = listing.progress
    return counted.known, counted.failed, counted.total


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
