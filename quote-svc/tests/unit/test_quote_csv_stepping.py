"""The csv market's clock: stepped through real sessions, and never run."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from quote_svc.calendars import load_calendar
from quote_svc.control import ClockControl, ClockStandsStill, NoSessionsLeft
from quote_svc.csv_market import CsvMarket
from quote_svc.market import Quote, SymbolNotFound, date_of, epoch_day

WriteCsv = Callable[..., Path]
LoadMarket = Callable[..., CsvMarket]
FIRST = date(2019, 12, 27)


async def quote(market: CsvMarket, symbol: str) -> Quote:
    answer = (await market.quotes([symbol])).answers[symbol]
    assert isinstance(answer, Quote)
    return answer


async def test_a_step_shows_one_session_more(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    market = load(write_csv(*rows), as_of=FIRST)
    control: ClockControl = market
    await control.step(1)  # over a weekend
    clock = await market.clock()
    assert clock.market_time == datetime(2019, 12, 30, 21, tzinfo=UTC)
    assert clock.next_change_in is None
    assert clock.exchanges[0].next_session.session_date == date(2019, 12, 31)
    found = await quote(market, "AAA")
    assert (found.price, found.previous_close) == (11.0, 10.5)
    assert (found.day_low, found.day_high, found.volume) == (10.0, 12.0, 1100.0)
    assert (found.session_date, found.stale) == (date(2019, 12, 30), False)
    assert (await market.history("BBB", None)).bars.closes.tolist() == [20.5, 21.0]
    ahead = (await market.history("BBB", None)).ahead
    assert ahead.known == len(ahead.days) == 20
    # New Year's Day and Martin Luther King's are holidays.
    days = [date(2019, 12, 31), *(date(2020, 1, day) for day in (2, 3, 6))]
    assert list(ahead.days[:4]) == [epoch_day(day) for day in days]
    assert date_of(ahead.days[-1]) == date(2020, 1, 29)
    opened = await market.sessions_after("XNYS", FIRST)
    assert [session.session_date for session in opened] == [date(2019, 12, 30)]
    await control.hold()
    assert await market.clock() == clock


async def test_stepped_it_is_as_if_started_there(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    path = write_csv(*rows, "CCC,2019-12-31,5,5,5,5,5")
    stepped, started = load(path, as_of=FIRST), load(path)
    assert [each.symbol for each in await stepped.universe()] == ["AAA", "BBB"]
    with pytest.raises(SymbolNotFound):
        await stepped.history("CCC", None)
    await stepped.step(2)
    symbols = ["AAA", "BBB", "CCC"]
    assert await stepped.clock() == await started.clock()
    assert await stepped.quotes(symbols) == await started.quotes(symbols)
    assert await stepped.universe() == await started.universe()
    assert await stepped.search("c") == await started.search("c")
    for symbol in symbols:
        ours, theirs = [await each.history(symbol, None) for each in (stepped, started)]
        assert ours.next_session == theirs.next_session
        assert ours.bars.closes.tobytes() == theirs.bars.closes.tobytes()


async def test_a_step_beyond_the_last_bar_is_refused(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    market = load(write_csv(*rows), as_of=FIRST)
    before = await market.clock()
    with pytest.raises(NoSessionsLeft, match=r"last bar is of 2019-12-31.* 2 sessions, not 3"):
        await market.step(3)
    assert await market.clock() == before, "and moves nothing"
    await market.step(2)
    with pytest.raises(NoSessionsLeft, match="0 sessions, not 1"):
        await market.step(1)
    late = load(write_csv(*rows), as_of=date(2020, 1, 10))
    with pytest.raises(NoSessionsLeft, match="0 sessions, not 1"):
        await late.step(1)


async def test_it_cannot_run(market: CsvMarket) -> None:
    with pytest.raises(ClockStandsStill, match="step the clock"):
        await market.run()


async def test_a_step_is_not_kept(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    path = write_csv(*rows)
    market = load(path, as_of=FIRST)
    await market.step(2)
    again = load(path, as_of=FIRST)
    assert (await again.clock()).market_time == datetime(2019, 12, 27, 21, tzinfo=UTC)


async def test_a_symbol_without_a_bar_of_the_session_is_stale(
    write_csv: WriteCsv, load: LoadMarket
) -> None:
    market = load(
        write_csv(
            "AAA,2019-12-27,1,1,1,1,1", "BBB,2019-12-27,2,2,2,2,2", "BBB,2019-12-30,2,2,2,2,2"
        ),
        as_of=FIRST,
    )
    assert not (await quote(market, "AAA")).stale
    await market.step(1)
    old = await quote(market, "AAA")
    assert (old.stale, old.stale_reason) == (True, "there is no bar after 2019-12-27")
    assert old.session_date == FIRST
    assert not (await quote(market, "BBB")).stale


async def test_a_year_stepped_gives_exactly_the_files_closes(
    write_csv: WriteCsv, load: LoadMarket
) -> None:
    calendar = load_calendar("XNYS", date(2018, 12, 31), date(2019, 12, 31))
    begin, end = epoch_day(date(2018, 12, 31)), epoch_day(date(2019, 12, 31))
    days = [date_of(int(day)) for day in calendar.days if begin <= day <= end]
    assert len(days) == 253
    moves = np.random.default_rng(1).normal(0, 0.01, (2, len(days)))
    closes = 100 * np.exp(np.cumsum(moves, axis=1))
    lines = [
        f"{symbol},{day},{close!r},{close!r},{close!r},{close!r},1000"
        for symbol, prices in zip(("AAA", "BBB"), closes.tolist(), strict=True)
        for day, close in zip(days, prices, strict=True)
    ]
    market = load(write_csv(*lines), as_of=days[0])
    for count, (before, day) in enumerate(pairwise(days), start=2):
        await market.step(1)
        clock = await market.clock()
        session = clock.exchanges[0].last_session
        assert session is not None
        assert session.session_date == day
        assert clock.market_time == session.close_time
        opened = await market.sessions_after("XNYS", before)
        assert [each.session_date for each in opened] == [day]
        for symbol, prices in zip(("AAA", "BBB"), closes, strict=True):
            found = await quote(market, symbol)
            assert (found.price, found.previous_close) == (prices[count - 1], prices[count - 2])
            seen = (await market.history(symbol, None)).bars
            assert seen.closes.tobytes() == prices[:count].tobytes()
    with pytest.raises(NoSessionsLeft):
        await market.step(1)


async def test_a_broken_file_of_a_folder_is_named_and_the_others_are_served(
    tmp_path: Path, write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    (tmp_path / "bars").mkdir()
    write_csv(*rows[:3], name="bars/a.csv")
    write_csv("BBB,2019-12-27,20,21,19,20.5,2000", "BBB,2019-12-30,20,x,19,20,1", name="bars/b.csv")
    write_csv("CCC,2019-12-27,5,5,5,5,5", name="bars/c.csv")
    market = load(tmp_path / "bars", as_of=FIRST)
    assert [each.symbol for each in await market.universe()] == ["AAA", "CCC"]
    answer = (await market.quotes(["BBB"])).answers["BBB"]
    assert str(answer) == "b.csv line 3, column high: 'x' is not a number"
    await market.step(2)
    assert [each.symbol for each in await market.universe()] == ["AAA", "CCC"]
