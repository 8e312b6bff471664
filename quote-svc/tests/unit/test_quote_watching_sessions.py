"""What watchers of sessions hear, of a market with a session a day and a clock set by hand."""

import asyncio
from collections.abc import Sequence
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
    QuoteBatch,
    Session,
    SessionState,
    SymbolNotFound,
)
from quote_svc.watching import SessionEventKind, Watching

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
OPENED, CLOSED, FINAL = SessionEventKind


def session(day: int) -> Session:
    """The session of a day of January 2026 (or after it), from 9 to 17 o'clock."""
    midnight = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)
    nine, five = midnight + timedelta(hours=9), midnight + timedelta(hours=17)
    return Session(midnight.date(), nine, five)


class Ticks(Protocol):
    async def __call__(self) -> None: ...

    async def pass_by(self, count: int = 1) -> None: ...


class DailyMarket:
    """A `Market` with one exchange, whose sessions are of every day from 1 January 2026 on."""

    def __init__(self) -> None:
        self.description = MarketDescription("daily", MarketKind.DEMO, "Daily", True, ())
        self.now = NOON
        self.bars_take = timedelta(0)

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        return QuoteBatch(self.now, {symbol: SymbolNotFound(symbol) for symbol in symbols})

    async def clock(self) -> MarketClock:
        coming = next(day for day in range(1, 9999) if not self._is_final(day))
        last = session(coming - 1) if coming > 1 else None
        exchange = ExchangeClock("XONE", SessionState.OPEN, last, session(coming))
        return MarketClock(self.now, (exchange,), None)

    def _is_final(self, day: int) -> bool:
        return session(day).close_time + self.bars_take <= self.now

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[Session]:
        opened = []
        number = max((day - date(2025, 12, 31)).days + 1, 1)
        while session(number).open_time <= self.now:
            opened.append(session(number))
            number += 1
        return opened

    async def history(self, symbol: str, start: date | None) -> History:
        raise SymbolNotFound(symbol)

    async def search(self, query: str) -> Sequence[Instrument]:
        return ()

    async def universe(self) -> Sequence[Instrument]:
        return ()

    async def progress(self) -> FetchProgress | None:
        return None


@pytest.fixture
def market() -> DailyMarket:
    return DailyMarket()


@pytest.fixture
def watching(market: DailyMarket, ticks: Ticks) -> Watching:
    return Watching(market, ticks)


class Heard:
    """What a watcher of sessions has heard, as (day of January, kind)."""

    def __init__(self, watching: Watching, seen: dict[str, date]) -> None:
        self.events: list[tuple[int, SessionEventKind]] = []
        self._task = asyncio.create_task(self._listen(watching, seen))

    async def _listen(self, watching: Watching, seen: dict[str, date]) -> None:
        async for event in watching.sessions(seen):
            assert event.exchange_code == "XONE"
            day = (event.session.session_date - date(2025, 12, 31)).days
            self.events.append((day, event.kind))

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def heard(watching: Watching, ticks: Ticks, seen: dict[str, date]) -> Heard:
    listener = Heard(watching, seen)
    await ticks.pass_by()
    return listener


def whole(*days: int) -> list[tuple[int, SessionEventKind]]:
    return [(day, kind) for day in days for kind in SessionEventKind]


async def test_without_a_mark_the_last_session_is_told_again(
    watching: Watching, ticks: Ticks
) -> None:
    listener = await heard(watching, ticks, {"XELSE": date(2026, 1, 1)})
    assert listener.events == [*whole(4), (5, OPENED)]
    await listener.stop()


async def test_what_comes_after_a_mark_is_told(watching: Watching, ticks: Ticks) -> None:
    listener = await heard(watching, ticks, {"XONE": date(2026, 1, 2)})
    assert listener.events == [*whole(3, 4), (5, OPENED)]
    await listener.stop()


async def test_a_mark_ahead_of_time_is_waited_for(
    market: DailyMarket, watching: Watching, ticks: Ticks
) -> None:
    listener = await heard(watching, ticks, {"XONE": date(2026, 1, 6)})
    market.now += timedelta(days=1)
    await ticks.pass_by()
    assert listener.events == []
    market.now += timedelta(days=1)
    await ticks.pass_by()
    assert listener.events == [(7, OPENED)]
    await listener.stop()


async def test_live_events_follow_the_replay_and_none_comes_twice(
    market: DailyMarket, watching: Watching, ticks: Ticks
) -> None:
    listener = await heard(watching, ticks, {"XONE": date(2026, 1, 3)})
    for hours in (6, 18, 7, 24):
        market.now += timedelta(hours=hours)
        await ticks.pass_by(2)
    assert listener.events == whole(4, 5, 6, 7)
    # Several sessions between two ticks.
    market.now += timedelta(days=5)
    await ticks.pass_by()
    assert listener.events == whole(4, 5, 6, 7, 8, 9, 10, 11, 12)
    await listener.stop()


async def test_bars_may_be_final_after_the_next_session_has_opened(
    market: DailyMarket, watching: Watching, ticks: Ticks
) -> None:
    market.bars_take = timedelta(hours=20)
    listener = await heard(watching, ticks, {"XONE": date(2026, 1, 3)})
    assert listener.events == [(4, OPENED), (4, CLOSED), (5, OPENED)]
    listener.events.clear()
    for _ in range(24):
        market.now += timedelta(hours=1)
        await ticks.pass_by()
    assert listener.events == [(4, FINAL), (5, CLOSED), (6, OPENED)]
    market.now += timedelta(hours=1)
    await ticks.pass_by()
    assert listener.events == [(4, FINAL), (5, CLOSED), (6, OPENED), (5, FINAL)]
    await listener.stop()


async def test_before_the_first_session_nothing_has_happened(
    market: DailyMarket, watching: Watching, ticks: Ticks
) -> None:
    market.now = datetime(2026, 1, 1, tzinfo=UTC)
    listener = await heard(watching, ticks, {})
    assert listener.events == []
    market.now += timedelta(hours=10)
    await ticks.pass_by()
    assert listener.events == [(1, OPENED)]
    await listener.stop()


async def test_the_replay_is_bounded(market: DailyMarket, watching: Watching, ticks: Ticks) -> None:
    market.now = datetime(2032, 1, 1, tzinfo=UTC)
    listener = await heard(watching, ticks, {"XONE": date(2025, 1, 1)})
    sessions = (date(2032, 1, 1) - date(2026, 1, 1)).days
    assert sessions > 2000
    assert len(listener.events) == 6000
    assert listener.events[-1] == (sessions, FINAL)
    await listener.stop()
