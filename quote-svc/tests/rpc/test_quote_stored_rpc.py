"""The stored market over gRPC, with its background running."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick_rpc.database import open_database
from foretick_rpc.errors import app_error
from foretick_rpc.testing import calling, serving
from quote_svc.app import service
from quote_svc.servicer import QuoteServicer
from quote_svc.source import Unreachable
from quote_svc.store import Shared
from quote_svc.stored_market import StoredMarket, Upkeep, opened_stored_market
from quote_svc.testing import DESCRIPTION, ScriptedSource, Wall, Weekdays, weekdays

DAYS = weekdays(date(2026, 11, 20), 1260)
CLOSED = datetime(2026, 11, 21, 12, tzinfo=UTC)


@asynccontextmanager
async def served(
    folder: Path, source: ScriptedSource, wall: Wall, seeds: tuple[str, ...] = ()
) -> AsyncIterator[tuple[QuoteServiceStub, StoredMarket]]:
    trades = Weekdays()
    upkeep = Upkeep(seeds=seeds, wall=wall, sleep=wall.sleep)
    async with open_database(f"sqlite:///{folder}/quote.db", "quote_svc") as database:
        shared = Shared.of(database, DESCRIPTION.market_id)
        async with (
            opened_stored_market(DESCRIPTION, source, shared, lambda _: trades, upkeep) as market,
            serving(service(QuoteServicer(market)), domain="quote.foretick") as server,
            calling(server, pb.DESCRIPTOR.services_by_name["QuoteService"]) as channel,
        ):
            yield QuoteServiceStub(channel), market


async def test_500_calls_for_one_cold_symbol_are_one_fetch(tmp_path: Path) -> None:
    source = ScriptedSource()
    source.trade("AAA", DAYS)
    source.gate.clear()
    async with served(tmp_path, source, Wall(CLOSED)) as (stub, _):
        request = pb.GetHistoryRequest(symbol="aaa", start_date="2026-11-01")
        calls = [stub.GetHistory(request, timeout=60) for _ in range(500)]
        await source.asked.wait()
        source.gate.set()
        answers = await asyncio.gather(*calls)
        closes = [row[3] for row in source.rows["AAA"].values()][-15:]
        assert all(list(answer.closes) == closes for answer in answers)
        assert source.calls == [("AAA", None)]


async def test_the_background_fetches_the_seeds(tmp_path: Path) -> None:
    source = ScriptedSource()
    for symbol in ("AAA", "BBB"):
        source.trade(symbol, DAYS)
    async with served(tmp_path, source, Wall(CLOSED), ("BBB", "AAA")) as (stub, _):
        deadline = asyncio.timeout(30)
        async with deadline:
            known = 0
            while known < 2:
                universe = await stub.ListUniverse(pb.ListUniverseRequest())
                known = universe.progress.known
        assert [each.symbol for each in universe.instruments] == ["AAA", "BBB"]
        assert (universe.progress.failed, universe.progress.total) == (0, 2)


async def test_pending_and_failing_symbols_say_so(tmp_path: Path) -> None:
    source = ScriptedSource()
    source.trade("AAA", DAYS)
    source.gate.clear()
    wall = Wall(CLOSED)
    wall.impatient.set()
    async with served(tmp_path, source, wall) as (stub, _):
        quotes = await stub.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["AAA", "ZZZ"]))
        reasons = [(each.symbol, each.reason) for each in quotes.missing]
        assert reasons == [("AAA", "HISTORY_PENDING"), ("ZZZ", "HISTORY_PENDING")]
        wall.impatient.clear()
        source.gate.set()
        quotes = await stub.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["AAA", "ZZZ"]))
        assert [quote.price for quote in quotes.quotes] == [1359.0]
        assert [each.reason for each in quotes.missing] == ["SYMBOL_NOT_FOUND"]
        source.down = Unreachable("The source does not answer.")
        try:
            await stub.GetHistory(pb.GetHistoryRequest(symbol="NEW"), timeout=5)
        except AioRpcError as refused:
            error = app_error(refused)
            assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "SOURCE_UNREACHABLE")
            assert error.message == "The source does not answer."
        else:
            raise AssertionError("a history out of nothing")


async def test_known_symbols_are_served_while_the_source_is_down(tmp_path: Path) -> None:
    source = ScriptedSource()
    source.trade("AAA", DAYS)
    wall = Wall(CLOSED)
    async with served(tmp_path, source, wall, ("AAA",)) as (stub, _):
        before = await stub.GetHistory(pb.GetHistoryRequest(symbol="AAA"))
    source.down = Unreachable("The source does not answer.")
    wall.forward(days=4)
    async with served(tmp_path, source, wall, ("AAA",)) as (stub, _):
        after = await stub.GetHistory(pb.GetHistoryRequest(symbol="AAA"))
        assert np.array_equal(after.closes, before.closes)
        async with asyncio.timeout(30):
            reason = ""
            while "answer" not in reason:
                quotes = await stub.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["AAA"]))
                (quote,) = quotes.quotes
                assert quote.stale
                reason = quote.stale_reason
        assert quote.price == before.closes[-1]
