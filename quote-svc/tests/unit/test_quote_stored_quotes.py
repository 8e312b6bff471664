"""Quotes of the stored market: as fresh as the session asks for, and honest about their age."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from quote_svc.calendars import session_calendar
from quote_svc.market import (
    InstrumentKind,
    PriceSource,
    Quote,
    SessionState,
    SourceUnavailable,
)
from quote_svc.source import RateLimited, SourceQuote, StreamedPrice, Unreachable
from quote_svc.store import Store
from quote_svc.stored_market import StoredMarket
from quote_svc.stored_symbol import StoredSymbol
from quote_svc.testing import ScriptedSource, Wall, Weekdays, settled, staged, weekdays

FRIDAY = date(2026, 11, 20)
DAYS = weekdays(FRIDAY, 30)
MONDAY = date(2026, 11, 23)
OPEN = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


@pytest.fixture
def wall() -> Wall:
    return Wall(OPEN + timedelta(hours=1))


@pytest.fixture
def source(wall: Wall) -> ScriptedSource:
    scripted = ScriptedSource()
    scripted.trade("AAA", DAYS)
    scripted.quotes["AAA"] = SourceQuote(130.0, wall.now, 77.0, 128.0, 132.0, 4000.0)
    return scripted


async def quote(market: StoredMarket) -> Quote:
    answer = (await market.quotes(["AAA"])).answers["AAA"]
    assert isinstance(answer, Quote), answer
    return answer


async def test_a_quote_of_an_open_session(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        found = await quote(market)
        assert (found.price, found.as_of_time) == (130.0, wall.now)
        # From the bars, whatever the source says.
        assert found.previous_close == 129.0
        assert (found.day_low, found.day_high, found.volume) == (128.0, 132.0, 4000.0)
        assert (found.state, found.source) == (SessionState.OPEN, PriceSource.LATEST_TRADE)
        assert found.session_date == found.next_session.session_date == MONDAY
        assert (found.stale, found.stale_reason) == (False, "")
        assert found.instrument.currency_code == "USD"


async def test_a_closed_quote_is_the_final_bar(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    wall.now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    source.quotes["AAA"] = SourceQuote(555.0, datetime(2026, 11, 20, 20, 59, tzinfo=UTC))
    async with staged(tmp_path, source, wall) as market:
        found = await quote(market)
        assert (found.price, found.previous_close) == (129.0, 128.0)
        assert found.recent_closes == tuple(map(float, range(100, 130)))
        assert found.as_of_time == datetime(2026, 11, 20, 21, tzinfo=UTC)
        assert (found.day_low, found.day_high, found.volume) == (128.0, 130.0, 1029.0)
        assert (found.state, found.source) == (SessionState.CLOSED, PriceSource.FINAL_BAR)
        assert (found.session_date, found.next_session.session_date) == (FRIDAY, MONDAY)
        assert not found.stale


async def test_the_close_of_an_earlier_session_is_no_previous_close(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    del source.rows["AAA"][FRIDAY]
    async with staged(tmp_path, source, wall) as market:
        assert (await quote(market)).previous_close == 77.0  # the source's own word
        source.quotes["AAA"] = SourceQuote(131.0, wall.now)
        wall.forward(seconds=15)
        await settled(market)
        assert (await quote(market)).previous_close is None
        wall.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
        source.rows["AAA"][MONDAY] = [130.0, 131.0, 129.0, 130.5, 1.0, 0.0, 1.0]
        await settled(market)
        assert (await quote(market)).price == 130.5
        assert (await quote(market)).previous_close is None


async def test_where_weekdays_are_assumed_the_last_bar_is_the_one_before(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    del source.rows["AAA"][FRIDAY]
    async with staged(tmp_path, source, wall, calendar=Weekdays(inferred=True)) as market:
        assert (await quote(market)).previous_close == 128.0


async def test_what_people_watch_is_polled_while_it_is_open(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market)
        assert market.polled_symbols() == {"AAA"}
        for second in range(1, 61):
            wall.forward(seconds=1)
            source.quote("AAA", 130 + second / 100, wall.now)
            await settled(market)
        assert len(source.calls) == 5
        assert (await quote(market)).price == 130.6
        # Nobody looks any longer.
        wall.forward(minutes=5)
        await settled(market)
        assert market.polled_symbols() == frozenset()
        assert len(source.calls) == 5
        # Somebody looks again: what there is now, and then news.
        assert (await quote(market)).stale_reason.startswith("Not refreshed since 2026-11-23 15:31")
        await settled(market)
        assert not (await quote(market)).stale
        assert len(source.calls) == 6


async def test_a_closed_exchange_is_asked_once(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        wall.now = datetime(2026, 11, 23, 21, 0, 1, tzinfo=UTC)
        source.rows["AAA"][MONDAY] = [130.0, 131.0, 129.0, 130.5, 1.0, 0.0, 1.0]
        calls = []
        while wall.now < datetime(2026, 11, 24, 14, 30, tzinfo=UTC):
            found = await quote(market)
            assert found.state is SessionState.CLOSED
            before = len(source.calls)
            await settled(market)
            if len(source.calls) > before:
                calls.append(wall.now.strftime("%a %H:%M"))
            wall.forward(minutes=1)
        assert calls == ["Mon 21:20"]
        assert ((await quote(market)).price, (await quote(market)).stale) == (130.5, True)


async def test_the_next_session_is_the_one_whose_close_is_not_final(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        wall.now = datetime(2026, 11, 23, 21, 10, tzinfo=UTC)
        assert (await quote(market)).next_session.session_date == MONDAY
        wall.forward(minutes=10)
        assert (await quote(market)).next_session.session_date == MONDAY
        await settled(market)
        assert (await quote(market)).next_session.session_date == MONDAY + timedelta(days=1)


async def test_a_failing_source_makes_quotes_stale_and_is_left_alone(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market)
        source.down = RateLimited("The source asks for a pause.", 60)
        calls = len(source.calls)
        for _ in range(80):
            wall.forward(seconds=1)
            await settled(market)
            old = await quote(market)
            assert old.price == 130.0
        assert len(source.calls) == calls + 2  # 15 s after the last, and when the minute was over
        assert old.stale_reason == "The source asks for a pause."
        source.down = None
        source.quote("AAA", 131.0, wall.now)
        wall.forward(minutes=1)
        await quote(market)
        await settled(market)
        found = await quote(market)
        assert (found.price, found.stale) == (131.0, False)


async def test_an_outage_costs_ever_fewer_calls(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall, seeds=("AAA", "BBB", "CCC")) as market:
        await quote(market)
        source.down = Unreachable("no answer")
        calls = len(source.calls)
        for _ in range(600):
            wall.forward(seconds=1)
            await quote(market)
            await settled(market)
        assert len(source.calls) - calls < 12


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_price_that_cannot_be_right_is_not_taken(
    tmp_path: Path, source: ScriptedSource, wall: Wall, price: float
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market)
        wall.forward(seconds=15)
        source.quotes["AAA"] = SourceQuote(price, wall.now)
        await settled(market)
        market.accept_price(StreamedPrice("AAA", SourceQuote(price, wall.now)))
        assert (await quote(market)).price == 130.0


async def test_pushed_prices_take_the_place_of_polling(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market)
        for second in range(1, 61):
            wall.forward(seconds=1)
            pushed = SourceQuote(130 + second / 10, wall.now)
            market.accept_price(StreamedPrice("AAA", pushed))
            await settled(market)
        assert len(source.calls) == 1
        found = await quote(market)
        assert (found.price, found.as_of_time) == (136.0, wall.now)
        assert (found.day_low, found.day_high, found.volume) == (128.0, 136.0, 4000.0)
        assert found.previous_close == 129.0
        # An older one, one of the future and one for nobody are not taken.
        for price, at in ((1, wall.now - timedelta(1)), (2, wall.now + timedelta(1))):
            market.accept_price(StreamedPrice("AAA", SourceQuote(price, at)))
        market.accept_price(StreamedPrice("ZZZ", SourceQuote(1.0, wall.now)))
        assert (await quote(market)) == found
        wall.forward(seconds=15)
        await settled(market)
        assert len(source.calls) == 2


async def test_a_pushed_price_that_looks_like_a_split_waits_for_the_bars(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market)
        wall.forward(seconds=15)
        market.accept_price(StreamedPrice("AAA", SourceQuote(32.5, wall.now)))
        assert (await quote(market)).price == 130.0
        for row in source.rows["AAA"].values():
            row[:4] = [price / 4 for price in row[:4]]
        source.quotes["AAA"] = SourceQuote(32.5, wall.now)
        await settled(market)
        found = await quote(market)
        assert (found.price, found.previous_close) == (32.5, 32.25)
        market.accept_price(StreamedPrice("AAA", SourceQuote(33.0, wall.now)))
        assert (await quote(market)).price == 33.0


async def test_versions_rise_with_changes_only_and_over_restarts(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    seen: list[int] = []
    for _ in range(2):
        async with staged(tmp_path, source, wall) as market:
            for _ in range(3):
                seen.append((await quote(market)).version)
                assert (await quote(market)).version == seen[-1]
                wall.forward(seconds=15)
                source.quote("AAA", 130 + len(seen) / 10, wall.now)
                await settled(market)
    assert seen == sorted(set(seen))
    async with staged(tmp_path, source, wall) as market:
        before = (await quote(market)).version
        assert before > seen[-1]
        wall.now = datetime(2026, 11, 23, 21, 0, tzinfo=UTC)
        # That the session has closed is a change, too.
        assert (await quote(market)).version > before


async def test_a_pushed_price_outlasts_the_process(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market)
        wall.forward(seconds=2)
        market.accept_price(StreamedPrice("AAA", SourceQuote(130.5, wall.now)))
        before = await quote(market)
    source.down = Unreachable("no answer")
    async with staged(tmp_path, source, wall) as market:
        after = await quote(market)
        assert (after.price, after.as_of_time) == (before.price, before.as_of_time)


async def test_around_the_clock_a_day_ends_at_midnight(tmp_path: Path, wall: Wall) -> None:
    calendar = session_calendar(InstrumentKind.CRYPTO, "CCC", "UTC")
    source = ScriptedSource()
    sunday = date(2026, 11, 22)
    source.trade("AAA", [sunday - timedelta(days=n) for n in range(29, -1, -1)])
    wall.now = datetime(2026, 11, 22, 18, tzinfo=UTC)
    source.quotes["AAA"] = SourceQuote(130.0, wall.now)
    async with staged(tmp_path, source, wall, calendar=calendar) as market:
        found = await quote(market)
        assert (found.price, found.previous_close) == (130.0, 128.0)
        assert (found.state, found.session_date) == (SessionState.OPEN, sunday)
        assert found.next_session.session_date == sunday
        wall.now = datetime(2026, 11, 23, 0, 2, tzinfo=UTC)
        source.quotes["AAA"] = SourceQuote(131.0, wall.now)
        await settled(market)
        found = await quote(market)
        assert (found.price, found.previous_close) == (131.0, 129.0)
        assert found.session_date == found.next_session.session_date == MONDAY
        assert len((await market.history("AAA", None)).bars) == 30


async def test_a_price_from_before_all_calendars_is_none(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    calendar = session_calendar(InstrumentKind.STOCK, "NYQ", "America/New_York")
    source.rows = {"AAA": {}}
    source.quotes["AAA"] = SourceQuote(3.0, datetime(1999, 5, 5, tzinfo=UTC))
    async with staged(tmp_path, source, wall, calendar=calendar) as market:
        answer = (await market.quotes(["AAA"])).answers["AAA"]
        assert isinstance(answer, SourceUnavailable)
        assert answer.reason == "SOURCE_NONSENSE"


@pytest.mark.parametrize(
    ("utc", "code", "state"),
    [
        ("08:59", "XNYS", SessionState.CLOSED),
        ("09:00", "XNYS", SessionState.PRE),
        ("09:00", "XTST", SessionState.CLOSED),
        ("14:29", "XNYS", SessionState.PRE),
        ("14:30", "XNYS", SessionState.OPEN),
        ("20:59", "XTST", SessionState.OPEN),
        ("21:00", "XNYS", SessionState.POST),
        ("21:00", "XTST", SessionState.CLOSED),
        ("23:59", "XNYS", SessionState.POST),
    ],
)
async def test_the_state_of_a_day(
    tmp_path: Path, source: ScriptedSource, wall: Wall, *, utc: str, code: str, state: SessionState
) -> None:
    async with staged(tmp_path, source, wall, calendar=Weekdays(code)) as market:
        wall.now = datetime.fromisoformat(f"2026-11-23T{utc}:00+00:00")
        assert (await quote(market)).state is state
        assert (await market.clock()).exchanges[0].state is state


async def test_a_pushed_price_that_could_not_be_stored_is_stored_later(
    tmp_path: Path, source: ScriptedSource, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_store: Store, _changed: Sequence[StoredSymbol]) -> None:
        raise OSError("the disk is full")

    async with staged(tmp_path, source, wall) as market:
        await quote(market)
        wall.forward(seconds=1)
        market.accept_price(StreamedPrice("AAA", SourceQuote(131.0, wall.now)))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "save_latest", full)
            with pytest.raises(OSError, match="full"):
                await market.close()
    source.down = Unreachable("nobody is there")
    async with staged(tmp_path, source, wall) as market:
        assert (await quote(market)).price == 131.0
