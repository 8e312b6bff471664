"""Answers that are kept for a moment, and parts of pages that are kept while nothing changes."""

import asyncio

import pytest
from markupsafe import Markup

from gateway.keeping import Kept, KeptParts


class Source:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fails = False

    async def ask(self, key: str) -> str:
        self.asked.append(key)
        await self.open.wait()
        if self.fails:
            raise RuntimeError("not now")
        return f"{key} {len(self.asked)}"


async def test_an_answer_is_kept_for_its_time_and_no_longer() -> None:
    now, source = [100.0], Source()
    kept = Kept(source.ask, seconds=2, most=8, now=lambda: now[0])
    assert await kept.get("a") == "a 1"
    now[0] += 1.9
    assert await kept.get("a") == "a 1"
    now[0] += 0.1
    assert await kept.get("a") == "a 2"


async def test_however_many_wait_it_is_asked_for_once() -> None:
    source = Source()
    source.open.clear()
    kept = Kept(source.ask, seconds=2, most=8)
    waiting = [asyncio.create_task(kept.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*waiting[1:]) == ["a 1"] * 4
    assert source.asked == ["a"]


async def test_what_failed_is_asked_for_again() -> None:
    source = Source()
    kept = Kept(source.ask, seconds=2, most=8)
    source.fails = True
    with pytest.raises(RuntimeError):
        await kept.get("a")
    source.fails = False
    assert await kept.get("a") == "a 2"


async def test_those_that_were_not_used_for_longest_are_dropped() -> None:
    source = Source()
    kept = Kept(source.ask, seconds=1000, most=2)
    for key in ("a", "b", "a", "c", "a", "b"):
        await kept.get(key)
    assert source.asked == ["a", "b", "c", "b"]


def test_a_part_is_rendered_anew_where_something_else_stands_in_it() -> None:
    parts: KeptParts[Markup] = KeptParts(2)
    rendered: list[int] = []

    def render() -> Markup:
        rendered.append(1)
        return Markup("{}").format(len(rendered))

    one, other = object(), object()
    assert parts.get("k", (one, "x"), render) == "1"
    assert parts.get("k", (one, "".join(["x"])), render) == "1"
    assert parts.get("k", (other, "x"), render) == "2"
    assert parts.get("k", (other, "y"), render) == "3"
    assert parts.get("l", (one,), render) == "4"
    assert parts.get("m", (one,), render) == "5"
    assert parts.get("k", (other, "y"), render) == "6"
