"""Both streams over gRPC: snapshots, changes, replays, and how they end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub, add_QuoteServiceServicer_to_server
from foretick_rpc.errors import AppError, app_error
from foretick_rpc.server import RpcService
from foretick_rpc.testing import calling, serving
from quote_svc.demo_market import DemoMarket
from quote_svc.demo_time import DemoPace
from quote_svc.market import MarketClock, MarketDown
from quote_svc.servicer import QuoteServicer
from quote_svc.watching import Watching

Start = Callable[..., AbstractAsyncContextManager[QuoteServiceStub]]
Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
SERVICE = pb.DESCRIPTOR.services_by_name["QuoteService"]
# Streams that hang fail instead.
DEADLINE = 30


class Wall(Protocol):
    now: float


async def next_quotes(stream: object) -> pb.WatchQuotesResponse:
    message = await stream.read()  # type: ignore[attr-defined]
    assert isinstance(message, pb.WatchQuotesResponse)
    return message


async def next_events(stream: object, count: int) -> list[tuple[str, int]]:
    events = []
    for _ in range(count):
        message = await stream.read()  # type: ignore[attr-defined]
        assert isinstance(message, pb.WatchMarketSessionsResponse)
        events.append((message.session.session_date, int(message.kind)))
    return events


def whole(*days: str) -> list[tuple[str, int]]:
    kinds = (
        pb.SESSION_EVENT_KIND_OPENED,
        pb.SESSION_EVENT_KIND_CLOSED,
        pb.SESSION_EVENT_KIND_BARS_FINAL,
    )
    return [(day, int(kind)) for day in days for kind in kinds]


def marks(**seen: str) -> pb.WatchMarketSessionsRequest:
    return pb.WatchMarketSessionsRequest(
        seen=[pb.SessionMark(exchange_code=code, session_date=day) for code, day in seen.items()]
    )


async def test_the_snapshot_answers_every_symbol(csv: QuoteServiceStub) -> None:
    symbols = ["aaa", "BAD", "nope", "a b", "AAA", "CCC"]
    first = await next_quotes(
        csv.WatchQuotes(pb.WatchQuotesRequest(symbols=symbols), timeout=DEADLINE)
    )
    assert first.snapshot
    assert [quote.instrument.symbol for quote in first.quotes] == ["AAA", "CCC"]
    assert [(missing.symbol, missing.reason) for missing in first.missing] == [
        ("a b", "SYMBOL_MALFORMED"),
        ("BAD", "PRICES_INVALID"),
        ("nope", "SYMBOL_NOT_FOUND"),
    ]
    polled = await csv.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=symbols))
    assert polled.market_id == first.market_id
    assert list(polled.quotes) == list(first.quotes)
    assert list(polled.missing) == list(first.missing)
    assert all(quote.version > 0 for quote in polled.quotes)


async def test_the_day_s_change(csv: QuoteServiceStub) -> None:
    answer = await csv.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["AAA", "CCC"]))
    two_days, one_day = answer.quotes
    assert two_days.previous_close == 11
    assert two_days.change == pytest.approx(0.2)
    assert (two_days.day_low, two_days.day_high, two_days.volume) == (10.8, 11.5, 1200)
    assert not two_days.stale
    assert not one_day.HasField("change")


async def test_changes_follow_the_snapshot(start: Start, wall: Wall) -> None:
    async with start(DEMO_SESSION_SECONDS=8, DEMO_NIGHT_SECONDS=2) as demo:
        symbols = ["ALVQ", "QVND", "NONE"]
        request = pb.WatchQuotesRequest(symbols=symbols)
        stream = demo.WatchQuotes(request, timeout=DEADLINE)
        first = await next_quotes(stream)
        assert first.snapshot
        assert first.quotes[0].state == pb.SESSION_STATE_CLOSED
        wall.now += 5
        second = await next_quotes(stream)
        assert not second.snapshot
        assert {quote.instrument.symbol for quote in second.quotes} <= set(symbols)
        assert second.quotes[0].state == pb.SESSION_STATE_OPEN
        assert not second.missing
        known = {quote.instrument.symbol: quote.version for quote in first.quotes}
        assert all(quote.version > known[quote.instrument.symbol] for quote in second.quotes)
        again = await next_quotes(demo.WatchQuotes(request, timeout=DEADLINE))
        assert again.snapshot
        assert list(again.quotes) == list(second.quotes)


@pytest.mark.parametrize("count", [0, 501])
async def test_too_few_or_many_symbols(csv: QuoteServiceStub, refusal: Refusal, count: int) -> None:
    request = pb.WatchQuotesRequest(symbols=[f"S{number}" for number in range(count)])
    error = await refusal(csv.WatchQuotes(request, timeout=DEADLINE).read())
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata["field"] == "symbols"


async def test_without_a_mark_the_last_session_is_sent(csv: QuoteServiceStub) -> None:
    stream = csv.WatchMarketSessions(marks(), timeout=DEADLINE)
    assert await next_events(stream, 3) == whole("2019-12-31")


async def test_sessions_after_a_mark_are_sent_again(csv: QuoteServiceStub) -> None:
    stream = csv.WatchMarketSessions(marks(XNYS="2019-12-26"), timeout=DEADLINE)
    assert await next_events(stream, 9) == whole("2019-12-27", "2019-12-30", "2019-12-31")


async def test_live_events_follow(start: Start, wall: Wall) -> None:
    async with start(DEMO_SESSION_SECONDS=2, DEMO_NIGHT_SECONDS=1) as demo:
        stream = demo.WatchMarketSessions(marks(), timeout=DEADLINE)
        past = await next_events(stream, 3)
        assert past == whole("2026-01-02")
        wall.now += 2
        assert await next_events(stream, 1) == whole("2026-01-05")[:1]
        wall.now += 3
        assert await next_events(stream, 3) == [
            *whole("2026-01-05")[1:],
            *whole("2026-01-06")[:1],
        ]
        # Who comes back with the last session that it knows all about misses nothing.
        again = demo.WatchMarketSessions(marks(XDEM="2026-01-02"), timeout=DEADLINE)
        assert await next_events(again, 4) == [*whole("2026-01-05"), *whole("2026-01-06")[:1]]


@pytest.mark.parametrize(
    "seen",
    [
        [pb.SessionMark(exchange_code="XNYS", session_date="20191231")],
        [pb.SessionMark(exchange_code="XNYS", session_date="2019-12-31")] * 2,
    ],
)
async def test_marks_that_cannot_be(
    csv: QuoteServiceStub, refusal: Refusal, seen: list[pb.SessionMark]
) -> None:
    request = pb.WatchMarketSessionsRequest(seen=seen)
    error = await refusal(csv.WatchMarketSessions(request, timeout=DEADLINE).read())
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata["field"] == "seen"


class FailingMarket(DemoMarket):
    """A demo market that can be down."""

    def __init__(self) -> None:
        super().__init__(7, DemoPace(120, 15), lambda: 60.0)
        self.is_down = False

    async def clock(self) -> MarketClock:
        if self.is_down:
            raise MarketDown("the market has been switched off")
        return await super().clock()


@pytest.fixture
def failing_market(shared_past: None) -> FailingMarket:
    return FailingMarket()


@pytest.fixture
def servicer(failing_market: FailingMarket) -> QuoteServicer:
    return QuoteServicer(failing_market)


@asynccontextmanager
async def served(servicer: QuoteServicer) -> AsyncIterator[QuoteServiceStub]:
    service = RpcService(SERVICE.full_name, partial(add_QuoteServiceServicer_to_server, servicer))
    async with serving(service) as server, calling(server, SERVICE) as channel:
        yield QuoteServiceStub(channel)


@pytest.fixture
async def stub(servicer: QuoteServicer) -> AsyncIterator[QuoteServiceStub]:
    async with served(servicer) as stub:
        yield stub


class NeverTicks:
    """Ticks that never come; `gone` is set when nobody waits for one any longer."""

    def __init__(self) -> None:
        self.waiting = 0
        self.gone = asyncio.Event()

    async def __call__(self) -> None:
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
            if not self.waiting:
                self.gone.set()


async def test_nothing_is_polled_once_all_have_left(failing_market: FailingMarket) -> None:
    ticks = NeverTicks()
    async with served(QuoteServicer(failing_market, Watching(failing_market, ticks))) as stub:
        request = pb.WatchQuotesRequest(symbols=["ALVQ"])
        streams = [stub.WatchQuotes(request, timeout=DEADLINE) for _ in range(5)]
        for stream in streams:
            await next_quotes(stream)
        assert ticks.waiting == 2  # one for what is quoted, one for what is missing
        for stream in streams[:4]:
            stream.cancel()
        late = stub.WatchQuotes(request, timeout=DEADLINE)
        await next_quotes(late)
        assert ticks.waiting == 2
        streams[4].cancel()
        late.cancel()
        async with asyncio.timeout(DEADLINE):
            await ticks.gone.wait()


async def test_a_stopping_service_ends_its_streams(
    stub: QuoteServiceStub, servicer: QuoteServicer, refusal: Refusal
) -> None:
    quotes = stub.WatchQuotes(pb.WatchQuotesRequest(symbols=["ALVQ"]), timeout=DEADLINE)
    events = stub.WatchMarketSessions(marks(), timeout=DEADLINE)
    await next_quotes(quotes)
    await next_events(events, 4)
    servicer.end_streams()
    for stream in (quotes, events):
        error = await refusal(stream.read())
        assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "SERVICE_STOPPING")
    with pytest.raises(AioRpcError) as caught:
        await stub.WatchMarketSessions(marks(), timeout=DEADLINE).read()
    assert app_error(caught.value).code is StatusCode.UNAVAILABLE


async def test_a_market_that_is_down_ends_the_stream(
    stub: QuoteServiceStub, failing_market: FailingMarket, refusal: Refusal
) -> None:
    events = stub.WatchMarketSessions(marks(), timeout=DEADLINE)
    await next_events(events, 4)
    failing_market.is_down = True
    for call in (events.read(), stub.GetClock(pb.GetClockRequest())):
        error = await refusal(call)
        assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "MARKET_DOWN")
    failing_market.is_down = False
    again = stub.WatchMarketSessions(marks(), timeout=DEADLINE)
    assert len(await next_events(again, 4)) == 4
