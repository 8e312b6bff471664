"""Watchers of the book, which is changed by hand."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Literal

import pytest

from prediction_svc.book import Book, Edition, IssuedForecast
from prediction_svc.market import Refusal
from prediction_svc.testing import issued_of
from prediction_svc.watching import News, WatchingEnded, watch

SHORT = Refusal("HISTORY_TOO_SHORT", "SHORT has 2 sessions; 60 are needed.")


def edition(day: int, market_id: str = "csv:1", **days: int) -> Edition:
    """Forecasts of AAA and BBB made on a day, or on a day of their own."""
    forecasts = {}
    for symbol in ("AAA", "BBB"):
        forecasts[symbol] = issued_of(symbol, as_of_day=days.get(symbol, day))
    known = frozenset({"AAA", "BBB", "SHORT"})
    return Edition(market_id, known, {1: forecasts}, {"SHORT": SHORT})


def told_days(news: News) -> dict[str, int]:
    return {
        asked: answer.as_of_day
        for asked, answer in news.answers.items()
        if isinstance(answer, IssuedForecast)
    }


class Waited(asyncio.Event):
    """Says when somebody begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.begun.set()
        return await super().wait()


async def next_of(watching: AsyncGenerator[News, None]) -> News:
    return await asyncio.wait_for(anext(watching), 10)


async def test_only_what_changed_is_told_after_the_snapshot() -> None:
    book = Book()
    book.turn_to(edition(1), 4)
    watching = watch(book, ["aaa", "BBB", "SHORT", "a b"])
    first = await next_of(watching)
    assert (first.market_id, first.version, first.is_snapshot) == ("csv:1", 4, True)
    assert told_days(first) == {"aaa": 1, "BBB": 1}
    refused = {asked: answer for asked, answer in first.answers.items() if asked not in {"aaa"}}
    assert refused["SHORT"] == SHORT
    assert isinstance(refused["a b"], Refusal)
    book.turn_to(edition(1, BBB=2), 6)
    second = await next_of(watching)
    assert (second.version, second.is_snapshot) == (6, False)
    assert told_days(second) == {"BBB": 2}
    assert set(second.answers) == {"BBB"}
    gone = replace(edition(1), forecasts={}, refusals={"SHORT": SHORT, "AAA": SHORT})
    book.turn_to(gone, 7)
    third = await next_of(watching)
    assert set(third.answers) == {"aaa", "BBB"}
    assert all(isinstance(answer, Refusal) for answer in third.answers.values())


async def test_a_slow_watcher_is_told_the_latest_only() -> None:
    book = Book()
    book.turn_to(edition(1), 1)
    watching = watch(book, ["AAA", "BBB"])
    await next_of(watching)
    for day in range(2, 100):
        book.turn_to(edition(1, AAA=day), day)
    news = await next_of(watching)
    assert (told_days(news), news.version) == ({"AAA": 99}, 99)


async def test_a_version_without_a_change_is_no_news() -> None:
    book = Book()
    book.turn_to(edition(1), 1)
    waited = book.changed = Waited()
    watching = watch(book, ["AAA", "BBB"])
    await next_of(watching)
    waiting = asyncio.ensure_future(next_of(watching))
    await asyncio.wait_for(waited.begun.wait(), 10)
    for version in (2, 3):
        book.turn_to(edition(1), version)
        waited = book.changed = Waited()
        await asyncio.wait_for(waited.begun.wait(), 10)  # again, without a word
    assert not waiting.done()
    book.turn_to(edition(1, BBB=8), 4)
    news = await waiting
    assert (told_days(news), news.version) == ({"BBB": 8}, 4)


async def test_another_market_begins_with_a_snapshot() -> None:
    book = Book()
    watching = watch(book, ["AAA", "SHORT"])
    first = await next_of(watching)
    assert (first.market_id, first.version, first.is_snapshot) == ("", 0, True)
    assert set(first.answers) == {"AAA", "SHORT"}
    book.turn_to(edition(1), 1)
    assert (await next_of(watching)).is_snapshot
    book.turn_to(edition(1, "csv:2"), 2)
    other = await next_of(watching)
    assert (other.market_id, other.version, other.is_snapshot) == ("csv:2", 2, True)
    assert set(other.answers) == {"AAA", "SHORT"}


async def test_nobody_waits_once_the_book_has_ended() -> None:
    book = Book()
    book.turn_to(edition(1), 1)
    waited = book.changed = Waited()
    watchers = [watch(book, ["AAA"]) for _ in range(3)]
    for watching in watchers:
        await next_of(watching)
    waiting = [asyncio.ensure_future(next_of(watching)) for watching in watchers]
    await asyncio.wait_for(waited.begun.wait(), 10)
    book.end()
    for each in waiting:
        with pytest.raises(WatchingEnded):
            await each
    with pytest.raises(WatchingEnded):
        await next_of(watch(book, ["AAA"]))
