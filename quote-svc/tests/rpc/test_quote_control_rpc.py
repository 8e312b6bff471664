"""MarketControlService over gRPC: clocks that are held and stepped, and markets that break."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest
from grpc import StatusCode

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import MarketControlServiceStub, QuoteServiceStub
from foretick_rpc.convert import instant
from foretick_rpc.errors import AppError
from foretick_rpc.testing import SERVICE_TOKEN, calling
from quote_svc.app import running
from quote_svc.demo_prices import DemoPrices
from quote_svc.settings import MarketChoice, QuoteSettings

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]


class Wall(Protocol):
    now: float

    def __call__(self) -> float: ...


@dataclass
class Stubs:
    """The two services of one process."""

    quote: QuoteServiceStub
    control: MarketControlServiceStub

    async def step(self, sessions: int) -> datetime:
        request = pb.SetClockRequest(step_sessions=sessions)
        return instant((await self.control.SetClock(request, timeout=30)).market_time)

    async def market_time(self) -> datetime:
        return instant((await self.quote.GetClock(pb.GetClockRequest())).market_time)

    async def break_(self, *faults: pb.Fault) -> None:
        await self.control.SetFaults(pb.SetFaultsRequest(faults=faults))

    async def closes(self, symbol: str) -> list[float]:
        return list((await self.quote.GetHistory(pb.GetHistoryRequest(symbol=symbol))).closes)

    async def histories(self) -> list[bytes]:
        """Every byte that GetHistory has of every instrument."""
        listed = await self.quote.ListUniverse(pb.ListUniverseRequest())
        requests = (pb.GetHistoryRequest(symbol=each.symbol) for each in listed.instruments)
        answers = [await self.quote.GetHistory(request) for request in requests]
        return [answer.SerializeToString(deterministic=True) for answer in answers]


Start = Callable[..., AbstractAsyncContextManager[Stubs]]


@pytest.fixture
def controlled(tmp_path: Path, wall: Wall, shared_past: None) -> Start:
    """Starts the service; a folder is what it remembers from one start to the next."""

    @asynccontextmanager
    async def started(folder: str = "kept", **settings: object) -> AsyncIterator[Stubs]:
        chosen = QuoteSettings.model_validate(
            {
                "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN,
                "FORETICK_DATA_DIR": tmp_path / folder,
                "QUOTE_LISTEN": "127.0.0.1:0",
                "QUOTE_CONTROL": "1",
                **settings,
            }
        )
        services = pb.DESCRIPTOR.services_by_name
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(running(chosen, wall))
            quote, control = [
                await stack.enter_async_context(calling(server, services[name]))
                for name in ("QuoteService", "MarketControlService")
            ]
            yield Stubs(QuoteServiceStub(quote), MarketControlServiceStub(control))

    return started


@pytest.fixture
async def csv(controlled: Start, tmp_path: Path) -> AsyncIterator[Stubs]:
    """AAA and BBB with five closes, the clock at the second of them."""
    path = tmp_path / "prices.csv"
    lines = [
        f"{symbol},2020-01-0{day},10,{close},10,{close},100"
        for symbol in ("AAA", "BBB")
        for day, close in ((2, 20), (3, 30), (6, 40), (7, 50), (8, 60))
    ]
    path.write_text("\n".join(("symbol,date,open,high,low,close,volume", *lines)))
    async with controlled(
        QUOTE_MARKET=MarketChoice.CSV, QUOTE_CSV_PATH=path, QUOTE_AS_OF="2020-01-03"
    ) as stubs:
        yield stubs


async def test_csv_is_stepped_to_its_last_bar(csv: Stubs, refusal: Refusal) -> None:
    assert await csv.step(1) == datetime(2020, 1, 6, 21, tzinfo=UTC)
    assert await csv.closes("AAA") == [20, 30, 40]
    assert await csv.step(2) == datetime(2020, 1, 8, 21, tzinfo=UTC)
    assert await csv.closes("BBB") == [20, 30, 40, 50, 60]
    error = await refusal(csv.step(1))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "NO_SESSIONS_LEFT")
    assert "the last bar is of 2020-01-08" in error.message
    assert await csv.market_time() == datetime(2020, 1, 8, 21, tzinfo=UTC)


async def test_csv_is_held_and_cannot_run(csv: Stubs, refusal: Refusal) -> None:
    held = await csv.control.SetClock(pb.SetClockRequest(hold=True))
    assert instant(held.market_time) == datetime(2020, 1, 3, 21, tzinfo=UTC)
    error = await refusal(csv.control.SetClock(pb.SetClockRequest(run=True)))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "CLOCK_STANDS_STILL")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SetClockRequest(), "action"),
        (pb.SetClockRequest(hold=False), "hold"),
        (pb.SetClockRequest(run=False), "run"),
        (pb.SetClockRequest(step_sessions=0), "step_sessions"),
        (pb.SetClockRequest(step_sessions=-1), "step_sessions"),
        (pb.SetClockRequest(step_sessions=1001), "step_sessions"),
    ],
)
async def test_set_clock_refused(
    csv: Stubs, refusal: Refusal, request_: pb.SetClockRequest, field: str
) -> None:
    error = await refusal(csv.control.SetClock(request_))
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata == {"field": field}
    assert await csv.market_time() == datetime(2020, 1, 3, 21, tzinfo=UTC)


GOOD = pb.Fault(kind=pb.FAULT_KIND_MISSING_SESSION, symbols=["AAA"])


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        (pb.Fault(), "kind"),
        (pb.Fault(kind=99), "kind"),  # type: ignore[arg-type]
        (pb.Fault(kind=pb.FAULT_KIND_SLOW), "seconds"),
        (pb.Fault(kind=pb.FAULT_KIND_SLOW, seconds=-1), "seconds"),
        (pb.Fault(kind=pb.FAULT_KIND_SLOW, seconds=3601), "seconds"),
        (pb.Fault(kind=pb.FAULT_KIND_SLOW, seconds=float("nan")), "seconds"),
        (pb.Fault(kind=pb.FAULT_KIND_SLOW, seconds=1, symbols=["AAA"]), "symbols"),
        (pb.Fault(kind=pb.FAULT_KIND_DOWN, symbols=["AAA"]), "symbols"),
        (pb.Fault(kind=pb.FAULT_KIND_DOWN, seconds=1), "seconds"),
        (pb.Fault(kind=pb.FAULT_KIND_LATE_BAR, symbols=["AAA"]), "seconds"),
        (pb.Fault(kind=pb.FAULT_KIND_REVISED_BAR, symbols=["AAA"], seconds=2), "seconds"),
        (pb.Fault(kind=pb.FAULT_KIND_REVISED_BAR, symbols=["A B"]), "symbols"),
        (pb.Fault(kind=pb.FAULT_KIND_REVISED_BAR, symbols=["AAA", "ZZZ"]), "symbols"),
    ],
)
async def test_set_faults_refused(
    csv: Stubs, refusal: Refusal, fault: pb.Fault, field: str
) -> None:
    await csv.break_(GOOD)
    error = await refusal(csv.break_(pb.Fault(kind=pb.FAULT_KIND_REVISED_BAR), fault))
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata == {"field": f"faults[1].{field}"}
    assert await csv.closes("AAA") == [20], "what was set before stays"


async def test_too_many_faults_are_refused(csv: Stubs, refusal: Refusal) -> None:
    error = await refusal(csv.break_(*[GOOD] * 101))
    assert error.metadata == {"field": "faults"}


async def test_faults_come_and_go(csv: Stubs, refusal: Refusal, wall: Wall) -> None:
    await csv.break_(pb.Fault(kind=pb.FAULT_KIND_DOWN))
    for call in (
        csv.quote.GetMarket(pb.GetMarketRequest()),
        csv.quote.GetClock(pb.GetClockRequest()),
        csv.quote.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["AAA"])),
        csv.quote.GetHistory(pb.GetHistoryRequest(symbol="AAA")),
        csv.quote.SearchInstruments(pb.SearchInstrumentsRequest(query="a")),
        csv.quote.ListUniverse(pb.ListUniverseRequest()),
    ):
        error = await refusal(call)
        assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "MARKET_DOWN")
    assert await csv.step(1) == datetime(2020, 1, 6, 21, tzinfo=UTC), "control answers"

    await csv.break_(
        pb.Fault(kind=pb.FAULT_KIND_LATE_BAR, symbols=["aaa"], seconds=60),
        pb.Fault(kind=pb.FAULT_KIND_REVISED_BAR, symbols=["BBB"]),
    )
    await csv.step(1)
    assert await csv.closes("AAA") == [20, 30, 40]
    assert await csv.closes("BBB") == [20, 30, 40.4, 50]
    wall.now += 60
    assert await csv.closes("AAA") == [20, 30, 40, 50]

    await csv.break_(GOOD)
    assert await csv.closes("AAA") == [20, 30, 40]
    await csv.break_()
    assert await csv.closes("AAA") == await csv.closes("BBB") == [20, 30, 40, 50]


async def test_a_slow_market_meets_deadlines(csv: Stubs, refusal: Refusal) -> None:
    await csv.break_(pb.Fault(kind=pb.FAULT_KIND_SLOW, seconds=3600))
    error = await refusal(csv.quote.GetClock(pb.GetClockRequest(), timeout=0.2))
    assert error.code is StatusCode.DEADLINE_EXCEEDED
    await csv.break_()
    assert await csv.market_time() == datetime(2020, 1, 3, 21, tzinfo=UTC)


async def test_demo_is_held_stepped_and_run(controlled: Start, wall: Wall) -> None:
    async with controlled() as demo:
        wall.now += 8
        held = await demo.control.SetClock(pb.SetClockRequest(hold=True))
        wall.now += 1000
        assert await demo.market_time() == instant(held.market_time)
        clock = await demo.quote.GetClock(pb.GetClockRequest())
        assert not clock.HasField("next_change_in")
        assert await demo.step(2) == datetime(2026, 1, 6, 16, tzinfo=UTC)
        wall.now += 1000
    async with controlled() as demo:
        wall.now += 1000
        assert await demo.market_time() == datetime(2026, 1, 6, 16, tzinfo=UTC)
        assert len(await demo.closes("ALVQ")) == 1502
        running_ = await demo.control.SetClock(pb.SetClockRequest(run=True))
        assert instant(running_.market_time) == datetime(2026, 1, 6, 16, tzinfo=UTC)
        wall.now += 7.5
        assert await demo.market_time() == datetime(2026, 1, 7, 0, 45, tzinfo=UTC)


async def test_one_seed_stepped_50_sessions_gives_identical_bytes(
    controlled: Start, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each start makes all prices itself.
    monkeypatch.setattr("quote_svc.demo_market.DemoPrices", DemoPrices)
    async with controlled("one") as demo:
        end = await demo.step(50)
        one = await demo.histories()
    async with controlled("two") as demo:
        wall.now += 9
        for _ in range(20):
            await demo.step(1)
    # Ended and started again on the way, at another pace, and left to run in between.
    async with controlled("two", DEMO_SESSION_SECONDS=2, DEMO_NIGHT_SECONDS=1) as demo:
        await demo.control.SetClock(pb.SetClockRequest(run=True))
        wall.now += 4
        assert await demo.step(29) == end
        two = await demo.histories()
    assert len(one) == 59
    assert one == two
    async with controlled("three", DEMO_SEED=8) as demo:
        assert await demo.step(50) == end
        assert not set(one) & set(await demo.histories())


async def test_watchers_see_every_session_that_is_stepped(controlled: Start, csv: Stubs) -> None:
    async with controlled(QUOTE_MARKET="demo") as demo:
        for stubs, first, last, symbol in (
            (csv, "2020-01-06", "2020-01-08", "AAA"),
            (demo, "2026-01-05", "2026-01-07", "ALVQ"),
        ):
            clock = (await stubs.quote.GetClock(pb.GetClockRequest())).exchanges[0]
            seen = pb.SessionMark(
                exchange_code=clock.exchange_code, session_date=clock.last_session.session_date
            )
            events = stubs.quote.WatchMarketSessions(
                pb.WatchMarketSessionsRequest(seen=[seen]), timeout=20
            )
            quotes = stubs.quote.WatchQuotes(pb.WatchQuotesRequest(symbols=[symbol]), timeout=20)
            before = (await anext(aiter(quotes))).quotes[0]
            await stubs.step(3)
            happened = [await anext(aiter(events)) for _ in range(9)]
            kinds = [event.kind for event in happened]
            assert (
                kinds
                == [
                    pb.SESSION_EVENT_KIND_OPENED,
                    pb.SESSION_EVENT_KIND_CLOSED,
                    pb.SESSION_EVENT_KIND_BARS_FINAL,
                ]
                * 3
            )
            dates = [event.session.session_date for event in happened]
            assert (dates[0], dates[-1]) == (first, last)
            while True:
                after = (await anext(aiter(quotes))).quotes[0]
                assert after.version > before.version
                if after.session_date == last:
                    break
            assert after.price == (await stubs.closes(symbol))[-1]
            events.cancel()
            quotes.cancel()


async def test_300_sessions_are_stepped_within_one_deadline(controlled: Start) -> None:
    async with controlled() as demo:
        request = pb.SetClockRequest(step_sessions=300)
        stepped = await demo.control.SetClock(request, timeout=5)
        assert instant(stepped.market_time) == datetime(2027, 3, 2, 16, tzinfo=UTC)
        assert len(await demo.closes("ALVQ")) == 1800


async def test_off_the_service_is_not_there(controlled: Start, refusal: Refusal) -> None:
    async with controlled(QUOTE_CONTROL="0") as demo:
        error = await refusal(demo.step(1))
        assert error.code is StatusCode.UNIMPLEMENTED


def test_it_is_off_unless_it_is_switched_on() -> None:
    settings = QuoteSettings.model_validate({"FORETICK_SERVICE_TOKEN": SERVICE_TOKEN})
    assert not settings.control
