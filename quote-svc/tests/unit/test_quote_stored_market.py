"""The stored market: one fetch however many ask, nothing known is ever lost, all is served."""

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from quote_svc.market import (
    FetchProgress,
    InstrumentKind,
    Quote,
    Session,
    SourceUnavailable,
    SymbolNotFound,
    epoch_day,
)
from quote_svc.source import Nonsense, RateLimited, SourceInstrument, Unreachable
from quote_svc.stored_market import StoredMarket
from quote_svc.testing import ScriptedSource, Wall, Weekdays, settled, staged, weekdays

FRIDAY = date(2026, 11, 20)
DAYS = weekdays(FRIDAY, 30)
# The Saturday after.
CLOSED = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def wall() -> Wall:
    return Wall(CLOSED)


@pytest.fixture
def source() -> ScriptedSource:
    scripted = ScriptedSource()
    for symbol in ("AAA", "BBB"):
        scripted.trade(symbol, DAYS)
    return scripted


async def closes(market: StoredMarket, symbol: str) -> list[float]:
    bars = (await market.history(symbol, None)).bars
    return [float(close) for close in bars.closes]


async def quote(market: StoredMarket, symbol: str) -> Quote:
    answer = (await market.quotes([symbol])).answers[symbol]
    assert isinstance(answer, Quote), answer
    return answer


def listed_closes(source: ScriptedSource, symbol: str) -> list[float]:
    return [row[3] for row in source.rows[symbol].values()]


async def test_a_symbol_never_seen_is_fetched(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        history = await market.history("AAA", None)
        assert history.bars.closes.tolist() == listed_closes(source, "AAA")
        assert history.instrument.display_name == "AAA Inc."
        assert history.instrument.exchange_code == "XTST"
        assert history.next_session.session_date == date(2026, 11, 23)
        later = await market.history("AAA", DAYS[-3])
        assert later.bars.session_days.tolist() == [epoch_day(day) for day in DAYS[-3:]]
        assert (await quote(market, "AAA")).price == 129.0
        assert source.calls == [("AAA", None)]


async def test_500_who_want_one_cold_symbol_wait_for_one_fetch(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    source.gate.clear()
    async with staged(tmp_path, source, wall) as market:
        asking = [asyncio.create_task(closes(market, "AAA")) for _ in range(250)]
        asking += [asyncio.create_task(closes(market, "AAA")) for _ in range(250)]
        await source.asked.wait()
        source.gate.set()
        answers = await asyncio.gather(*asking)
        assert answers == [listed_closes(source, "AAA")] * 500
        assert source.count("AAA") == 1


async def test_200_cold_symbols_are_fetched_a_few_at_a_time(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    symbols = [f"S{number}" for number in range(200)]
    for symbol in symbols:
        source.trade(symbol, DAYS)
    async with staged(tmp_path, source, wall) as market:
        answers = (await market.quotes(symbols)).answers
        assert all(isinstance(answer, Quote) for answer in answers.values())
        assert len(source.calls) == 200
        assert 1 < source.most_under_way <= 8


async def test_who_waits_too_long_is_told_so_while_the_fetch_goes_on(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    source.gate.clear()
    wall.impatient.set()
    async with staged(tmp_path, source, wall) as market:
        with pytest.raises(SourceUnavailable) as pending:
            await market.history("AAA", None)
        assert pending.value.reason == "HISTORY_PENDING"
        answers = (await market.quotes(["AAA", "BBB"])).answers
        reasons = [getattr(answer, "reason", "") for answer in answers.values()]
        assert reasons == ["HISTORY_PENDING"] * 2
        wall.impatient.clear()
        source.gate.set()
        assert await closes(market, "AAA") == listed_closes(source, "AAA")
        assert await closes(market, "BBB") == listed_closes(source, "BBB")
        assert (source.count("AAA"), source.count("BBB")) == (1, 1)


async def test_an_unknown_symbol_is_remembered_as_such_for_a_while(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        for _ in range(3):
            with pytest.raises(SymbolNotFound):
                await market.history("NONE", None)
            assert isinstance((await market.quotes(["NONE"])).answers["NONE"], SymbolNotFound)
        assert source.count("NONE") == 1
        wall.forward(minutes=11)
        source.trade("NONE", DAYS)
        assert (await quote(market, "NONE")).price == 129.0


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (RateLimited("slow down", 30), "SOURCE_RATE_LIMITED"),
        (Unreachable("no answer"), "SOURCE_UNREACHABLE"),
        (Nonsense("HTML"), "SOURCE_NONSENSE"),
    ],
)
async def test_a_cold_symbol_says_why_the_source_gives_nothing(
    tmp_path: Path, source: ScriptedSource, wall: Wall, failure: Exception, reason: str
) -> None:
    source.down = failure
    async with staged(tmp_path, source, wall) as market:
        for _ in range(5):
            answer = (await market.quotes(["AAA"])).answers["AAA"]
            assert isinstance(answer, SourceUnavailable)
            assert (answer.reason, answer.message) == (reason, str(failure))
        assert source.count("AAA") == 1
        source.down = None
        wall.forward(seconds=11)
        assert (await quote(market, "AAA")).price == 129.0


async def test_one_bad_symbol_fails_no_batch(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    source.failing["BAD"] = Nonsense("half a JSON")
    async with staged(tmp_path, source, wall) as market:
        answers = (await market.quotes(["AAA", "BAD", "NONE", "BBB"])).answers
        kinds = [type(answers[symbol]) for symbol in ("AAA", "BAD", "NONE", "BBB")]
        assert kinds == [Quote, SourceUnavailable, SymbolNotFound, Quote]


async def test_neither_bars_nor_a_price_is_nonsense(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    source.rows["EMPTY"] = {}
    async with staged(tmp_path, source, wall) as market:
        with pytest.raises(SourceUnavailable) as empty:
            await market.history("EMPTY", None)
        assert empty.value.reason == "SOURCE_NONSENSE"
        wall.forward(seconds=11)
        source.quote("EMPTY", 5.0, CLOSED)
        assert await closes(market, "EMPTY") == []
        assert (await quote(market, "EMPTY")).previous_close is None


async def test_after_a_restart_with_the_source_down_all_is_served_with_its_age(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        before = await closes(market, "AAA")
        fresh = await quote(market, "AAA")
        assert not fresh.stale
    source.down = Unreachable("The source does not answer.")
    wall.forward(days=5)
    async with staged(tmp_path, source, wall) as market:
        await settled(market)
        assert await closes(market, "AAA") == before
        old = await quote(market, "AAA")
        assert (old.price, old.as_of_time) == (fresh.price, fresh.as_of_time)
        assert old.stale
        assert old.stale_reason == "The source does not answer."
        assert old.version > fresh.version
        assert [each.symbol for each in await market.universe()] == ["AAA"]


async def test_a_known_symbol_survives_not_found(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market, "AAA")
        kept = source.rows.pop("AAA")
        since = wall.now + timedelta(days=3)
        wall.now = since
        for _ in range(8):
            await settled(market)
            late = await quote(market, "AAA")
            assert late.stale
            assert late.stale_reason == "The source does not know the symbol at the moment."
            wall.forward(hours=2)
        assert source.count("AAA") == 4  # asked again every six hours
        wall.forward(days=2)
        await settled(market)
    async with staged(tmp_path, source, wall) as market:
        wall.forward(days=1)
        await settled(market)
        gone = await quote(market, "AAA")
        assert gone.stale_reason == f"The source has not known the symbol since {since.date()}."
        assert await closes(market, "AAA") == [row[3] for row in kept.values()]
        source.rows["AAA"] = kept
        wall.forward(hours=7)
        await settled(market)
        assert "not known" not in (await quote(market, "AAA")).stale_reason


async def test_damaged_bars_are_fetched_again_and_never_served(
    tmp_path: Path, source: ScriptedSource, wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await closes(market, "AAA")
    with sqlite3.connect(tmp_path / "quote.db") as connection:
        connection.execute("UPDATE histories SET bars = CAST(x'00' || substr(bars, 2) AS BLOB)")
    connection.close()
    async with staged(tmp_path, source, wall) as market:
        source.down = Unreachable("no answer")
        with pytest.raises(SourceUnavailable, match="no answer") as damaged:
            await market.history("AAA", None)
        assert damaged.value.reason == "HISTORY_PENDING"
        assert (await quote(market, "AAA")).price == 129.0
        source.down = None
        assert await closes(market, "AAA") == listed_closes(source, "AAA")
        assert source.calls[-1] == ("AAA", None)
    assert "the stored bars of AAA are damaged" in caplog.text


async def test_search_merges_the_source_with_what_is_stored(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    source.found = [
        SourceInstrument("AAAX", "Triple X", InstrumentKind.ETF, "LSE", "", "", 2),
        source.instrument("AAA"),
        SourceInstrument("A A", "no symbol", InstrumentKind.STOCK, "NYQ", "", "USD", 2),
    ]
    async with staged(tmp_path, source, wall) as market:
        await market.quotes(["AAA", "BBB"])
        found = await market.search("aaa")
        assert [each.symbol for each in found] == ["AAA", "AAAX"]
        assert (found[0].exchange_code, found[1].exchange_code) == ("XTST", "XLON")
        source.down = Unreachable("no answer")
        assert [each.symbol for each in await market.search("aaa")] == ["AAA"]
        assert [each.symbol for each in await market.search("inc")] == ["AAA", "BBB"]


async def test_the_clock_names_every_exchange_of_the_universe(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall, calendar=Weekdays("XNYS")) as market:
        nothing = await market.clock()
        assert (nothing.exchanges, nothing.next_change_in) == ((), None)
        await quote(market, "AAA")
        (exchange,) = (await market.clock()).exchanges
        assert exchange.exchange_code == "XNYS"
        assert exchange.last_session is not None
        assert exchange.last_session.session_date == FRIDAY
        assert exchange.next_session.session_date == date(2026, 11, 23)
        changes = []
        for _ in range(4):
            change = (await market.clock()).next_change_in
            assert change is not None
            wall.now += change
            await settled(market)
            changes.append(wall.now.strftime("%a %H:%M"))
        # Open, close, and final twenty minutes later.
        assert changes == ["Mon 14:30", "Mon 21:00", "Mon 21:20", "Tue 14:30"]
        sessions = await market.sessions_after("XNYS", FRIDAY)
        assert [session.session_date for session in sessions] == [
            date(2026, 11, 23),
            date(2026, 11, 24),
        ]
        assert await market.sessions_after("XLON", FRIDAY) == ()


async def test_a_session_is_final_once_its_bars_are_there(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    seeds = ("AAA", "BBB", "BAD")
    source.trade("BAD", DAYS)
    async with staged(tmp_path, source, wall, seeds=seeds) as market:
        await settled(market)
        source.failing["BAD"] = Nonsense("HTML")
        wall.now = datetime(2026, 11, 23, 21, 20, tzinfo=UTC)
        clock = await market.clock()
        assert clock.exchanges[0].next_session.session_date == date(2026, 11, 23)
        assert clock.next_change_in == timedelta(seconds=5)
        history = await market.history("AAA", None)
        assert history.next_session.session_date == date(2026, 11, 23)
        assert not (await quote(market, "AAA")).stale
        await settled(market)
        (exchange,) = (await market.clock()).exchanges
        assert exchange.last_session is not None
        assert exchange.last_session.session_date == date(2026, 11, 23)
        history = await market.history("AAA", None)
        assert history.next_session.session_date == date(2026, 11, 24)
        # With nothing to be had from the source the day goes on all the same.
        source.down = Unreachable("no answer")
        wall.now = datetime(2026, 11, 24, 21, 20, tzinfo=UTC)
        await settled(market)
        finals = []
        for _ in range(2):
            (exchange,) = (await market.clock()).exchanges
            finals.append(exchange.next_session.session_date)
            wall.forward(minutes=15)
        assert finals == [date(2026, 11, 24), date(2026, 11, 25)]


async def test_what_cannot_be_kept_takes_no_other_symbol_along(
    tmp_path: Path, source: ScriptedSource, wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    class Short(Weekdays):
        def sessions(self, first: date, last: date) -> Sequence[Session]:
            if first < DAYS[0]:
                raise LookupError("no calendar reaches so far")
            return super().sessions(first, last)

    source.trade("OLD", weekdays(FRIDAY, 31))
    async with staged(tmp_path, source, wall, calendar=Short()) as market:
        answers = (await market.quotes(["AAA", "OLD"])).answers
        assert isinstance(answers["AAA"], Quote)
        assert isinstance(answers["OLD"], SourceUnavailable)
        assert answers["OLD"].reason == "SOURCE_NONSENSE"
    assert "what the source says of OLD cannot be kept" in caplog.text


async def test_the_seeds_are_fetched_one_at_a_time_in_their_order(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    seeds = ("BBB", "GONE", "LATE", "AAA")
    source.failing["LATE"] = Nonsense("HTML")
    async with staged(tmp_path, source, wall, seeds=seeds) as market:
        assert await market.progress() == FetchProgress(0, 0, 4)
        await market.step()
        assert await market.progress() == FetchProgress(1, 0, 4)
        await settled(market)
        assert [symbol for symbol, _ in source.calls] == ["BBB", "GONE", "LATE", "AAA"]
        assert source.most_under_way == 1
        assert await market.progress() == FetchProgress(2, 2, 4)
        assert [each.symbol for each in await market.universe()] == ["AAA", "BBB"]
        del source.failing["LATE"]
        source.trade("LATE", DAYS)
        wall.forward(minutes=1)
        await settled(market)
        assert await market.progress() == FetchProgress(3, 1, 4)
        assert source.count("GONE") == 1
    async with staged(tmp_path, source, wall, seeds=seeds) as market:
        assert await market.progress() == FetchProgress(3, 0, 4)


async def test_what_people_want_goes_before_the_seeds(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    source.gate.clear()
    async with staged(tmp_path, source, wall, seeds=("AAA",)) as market:
        wanted = asyncio.create_task(quote(market, "BBB"))
        await source.asked.wait()
        assert await market.step() > 0
        assert source.calls == [("BBB", None)]
        source.gate.set()
        await wanted
        assert await market.step() == 0
        assert source.calls == [("BBB", None), ("AAA", None)]


async def test_what_was_asked_for_stays_in_the_universe_for_30_days(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await quote(market, "AAA")
        await market.history("BBB", None)  # forecasters read histories; people look at quotes
        assert [each.symbol for each in await market.universe()] == ["AAA"]
    wall.forward(days=29)
    async with staged(tmp_path, source, wall) as market:
        assert [each.symbol for each in await market.universe()] == ["AAA"]
        wall.forward(days=2)
        assert list(await market.universe()) == []
        # Known it stays.
        assert (await quote(market, "AAA")).price == 129.0
