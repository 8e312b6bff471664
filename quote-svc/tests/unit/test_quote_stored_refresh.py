"""Refreshing what is stored: only the end is fetched, unless the adjusted basis has changed."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from foretick_rpc.database import open_database
from quote_svc.market import Quote, epoch_day
from quote_svc.store import Store
from quote_svc.stored_market import StoredMarket
from quote_svc.stored_symbol import StoredSymbol
from quote_svc.testing import ScriptedSource, Wall, settled, staged, weekdays

FRIDAY = date(2026, 11, 20)
DAYS = weekdays(FRIDAY, 30)
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


@pytest.fixture
def wall() -> Wall:
    return Wall(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def source() -> ScriptedSource:
    scripted = ScriptedSource()
    scripted.trade("AAA", DAYS)
    return scripted


async def known(market: StoredMarket) -> None:
    assert isinstance((await market.quotes(["AAA"])).answers["AAA"], Quote)


async def closes(market: StoredMarket) -> dict[int, float]:
    bars = (await market.history("AAA", None)).bars
    return dict(zip(bars.session_days.tolist(), bars.closes.tolist(), strict=True))


def listed(source: ScriptedSource, *but: date) -> dict[int, float]:
    return {epoch_day(day): row[3] for day, row in source.rows["AAA"].items() if day not in but}


async def stored(folder: Path) -> StoredSymbol:
    """What lies in the database; the market must be closed."""
    async with open_database(f"sqlite:///{folder}/quote.db", "quote_svc") as database:
        _, (symbol,) = await Store(database, "test", lambda _: None).load()
    return symbol


def trade_on(source: ScriptedSource, day: date, close: float) -> None:
    source.rows["AAA"][day] = [close, close + 1, close - 1, close, 5000.0, 0.0, 1.0]


async def test_a_new_session_costs_one_fetch_of_the_end(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        before = await closes(market)
        trade_on(source, MONDAY, 130.0)
        wall.now = datetime(2026, 11, 23, 21, 19, 59, tzinfo=UTC)
        await settled(market)
        assert len(source.calls) == 1
        assert await closes(market) == before
        wall.forward(seconds=1)
        await settled(market)
        assert source.calls[1:] == [("AAA", DAYS[-5])]
        assert await closes(market) == listed(source)
        # Then nothing until the next session is final.
        wall.forward(hours=23)
        await settled(market)
        assert len(source.calls) == 2
    kept = await stored(tmp_path)
    assert (kept.sessions, kept.provenance.adjusted_basis) == (31, 1)
    assert kept.provenance.checks == ()


async def test_a_bar_that_is_not_final_is_never_stored(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    trade_on(source, MONDAY, 130.0)
    source.quote("AAA", 130.0, datetime(2026, 11, 23, 16, tzinfo=UTC))
    wall.now = datetime(2026, 11, 23, 16, tzinfo=UTC)
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        assert await closes(market) == listed(source, MONDAY)
        # The open bar feeds the quote alone.
        quote = (await market.quotes(["AAA"])).answers["AAA"]
        assert isinstance(quote, Quote)
        assert (quote.price, quote.previous_close) == (130.0, 129.0)
        trade_on(source, MONDAY, 140.0)
        wall.now = datetime(2026, 11, 23, 21, 20, tzinfo=UTC)
        await settled(market)
        assert (await closes(market))[epoch_day(MONDAY)] == 140.0


async def test_a_split_means_that_everything_is_fetched_again(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        trade_on(source, MONDAY, 32.5)
        source.split("AAA", MONDAY, 4.0)
        wall.now = datetime(2026, 11, 23, 22, tzinfo=UTC)
        await settled(market)
        assert source.calls[1:] == [("AAA", DAYS[-5]), ("AAA", None)]
        assert await closes(market) == listed(source)
        bars = (await market.history("AAA", None)).bars
        assert bars.split_factors.tolist() == [1.0] * 30 + [4.0]
        assert bars.closes[0] == 25.0
        await settled(market)
        assert len(source.calls) == 3
    kept = await stored(tmp_path)
    assert kept.provenance.adjusted_basis == 2
    assert kept.provenance.checks[-1].endswith("adjusted basis 2: a new split")


async def test_closes_on_another_basis_mean_the_same_before_the_split_is_named(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        for row in source.rows["AAA"].values():
            row[:4] = [price / 1.5 for price in row[:4]]
        trade_on(source, MONDAY, 87.0)
        wall.now = datetime(2026, 11, 23, 22, tzinfo=UTC)
        await settled(market)
        assert source.calls[-1] == ("AAA", None)
        assert await closes(market) == listed(source)
    assert (await stored(tmp_path)).provenance.adjusted_basis == 2


async def test_a_dividend_told_late_means_the_same(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        source.rows["AAA"][DAYS[-2]][5] = 0.25
        wall.now = datetime(2026, 11, 23, 22, tzinfo=UTC)
        trade_on(source, MONDAY, 130.0)
        await settled(market)
        assert source.calls[-1] == ("AAA", None)
        assert (await market.history("AAA", DAYS[-2])).bars.dividends.tolist() == [0.25, 0, 0]


async def test_a_dividend_of_a_new_session_is_no_other_basis(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        trade_on(source, MONDAY, 130.0)
        source.rows["AAA"][MONDAY][5] = 0.25
        wall.now = datetime(2026, 11, 23, 22, tzinfo=UTC)
        await settled(market)
        assert len(source.calls) == 2
        assert (await market.history("AAA", MONDAY)).bars.dividends.tolist() == [0.25]


async def test_an_answer_that_has_lost_most_is_not_taken(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        before = await closes(market)
        source.split("AAA", DAYS[-1], 2.0)
        source.rows["AAA"] = {day: source.rows["AAA"][day] for day in DAYS[-8:]}
        trade_on(source, MONDAY, 65.0)
        wall.now = datetime(2026, 11, 23, 22, tzinfo=UTC)
        await settled(market)
        assert await closes(market) == before
        quote = (await market.quotes(["AAA"])).answers["AAA"]
        assert isinstance(quote, Quote)
        assert quote.stale_reason == "The source has 9 bars where it had 30 before."


async def test_a_revised_bar_is_taken_with_a_note_and_a_smaller_difference_is_not(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        source.rows["AAA"][DAYS[-1]][3] *= 1.01
        source.rows["AAA"][DAYS[-2]][3] *= 1.0009
        source.rows["AAA"][DAYS[-2]][4] = 77.0
        trade_on(source, MONDAY, 130.0)
        wall.now = datetime(2026, 11, 23, 22, tzinfo=UTC)
        await settled(market)
        assert source.calls[1:] == [("AAA", DAYS[-5])]
        bars = (await market.history("AAA", DAYS[-2])).bars
        assert bars.closes.tolist() == [128.0, 129.0 * 1.01, 130.0]
        assert bars.volumes[0] == 77.0
    kept = await stored(tmp_path)
    assert kept.provenance.checks == ("2026-11-20 revised: close 129, now 130.29",)
    assert kept.provenance.adjusted_basis == 1


@pytest.mark.parametrize("lost", [[np.nan] * 4 + [0, 0, 1], None])
async def test_a_lost_session_is_a_gap_that_is_asked_for_again_and_again(
    tmp_path: Path, source: ScriptedSource, wall: Wall, lost: list[float] | None
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        if lost:
            source.rows["AAA"][MONDAY] = lost
        start = datetime(2026, 11, 23, 21, 20, tzinfo=UTC)
        wall.now = start
        asked = []
        while wall.now < start + timedelta(hours=17):
            calls = len(source.calls)
            await settled(market)
            if len(source.calls) > calls:
                asked.append((wall.now - start) // timedelta(minutes=1))
            assert epoch_day(MONDAY) not in await closes(market)
            wall.forward(minutes=5)
        # After 5, 20, 60, 180 and 480 more minutes, and no more.
        assert asked == [0, 5, 25, 85, 265, 745]
        assert (await market.history("AAA", None)).lost_days == (epoch_day(MONDAY),)
        quote = (await market.quotes(["AAA"])).answers["AAA"]
        assert isinstance(quote, Quote)
        assert quote.stale_reason == f"The source has no price of the session of {MONDAY} yet."
    (gap,) = (await stored(tmp_path)).provenance.gaps
    assert (gap.day, gap.tries, gap.retry_at) == (epoch_day(MONDAY), 6, None)


async def test_a_gap_closes_when_the_source_has_the_bar_again(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    lost = source.rows["AAA"].pop(DAYS[10])
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        assert epoch_day(DAYS[10]) not in await closes(market)
        assert (await market.history("AAA", None)).lost_days == (epoch_day(DAYS[10]),)
        source.rows["AAA"] |= {DAYS[10]: lost}
        wall.forward(minutes=5)
        await settled(market)
        assert source.calls[1:] == [("AAA", DAYS[10])]
        assert list((await closes(market)).items()) == sorted(listed(source).items())
        assert (await market.history("AAA", None)).lost_days == ()
        await settled(market)
        assert len(source.calls) == 2
    assert (await stored(tmp_path)).provenance.gaps == ()


async def test_a_bar_that_the_source_lost_later_stays(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
        before = await closes(market)
        source.rows["AAA"].pop(DAYS[-1])
        source.rows["AAA"][DAYS[-2]][:4] = [np.nan] * 4
        trade_on(source, MONDAY, 130.0)
        wall.now = datetime(2026, 11, 23, 22, tzinfo=UTC)
        await settled(market)
        assert await closes(market) == before | {epoch_day(MONDAY): 130.0}
    assert (await stored(tmp_path)).provenance.gaps == ()


async def test_several_missed_sessions_come_with_one_fetch(
    tmp_path: Path, source: ScriptedSource, wall: Wall
) -> None:
    async with staged(tmp_path, source, wall) as market:
        await known(market)
    trade_on(source, MONDAY, 130.0)
    trade_on(source, TUESDAY, 131.0)
    wall.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    async with staged(tmp_path, source, wall) as market:
        await settled(market)
        assert len(source.calls) == 2
        assert await closes(market) == listed(source)
