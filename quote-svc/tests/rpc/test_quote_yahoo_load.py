"""Many callers at once: one fetch for one symbol, a few at a time for many, a loop that runs."""

import asyncio
import time
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


async def test_more_are_fetched_at_once_where_that_is_set(yahoo: FakeYahoo) -> None:
    symbols = [f"SYM{at}" for at in range(20)]
    yahoo.listings = {s: Listing(s, TEN_YEARS[:5], [1.0, 2, 3, 4, 5]) for s in symbols}
    yahoo.hold()
    async with reached(yahoo, at_once=20) as source:
        answers = asyncio.gather(*(source.history(symbol, None) for symbol in symbols))
        await asyncio.to_thread(yahoo.wait_for_calls, 20)
        yahoo.release()
        assert [answer.instrument.symbol for answer in await answers] == symbols


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


async def test_histories_are_read_off_the_loop(yahoo: FakeYahoo) -> None:
    symbols = [f"SYM{at}" for at in range(20)]
    yahoo.listings = {symbol: listing(symbol) for symbol in symbols}
    async with reached(yahoo) as source:
        loop, process = time.thread_time(), time.process_time()
        await asyncio.gather(*(source.history(symbol, None) for symbol in symbols))
        loop, process = time.thread_time() - loop, time.process_time() - process
    # A share of CPU says it on a machine however busy, which a lag in seconds does not.
    print(f"{1000 * loop:.0f} of {1000 * process:.0f} ms CPU on the loop")
    assert loop < process / 5
