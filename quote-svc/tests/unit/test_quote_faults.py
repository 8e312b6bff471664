"""A market that is broken on purpose."""

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from quote_svc.csv_market import CsvMarket
from quote_svc.faults import Fault, FaultKind, FaultyMarket
from quote_svc.market import Market, MarketDown, Quote, SymbolNotFound, epoch_day

WriteCsv = Callable[..., Path]
LoadMarket = Callable[..., CsvMarket]
ROWS = tuple(
    f"{symbol},2020-01-0{day},10,{close},10,{close},100"
    for symbol in ("AAA", "BBB")
    for day, close in ((2, 20), (3, 30), (6, 40), (7, 50), (8, 60))
)
MISSING = Fault(FaultKind.MISSING_SESSION, frozenset({"AAA"}))
REVISED = Fault(FaultKind.REVISED_BAR, frozenset({"AAA"}))


class Broken:
    """A csv market at the close of 2020-01-03 behind faults, with its own real time."""

    def __init__(self, inner: CsvMarket) -> None:
        self.inner = inner
        self.now = 100.0
        self.faulty = FaultyMarket(inner, lambda: self.now)
        self.market: Market = self.faulty

    async def closes(self, symbol: str = "AAA", start: date | None = None) -> list[float]:
        closes: list[float] = (await self.market.history(symbol, start)).bars.closes.tolist()
        return closes

    async def quote(self, symbol: str = "AAA") -> Quote:
        answer = (await self.market.quotes([symbol])).answers[symbol]
        assert isinstance(answer, Quote)
        return answer


@pytest.fixture
def broken(write_csv: WriteCsv, load: LoadMarket) -> Broken:
    return Broken(load(write_csv(*ROWS), as_of=date(2020, 1, 3)))


async def test_without_faults_it_is_the_market_itself(broken: Broken) -> None:
    for _ in range(2):
        assert broken.market.description == broken.inner.description
        assert await broken.market.clock() == await broken.inner.clock()
        assert await broken.market.quotes(["AAA"]) == await broken.inner.quotes(["AAA"])
        assert await broken.market.search("a") == await broken.inner.search("a")
        assert await broken.market.universe() == await broken.inner.universe()
        assert await broken.market.progress() is None
        day = date(2020, 1, 2)
        theirs = await broken.inner.sessions_after("XNYS", day)
        assert await broken.market.sessions_after("XNYS", day) == theirs
        assert await broken.closes() == [20, 30]
        await broken.faulty.set_faults([MISSING])
        await broken.faulty.set_faults([])


async def test_down_answers_nothing_until_it_is_mended(broken: Broken) -> None:
    await broken.faulty.set_faults([Fault(FaultKind.DOWN)])
    with pytest.raises(MarketDown, match="switched off"):
        _ = broken.market.description
    for call in (
        broken.market.clock,
        lambda: broken.market.quotes(["AAA"]),
        lambda: broken.market.history("AAA", None),
        lambda: broken.market.search("a"),
        broken.market.universe,
        broken.market.progress,
        lambda: broken.market.sessions_after("XNYS", date(2020, 1, 2)),
    ):
        with pytest.raises(MarketDown):
            await call()
    await broken.faulty.set_faults([])
    assert await broken.closes() == [20, 30]


async def test_slow_takes_its_seconds(broken: Broken) -> None:
    slow = [Fault(FaultKind.SLOW, seconds=seconds) for seconds in (0.05, 0.01)]
    await broken.faulty.set_faults(slow)
    loop = asyncio.get_running_loop()
    for call in (
        broken.market.clock,
        lambda: broken.market.quotes(["AAA"]),
        lambda: broken.market.history("AAA", None),
        lambda: broken.market.search("a"),
        broken.market.universe,
    ):
        begin = loop.time()
        await call()
        assert loop.time() - begin >= 0.05


async def test_who_waits_for_a_slow_market_is_answered_once_it_is_mended(broken: Broken) -> None:
    await broken.faulty.set_faults([Fault(FaultKind.SLOW, seconds=3600)])
    waiting = asyncio.create_task(broken.closes())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    await broken.faulty.set_faults([])
    assert await asyncio.wait_for(waiting, 5) == [20, 30]


async def test_the_missing_session_is_the_last_closed_one(broken: Broken) -> None:
    await broken.faulty.set_faults([MISSING])
    assert await broken.closes() == [20]
    assert await broken.closes("BBB") == [20, 30]
    assert await broken.closes(start=date(2020, 1, 3)) == []
    history = await broken.market.history("AAA", None)
    assert history.next_session.session_date == date(2020, 1, 6)
    assert history.lost_days == (epoch_day(date(2020, 1, 3)),)
    assert (await broken.market.history("BBB", None)).lost_days == ()
    await broken.inner.step(1)
    assert await broken.closes() == [20, 30], "the one before is found again"
    await broken.faulty.set_faults([])
    assert await broken.closes() == [20, 30, 40]


async def test_a_late_bar_comes_its_seconds_after_the_close(broken: Broken) -> None:
    await broken.faulty.set_faults([Fault(FaultKind.LATE_BAR, frozenset({"AAA"}), 30)])
    assert await broken.closes() == [20, 30], "what has closed already is there"
    await broken.inner.step(1)
    assert await broken.closes() == [20, 30]
    assert await broken.closes("BBB") == [20, 30, 40]
    broken.now += 29.9
    assert await broken.closes() == [20, 30]
    broken.now += 0.1
    assert await broken.closes() == [20, 30, 40]


async def test_each_bar_is_late_by_itself(broken: Broken) -> None:
    await broken.faulty.set_faults([Fault(FaultKind.LATE_BAR, seconds=30)])
    await broken.inner.step(1)
    await broken.market.clock()
    broken.now += 20
    await broken.inner.step(2)
    assert await broken.closes() == [20, 30]
    broken.now += 10
    assert await broken.closes() == [20, 30, 40]
    broken.now += 20
    assert await broken.closes() == [20, 30, 40, 50, 60]


async def test_a_revision_stays_with_its_bar(broken: Broken) -> None:
    await broken.faulty.set_faults([REVISED])
    history = await broken.market.history("AAA", None)
    assert history.bars.closes.tolist() == [20, 30.3]
    assert history.bars.highs.tolist() == [20, 30.3]
    assert await broken.closes("BBB") == [20, 30]
    quote = await broken.quote()
    assert (quote.price, quote.day_high, quote.previous_close) == (30.3, 30.3, 20)
    await broken.inner.step(1)
    assert await broken.closes() == [20, 30.3, 40]
    quote = await broken.quote()
    assert (quote.price, quote.previous_close) == (40, 30.3)
    await broken.inner.step(1)
    assert await broken.closes() == [20, 30.3, 40, 50]
    assert await broken.quote() == (await broken.inner.quotes(["AAA"])).answers["AAA"]
    assert await broken.closes(start=date(2020, 1, 7)) == [50]
    await broken.faulty.set_faults([])
    assert await broken.closes() == [20, 30, 40, 50]


async def test_faults_add_up(broken: Broken) -> None:
    await broken.faulty.set_faults([REVISED, MISSING, Fault(FaultKind.LATE_BAR, seconds=5)])
    await broken.inner.step(2)
    assert await broken.closes() == [20, 30.3]
    broken.now += 6
    assert await broken.closes() == [20, 30.3, 40]


async def test_an_unknown_symbol_is_refused_and_nothing_changes(broken: Broken) -> None:
    await broken.faulty.set_faults([MISSING])
    with pytest.raises(SymbolNotFound, match="ZZZ"):
        await broken.faulty.set_faults([Fault(FaultKind.LATE_BAR, frozenset({"AAA", "ZZZ"}), 1)])
    assert await broken.closes() == [20]
