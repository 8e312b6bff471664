"""Many callers at once: one fetch for one symbol, a few at a time for many, a loop that runs."""

import asyncio
from collections.abc import Iterator
from datetime import date

import pytest

from fake_yahoo import FakeYahoo
from quote_svc.source import UnknownSymbol
from reached_yahoo import reached
from yahoo_answers import Listing, found_row, sessions

TEN_YEARS = sessions(date(2017, 1, 2), 2500)


@pytest.fixture
def yahoo() -> Iterator[FakeYahoo]:
    with FakeYahoo() as fake:
        yield fake


def listing(symbol: str) -> Listing:
    closes = [100 + at % 7 / 8 for at in range(len(TEN_YEARS))]
    return Listing(symbol, TEN_YEARS, closes)


async def test_500_callers_for_one_cold_symbol_are_one_fetch(yahoo: FakeYahoo) -> None:
    yahoo.listings["AAPL"] = listing("AAPL")
    async with reached(yahoo) as source:
        answers = await asyncio.gather(*(source.history("AAPL", None) for _ in range(500)))
    assert yahoo.charts == ["AAPL"]
    assert {len(answer.bars.closes) for answer in answers} == {2500}


async def test_200_cold_symbols_are_fetched_four_at_a_time(yahoo: FakeYahoo) -> None:
    symbols = [f"SYM{at}" for at in range(200)]
    days = TEN_YEARS[:5]
    yahoo.listings = {s: Listing(s, days, [1.0, 2, 3, 4, 5]) for s in symbols}
    async with reached(yahoo) as source:
        answers = await asyncio.gather(*(source.history(symbol, None) for symbol in symbols))
    assert [answer.instrument.symbol for answer in answers] == symbols
    assert sorted(yahoo.charts) == sorted(symbols)
    assert yahoo.most_in_flight <= 4


async def test_a_search_does_not_wait_for_histories(yahoo: FakeYahoo) -> None:
    yahoo.results = [found_row("AAPL", "Apple Inc.")]
    yahoo.hold()
    async with reached(yahoo) as source:
        histories = [asyncio.create_task(source.history(f"SYM{at}", None)) for at in range(20)]
        search = asyncio.create_task(source.search("apple"))
        await asyncio.to_thread(yahoo.wait_for_calls, 5)
        assert len(yahoo.charts) == 4
        yahoo.release()
        assert [found.symbol for found in await search] == ["AAPL"]
        ends = await asyncio.gather(*histories, return_exceptions=True)
    assert {type(end) for end in ends} == {UnknownSymbol}


class Heartbeat:
    """Beats every 5 ms while the loop runs; `longest` is the longest it had to wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.longest = 0.0
        self.beats = 0
        self._due = self._loop.time()
        self._beat()

    def _beat(self) -> None:
        now = self._loop.time()
        self.longest = max(self.longest, now - self._due)
        self.beats += 1
        self._due = now + 0.005
        self._timer = self._loop.call_at(self._due, self._beat)

    def stop(self) -> None:
        self._timer.cancel()


async def test_the_loop_goes_on_while_histories_are_read(yahoo: FakeYahoo) -> None:
    symbols = [f"SYM{at}" for at in range(20)]
    yahoo.listings = {symbol: listing(symbol) for symbol in symbols}
    async with reached(yahoo) as source:
        heartbeat = Heartbeat()
        await asyncio.gather(*(source.history(symbol, None) for symbol in symbols))
        heartbeat.stop()
    print(f"{heartbeat.beats} beats, the longest late by {heartbeat.longest * 1000:.0f} ms")
    assert heartbeat.beats > 10
    # Threads that parse share the interpreter; the bound is for a machine busy with other tests.
    assert heartbeat.longest < 0.25
