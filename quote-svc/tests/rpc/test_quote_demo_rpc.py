"""The demo market over gRPC: its clock runs, stops and goes on."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick_rpc.client import open_channel
from foretick_rpc.convert import instant
from foretick_rpc.ports import free_port
from foretick_rpc.testing import SERVICE_TOKEN

Start = Callable[..., AbstractAsyncContextManager[QuoteServiceStub]]


class Wall(Protocol):
    now: float


async def market_time(stub: QuoteServiceStub) -> datetime:
    return instant((await stub.GetClock(pb.GetClockRequest())).market_time)


async def test_get_market(demo: QuoteServiceStub) -> None:
    market = (await demo.GetMarket(pb.GetMarketRequest())).market
    assert market.market_id == "demo:7"
    assert market.kind == pb.MARKET_KIND_DEMO
    assert market.synthetic
    assert "made up" in market.notices[0]


async def test_the_clock_says_when_it_changes(demo: QuoteServiceStub, wall: Wall) -> None:
    clock = await demo.GetClock(pb.GetClockRequest())
    assert clock.next_change_in.ToTimedelta().total_seconds() == 15
    assert clock.exchanges[0].state == pb.SESSION_STATE_CLOSED
    assert clock.exchanges[0].next_session.session_date == "2026-01-05"
    wall.now += 5
    clock = await demo.GetClock(pb.GetClockRequest())
    assert clock.next_change_in.ToTimedelta().total_seconds() == 10


async def test_an_open_session_has_prices_but_no_bar(start: Start, wall: Wall) -> None:
    async with start(DEMO_SESSION_SECONDS=8, DEMO_NIGHT_SECONDS=1) as demo:
        closed = (await demo.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["ALVQ"]))).quotes[0]
        wall.now += 5
        clock = await demo.GetClock(pb.GetClockRequest())
        assert clock.exchanges[0].state == pb.SESSION_STATE_OPEN
        assert clock.exchanges[0].last_session.session_date == "2026-01-02"
        opened = (await demo.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["alvq"]))).quotes[0]
        assert opened.state == pb.SESSION_STATE_OPEN
        assert opened.previous_close == closed.price
        assert instant(opened.as_of_time) <= instant(clock.market_time)
        assert opened.session_date == opened.next_session.session_date == "2026-01-05"
        assert opened.day_low <= opened.price <= opened.day_high
        assert opened.volume > 0
        assert closed.source == pb.PRICE_SOURCE_FINAL_BAR
        assert opened.source == pb.PRICE_SOURCE_LATEST_TRADE
        assert opened.change == opened.price - closed.price
        history = await demo.GetHistory(pb.GetHistoryRequest(symbol="ALVQ"))
        assert len(history.closes) == len(history.session_days) == 1500
        assert history.closes[-1] == closed.price
        assert history.next_session.session_date == "2026-01-05"
        assert history.next_session_days[0] == (date(2026, 1, 5) - date(1970, 1, 1)).days
        assert history.known_next_sessions == len(history.next_session_days) == 20
        assert history.close_seconds[-1] == instant(closed.as_of_time).timestamp()


async def test_search_ranks_and_pages(demo: QuoteServiceStub) -> None:
    request = pb.SearchInstrumentsRequest(query="q", page_size=100)
    whole = await demo.SearchInstruments(request)
    symbols = [instrument.symbol for instrument in whole.instruments]
    assert symbols[:2] == ["QERU", "QVND"]
    assert len(symbols) > 5
    seen: list[str] = []
    token = ""
    while True:
        request = pb.SearchInstrumentsRequest(query="q", page_size=3, page_token=token)
        page = await demo.SearchInstruments(request)
        seen += [instrument.symbol for instrument in page.instruments]
        token = page.next_page_token
        if not token:
            break
    assert seen == symbols
    typo = await demo.SearchInstruments(pb.SearchInstrumentsRequest(query="lgoistics"))
    assert [instrument.symbol for instrument in typo.instruments] == ["BOXJ"]


async def test_list_universe(demo: QuoteServiceStub) -> None:
    universe = await demo.ListUniverse(pb.ListUniverseRequest())
    assert universe.market_id == "demo:7"
    assert len(universe.instruments) == 59
    assert {instrument.exchange_code for instrument in universe.instruments} == {"XDEM"}


async def test_the_clock_goes_on_exactly_where_it_stopped(start: Start, wall: Wall) -> None:
    async with start() as demo:
        wall.now += 6
        stopped = await market_time(demo)
    wall.now += 1_000_000  # while nothing runs
    async with start() as demo:
        assert await market_time(demo) == stopped


async def test_each_seed_has_its_own_clock(start: Start, wall: Wall) -> None:
    async with start(DEMO_SEED=7) as demo:
        before = await market_time(demo)
        wall.now += 6
        assert await market_time(demo) > before
    async with start(DEMO_SEED=8) as demo:
        assert await market_time(demo) == before
        market = (await demo.GetMarket(pb.GetMarketRequest())).market
        assert market.market_id == "demo:8"


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A real quote-svc of its own, killed at the end if it is still there; with its port."""
    port = free_port()
    environment = os.environ | {
        "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN,
        "FORETICK_DATA_DIR": str(folder),
        "QUOTE_MARKET": "demo",
        "QUOTE_LISTEN": f"127.0.0.1:{port}",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quote_svc", env=environment
    )
    try:
        yield started, port
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def first_market_time(port: int) -> datetime:
    """What the service says once it answers."""
    service = pb.DESCRIPTOR.services_by_name["QuoteService"]
    target = f"127.0.0.1:{port}"
    async with open_channel(target, service_token=SERVICE_TOKEN, service=service) as channel:
        stub = QuoteServiceStub(channel)
        clock = await stub.GetClock(pb.GetClockRequest(), wait_for_ready=True, timeout=60)
        return instant(clock.market_time)


async def test_kill_9_takes_no_time_back(tmp_path: Path) -> None:
    async with process(tmp_path) as (running, port):
        seen = await first_market_time(port)
        running.kill()
        await running.wait()
    async with process(tmp_path) as (running, port):
        assert await first_market_time(port) > seen
        running.terminate()
        assert await running.wait() == 0


async def test_halted_and_delisted_stocks_say_so(start: Start, wall: Wall) -> None:
    async with start(DEMO_SESSION_SECONDS=2, DEMO_NIGHT_SECONDS=1) as demo:
        wall.now += 8
        request = pb.BatchGetQuotesRequest(symbols=["RHZM", "DOZX", "ALVQ"])
        halted, delisted, traded = (await demo.BatchGetQuotes(request)).quotes
        assert halted.state == pb.SESSION_STATE_HALTED
        assert not halted.stale
        assert delisted.state == pb.SESSION_STATE_CLOSED
        assert delisted.stale
        assert delisted.stale_reason == "delisted: it was last traded on 2025-11-07"
        assert traded.state == pb.SESSION_STATE_OPEN
        assert halted.session_date == "2026-01-06" < traded.session_date


async def test_splits_and_dividends_are_columns(demo: QuoteServiceStub) -> None:
    history = await demo.GetHistory(pb.GetHistoryRequest(symbol="ALVQ"))
    assert [factor for factor in history.split_factors if factor != 1] == [2]
    assert sum(dividend > 0 for dividend in history.dividends) in (23, 24)
