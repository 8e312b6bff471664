"""What Yahoo does to its clients: each failure is told from the others, and costs few requests."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from fake_yahoo import FakeYahoo, Fault
from quote_svc.source import (
    Nonsense,
    RateLimited,
    SourceFailure,
    SourceHistory,
    UnknownSymbol,
    Unreachable,
)
from quote_svc.yahoo_source import YahooSource
from reached_yahoo import HandClock, reached
from yahoo_answers import Listing, chart, sessions

DAYS = sessions(date(2024, 1, 2), 10)
LISTING = Listing("AAPL", DAYS, [float(100 + at) for at in range(10)])


@pytest.fixture
def yahoo() -> Iterator[FakeYahoo]:
    with FakeYahoo({"AAPL": LISTING}) as fake:
        yield fake


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.SERVER_ERROR, Unreachable),
        (Fault.FORBIDDEN, Unreachable),
        (Fault.RESET, Unreachable),
        (Fault.STALL, Unreachable),
        (Fault.HTML, Nonsense),
        (Fault.HALF, Nonsense),
        (Fault.BAD_REQUEST, Nonsense),
    ],
)
async def test_a_failure_is_named_for_what_it_is(
    yahoo: FakeYahoo, fault: Fault, error: type[SourceFailure]
) -> None:
    yahoo.fault = fault
    async with reached(yahoo, deadline=0.5) as source:
        with pytest.raises(error):
            await source.history("AAPL", None)
        with pytest.raises(SourceFailure):
            await source.search("apple")
    # A stalled request may be tried by nobody else; none is followed by cookies and crumbs.
    assert len(yahoo.calls) <= 2


async def test_nobody_there_is_unreachable(yahoo: FakeYahoo) -> None:
    async with reached(yahoo) as source:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
            patch.setenv("https_proxy", "http://127.0.0.1:1")
            with pytest.raises(Unreachable):
                await source.history("AAPL", None)


async def test_a_certificate_that_nobody_vouches_for_is_refused(yahoo: FakeYahoo) -> None:
    with FakeYahoo() as stranger:
        yahoo.ca_bundle = stranger.ca_bundle
        async with reached(yahoo) as source:
            with pytest.raises(Unreachable, match=r"(?i)certificate") as caught:
                await source.history("AAPL", None)
    assert "http" not in str(caught.value)
    assert yahoo.calls == []


def broken(change: Callable[[dict[str, Any]], object]) -> Callable[[], dict[str, Any]]:
    def answer() -> dict[str, Any]:
        body = chart(LISTING, 0, 2**33)
        change(body["chart"]["result"][0])
        return body

    return answer


def quote(result: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = result["indicators"]["quote"][0]
    return columns


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: {"chart": {"result": [], "error": None}}, id="no result"),
        pytest.param(lambda: {"chart": {"result": None, "error": None}}, id="null result"),
        pytest.param(lambda: {"finance": {"result": None}}, id="another endpoint's"),
        pytest.param(
            lambda: {"chart": {"result": None, "error": {"code": "Not Found"}}},
            id="not found, but with status 200",
        ),
        pytest.param(lambda: chart(LISTING, 0, 1), id="no bars"),
        pytest.param(broken(lambda r: r.pop("timestamp")), id="no timestamps"),
        pytest.param(broken(lambda r: r["timestamp"].pop()), id="a timestamp short"),
        pytest.param(broken(lambda r: r.pop("meta")), id="no meta"),
        pytest.param(broken(lambda r: r["meta"].update(symbol="MSFT")), id="another symbol"),
        pytest.param(
            broken(lambda r: r["meta"].update(exchangeTimezoneName="Moon/Base")), id="no such zone"
        ),
        pytest.param(broken(lambda r: r["meta"].update(instrumentType="OPTION")), id="an option"),
        pytest.param(broken(lambda r: quote(r).pop("close")), id="no closes"),
        pytest.param(broken(lambda r: quote(r).update(close=[None] * 10)), id="closes all null"),
        pytest.param(broken(lambda r: quote(r).update(close=["1"] * 10)), id="closes are text"),
        pytest.param(broken(lambda r: quote(r)["close"].__setitem__(3, -5.0)), id="below zero"),
    ],
)
async def test_an_answer_that_cannot_be_right_is_nonsense(
    yahoo: FakeYahoo, answer: Callable[[], dict[str, Any]]
) -> None:
    yahoo.answers["AAPL"] = answer
    async with reached(yahoo) as source:
        with pytest.raises(Nonsense):
            await source.history("AAPL", None)
        del yahoo.answers["AAPL"]
        # It was about one symbol's data: nobody else has to wait for that.
        assert len((await source.history("AAPL", None)).bars.closes) == 10
    assert len(yahoo.calls) == 2


async def test_a_price_in_another_unit_than_its_bars_is_not_served(yahoo: FakeYahoo) -> None:
    yahoo.answers["AAPL"] = broken(lambda r: r["meta"].update(regularMarketPrice=1.09))
    async with reached(yahoo) as source:
        assert (await source.history("AAPL", None)).quote is None


async def try_each_second(source: YahooSource, clock: HandClock, seconds: int) -> list[Exception]:
    """Asks for a new symbol each second; what each was told."""
    told: list[Exception] = []
    for second in range(seconds):
        with pytest.raises((SourceFailure, UnknownSymbol)) as caught:
            await source.history(f"SYM{second}", None)
        told.append(caught.value)
        clock.advance(1)
    return told


async def test_a_minute_of_429_costs_a_handful_of_requests_and_passes(yahoo: FakeYahoo) -> None:
    clock = HandClock()
    yahoo.fault = Fault.RATE_LIMITED
    async with reached(yahoo, clock=clock) as source:
        told = await try_each_second(source, clock, 60)
        assert {type(error) for error in told} == {RateLimited}
        assert "not asked again before" in str(told[5])
        assert len(yahoo.calls) == 3  # at 0, 10 and 30 seconds
        yahoo.fault = None
        clock.advance(10)
        await source.history("AAPL", None)
        await asyncio.gather(*(source.history("AAPL", day) for day in DAYS))
    assert len(yahoo.calls) == 4 + len(DAYS)


async def test_a_retry_after_is_honoured(yahoo: FakeYahoo) -> None:
    clock = HandClock()
    yahoo.fault, yahoo.retry_after = Fault.RATE_LIMITED, "90"
    async with reached(yahoo, clock=clock) as source:
        with pytest.raises(RateLimited) as caught:
            await source.history("AAPL", None)
        assert caught.value.retry_after_seconds == 90
        yahoo.fault = None
        clock.advance(89)
        with pytest.raises(RateLimited):
            await source.history("AAPL", None)
        clock.advance(1)
        await source.history("AAPL", None)
    assert len(yahoo.calls) == 2


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.RESET, Fault.HTML, Fault.HALF])
async def test_a_minute_of_failures_costs_a_handful_of_requests(
    yahoo: FakeYahoo, fault: Fault
) -> None:
    clock = HandClock()
    yahoo.fault = fault
    async with reached(yahoo, clock=clock) as source:
        await try_each_second(source, clock, 60)
        assert len(yahoo.calls) == 7  # five in a row, then at 14 and 34 seconds
        yahoo.fault = None
        clock.advance(60)
        assert len((await source.history("AAPL", None)).bars.closes) == 10


async def test_a_retry_after_may_be_a_date(yahoo: FakeYahoo) -> None:
    yahoo.fault = Fault.RATE_LIMITED
    yahoo.retry_after = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    async with reached(yahoo) as source:
        with pytest.raises(RateLimited) as caught:
            await source.history("AAPL", None)
    assert caught.value.retry_after_seconds == pytest.approx(600, abs=30)


async def test_requests_keep_to_the_rate(yahoo: FakeYahoo) -> None:
    clock = HandClock()
    async with reached(yahoo, rate=2, clock=clock) as source:
        before = clock()
        for day in DAYS:
            await source.history("AAPL", day)
        assert clock() - before == pytest.approx((len(DAYS) - 2) / 2)


async def test_who_goes_away_takes_nobody_along(yahoo: FakeYahoo) -> None:
    yahoo.hold()
    async with reached(yahoo) as source:
        waiting = [asyncio.create_task(source.history("AAPL", None)) for _ in range(3)]
        await asyncio.to_thread(yahoo.wait_for_calls, 1)
        waiting[0].cancel()
        yahoo.release()
        gone, *others = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(gone, asyncio.CancelledError)
        assert all(isinstance(other, SourceHistory) for other in others)
    assert len(yahoo.calls) == 1


async def test_closing_ends_what_waits(yahoo: FakeYahoo) -> None:
    yahoo.hold()
    async with reached(yahoo, deadline=0.5) as source:
        waiting = [asyncio.create_task(source.history(f"SYM{at}", None)) for at in range(20)]
        await asyncio.to_thread(yahoo.wait_for_calls, 4)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {Unreachable}
    yahoo.release()
