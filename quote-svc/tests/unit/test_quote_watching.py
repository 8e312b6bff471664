"""Watching a market that does as it is told, at ticks that come when they are told to."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import pytest

from quote_svc.market import (
    ExchangeClock,
    FetchProgress,
    History,
    Instrument,
    MarketClock,
    MarketDescription,
    MarketKind,
    Quote,
    QuoteBatch,
    Session,
    SessionState,
    SourceUnavailable,
    SymbolNotFound,
    SymbolUnavailable,
)
from quote_svc.watching import Pushes, QuoteVersions, Watching, WatchingEnded

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def session(day: int) -> Session:
    """The session of a day of January 2026, from 9 to 17 o'clock."""
    nine, five = (datetime(2026, 1, day, hour, tzinfo=UTC) for hour in (9, 17))
    return Session(nine.date(), nine, five)


def quote(symbol: str, price: float, version: int = 0) -> Quote:
    return Quote(
        Instrument(symbol, symbol, "XONE", "USD", 2),
        price,
        NOON,
        None,
        date(2026, 1, 5),
        SessionState.OPEN,
        session(5),
        version=version,
    )


class Ticks(Protocol):
    async def __call__(self) -> None: ...

    async def pass_by(self, count: int = 1) -> None: ...


class ToldMarket:
    """A `Market` whose answers are as they are told to be, in the session of 5 January 2026."""

    def __init__(self) -> None:
        self.description = MarketDescription("told", MarketKind.DEMO, "Told", True, ())
        self.now = NOON
        self.answers: dict[str, Quote | SymbolUnavailable] = {}
        self.asked: list[Sequence[str]] = []
        self.clock_asked = 0
        self.failure: Exception | None = None
        self.delays: dict[str, asyncio.Event] = {}

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        self.asked.append(tuple(symbols))
        if self.failure:
            raise self.failure
        batch = QuoteBatch(
            self.now, {each: self.answers.get(each, SymbolNotFound(each)) for each in symbols}
        )
        for symbol in symbols:
            if symbol in self.delays:
                await self.delays[symbol].wait()
        return batch

    async def clock(self) -> MarketClock:
        self.clock_asked += 1
        if self.failure:
            raise self.failure
        exchange = ExchangeClock("XONE", SessionState.OPEN, session(4), session(5))
        return MarketClock(self.now, (exchange,), None)

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[Session]:
        return [each for each in (session(4), session(5)) if each.session_date > day]

    async def history(self, symbol: str, start: date | None) -> History:
        raise SymbolNotFound(symbol)

    async def search(self, query: str) -> Sequence[Instrument]:
        return ()

    async def universe(self) -> Sequence[Instrument]:
        return ()

    async def progress(self) -> FetchProgress | None:
        return None


@pytest.fixture
def market() -> ToldMarket:
    market = ToldMarket()
    market.answers = {"AAA": quote("AAA", 10), "BBB": quote("BBB", 20)}
    return market


@pytest.fixture
def watching(market: ToldMarket, ticks: Ticks) -> Watching:
    return Watching(market, ticks)


def watched(
    watching: Watching, *symbols: str
) -> AbstractAsyncContextManager[AsyncGenerator[QuoteBatch, None]]:
    return aclosing(watching.quotes(symbols))


def prices(batch: QuoteBatch) -> dict[str, float | None]:
    """The price of each symbol of the batch; None for one without."""
    return {
        symbol: answer.price if isinstance(answer, Quote) else None
        for symbol, answer in batch.answers.items()
    }


def version(batch: QuoteBatch, symbol: str) -> int:
    answer = batch.answers[symbol]
    assert isinstance(answer, Quote)
    return answer.version


async def test_a_snapshot_then_only_what_changed(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    async with watched(watching, "AAA", "BBB", "GONE") as batches:
        first = await anext(batches)
        assert prices(first) == {"AAA": 10, "BBB": 20, "GONE": None}
        coming = asyncio.ensure_future(anext(batches))
        await ticks.pass_by(5)
        assert not coming.done()
        market.now += timedelta(seconds=1)
        market.answers["BBB"] = quote("BBB", 21)
        await ticks.pass_by()
        assert coming.done()
        second = coming.result()
        assert prices(second) == {"BBB": 21}
        assert second.market_time == market.now
        assert version(second, "BBB") > version(first, "BBB")


async def test_a_price_that_is_pushed_is_told_before_the_next_tick(
    market: ToldMarket, ticks: Ticks
) -> None:
    pushes = Pushes()
    async with watched(Watching(market, ticks, pushes), "AAA", "BBB") as batches:
        await anext(batches)
        market.asked.clear()
        for price in (11.0, 12.0):
            market.answers["AAA"] = quote("AAA", price)
            pushes.add("AAA")
            pushes.add("CCC")  # which nobody watches
            async with asyncio.timeout(10):
                assert prices(await anext(batches)) == {"AAA": price}
        assert market.asked == [("AAA",), ("AAA",)]


async def test_a_slow_watcher_gets_the_latest_only(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    async with watched(watching, "AAA", "BBB") as batches:
        await anext(batches)
        for price in range(100, 200):
            market.answers["AAA"] = quote("AAA", price)
            await ticks.pass_by()
        assert prices(await anext(batches)) == {"AAA": 199}
        coming = asyncio.ensure_future(anext(batches))
        await ticks.pass_by(3)
        assert not coming.done()
        coming.cancel()
        await asyncio.wait([coming])


async def test_a_change_that_is_taken_back_is_no_change(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    async with watched(watching, "AAA") as batches:
        first = await anext(batches)
        market.answers["AAA"] = quote("AAA", 11)
        await ticks.pass_by()
        market.answers["AAA"] = quote("AAA", 10)
        await ticks.pass_by()
        # It is told, since its version rose; a version that is known already never comes again.
        again = await anext(batches)
        assert version(again, "AAA") == version(first, "AAA") + 2


async def test_however_many_watch_the_market_is_asked_once_a_tick(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    streams = [watching.quotes(["AAA", "BBB"][: 1 + each % 2]) for each in range(100)]
    await asyncio.gather(*(anext(stream) for stream in streams))
    clocks = [watching.sessions({}) for _ in range(20)]
    await asyncio.gather(*(anext(clock) for clock in clocks))
    market.asked.clear()
    market.clock_asked = 0
    await ticks.pass_by(10)
    assert [sorted(symbols) for symbols in market.asked] == [["AAA", "BBB"]] * 10
    assert market.clock_asked == 10
    for stream in streams:
        await stream.aclose()
    for clock in clocks:
        await clock.aclose()
    await ticks.pass_by(3)
    assert len(market.asked) == market.clock_asked == 10


async def test_only_what_somebody_watches_is_asked_for(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    async with watched(watching, "AAA") as first:
        await anext(first)
        async with watched(watching, "AAA", "BBB") as second:
            await anext(second)
        market.asked.clear()
        await ticks.pass_by()
        assert market.asked == [("AAA",)]


async def test_what_was_missing_comes_when_it_is_there(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    reason = SourceUnavailable("NEW", "HISTORY_PENDING", "it is being fetched")
    market.answers["NEW"] = reason
    async with watched(watching, "AAA", "NEW") as batches:
        assert prices(await anext(batches)) == {"AAA": 10, "NEW": None}
        coming = asyncio.ensure_future(anext(batches))
        # The same reason, said again, is no news; another is.
        market.answers["NEW"] = SourceUnavailable("NEW", reason.reason, reason.message)
        await ticks.pass_by(8)
        assert not coming.done()
        market.answers["NEW"] = SourceUnavailable("NEW", "SOURCE_UNREACHABLE", reason.message)
        await ticks.pass_by(8)
        assert coming.done()
        assert prices(coming.result()) == {"NEW": None}
        market.answers["NEW"] = quote("NEW", 5)
        await ticks.pass_by(8)
        assert prices(await anext(batches)) == {"NEW": 5}


async def test_a_slow_answer_for_the_missing_keeps_nobody_waiting(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    async with watched(watching, "AAA", "SLOW") as batches:
        await anext(batches)
        market.delays["SLOW"] = asyncio.Event()
        await ticks.pass_by(8)
        market.answers["AAA"] = quote("AAA", 11)
        await ticks.pass_by()
        assert prices(await anext(batches)) == {"AAA": 11}


async def test_an_answer_that_was_overtaken_is_dropped(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    del market.answers["AAA"]
    market.delays["SLOW"] = asyncio.Event()
    async with watched(watching, "AAA", "SLOW") as late, watched(watching, "AAA") as early:
        waiting = asyncio.ensure_future(anext(late))
        await ticks.pass_by()
        market.answers["AAA"] = quote("AAA", 10)
        assert prices(await anext(early)) == {"AAA": 10}
        market.delays["SLOW"].set()
        assert prices(await waiting) == {"AAA": 10, "SLOW": None}


async def test_a_market_that_fails_ends_its_streams_until_it_is_mended(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    async with watched(watching, "AAA") as batches, aclosing(watching.sessions({})) as events:
        await anext(batches)
        await anext(events)
        market.failure = RuntimeError("broken")
        await ticks.pass_by()
        with pytest.raises(RuntimeError, match="broken"):
            await anext(batches)
        with pytest.raises(RuntimeError, match="broken"):
            async for _ in events:
                pass
    market.failure = None
    async with watched(watching, "AAA") as batches:
        await anext(batches)
        market.answers["AAA"] = quote("AAA", 11)
        await ticks.pass_by()
        assert prices(await anext(batches)) == {"AAA": 11}


async def test_the_end_reaches_everybody(watching: Watching, ticks: Ticks) -> None:
    async with watched(watching, "AAA") as batches, aclosing(watching.sessions({})) as events:
        await anext(batches)
        coming = asyncio.ensure_future(anext(batches))
        for _ in range(4):
            await anext(events)
        event = asyncio.ensure_future(anext(events))
        await ticks.pass_by()
        watching.end()
        with pytest.raises(WatchingEnded):
            await coming
        with pytest.raises(WatchingEnded):
            await event
    with pytest.raises(WatchingEnded):
        await anext(watching.quotes(["AAA"]))


def test_versions_rise_with_changes_only() -> None:
    versions = QuoteVersions()

    def given(at: datetime, price: float, own: int = 0) -> int:
        batch = versions.versioned(QuoteBatch(at, {"AAA": quote("AAA", price, own)}))
        return version(batch, "AAA")

    first = given(NOON, 10)
    assert first == round(NOON.timestamp() * 1_000_000)
    assert given(NOON + timedelta(seconds=1), 10) == first
    changed = given(NOON + timedelta(seconds=2), 11)
    assert changed == first + 2_000_000
    # The clock stands still, and a fault changes the price.
    assert given(NOON + timedelta(seconds=2), 12) == changed + 1
    # An answer that took longer than the next.
    assert given(NOON + timedelta(seconds=1), 10) < changed
    assert given(NOON, 13, own=7) == 7


async def test_a_version_of_the_market_s_own_that_falls_is_dropped(
    market: ToldMarket, watching: Watching, ticks: Ticks
) -> None:
    market.answers["AAA"] = quote("AAA", 10, version=5)
    async with watched(watching, "AAA") as batches:
        await anext(batches)
        coming = asyncio.ensure_future(anext(batches))
        market.answers["AAA"] = quote("AAA", 9, version=4)
        await ticks.pass_by(2)
        assert not coming.done()
        market.answers["AAA"] = replace(quote("AAA", 12), version=6)
        await ticks.pass_by()
        assert coming.done()
        assert prices(coming.result()) == {"AAA": 12}
