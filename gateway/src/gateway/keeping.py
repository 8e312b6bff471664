"""Answers that a page may show for a moment longer, asked for once however many wait for them."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import web
from markupsafe import Markup

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Answer(Generic[V]):
    asked: float
    task: asyncio.Task[V]

    def is_of_use(self, now: float, seconds: float) -> bool:
        if not self.task.done():
            return True
        failed = self.task.cancelled() or self.task.exception() is not None
        return not failed and now - self.asked < seconds


class Kept(Generic[K, V]):
    """Keeps the ``most`` lately used answers for so many seconds each; what failed is not kept."""

    def __init__(
        self,
        ask: Callable[[K], Awaitable[V]],
        *,
        seconds: float,
        most: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._most = most
        self._now = now
        self._answers: OrderedDict[K, _Answer[V]] = OrderedDict()

    async def get(self, key: K) -> V:
        """The answer for a key; raises what asking raises."""
        now = self._now()
        answer = self._answers.get(key)
        if answer is None or not answer.is_of_use(now, self._seconds):
            answer = _Answer(now, asyncio.ensure_future(self._ask_once(key)))
            self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)
        # One who goes away takes the answer from nobody else.
        return await asyncio.shield(answer.task)

    async def _ask_once(self, key: K) -> V:
        return await self._ask(key)


class KeptParts(Generic[V]):
    """Pages and parts of them, kept while what they are made of is the same object or text."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: OrderedDict[Hashable, tuple[tuple[object, ...], V]] = OrderedDict()

    def get(self, key: Hashable, made_of: tuple[object, ...], render: Callable[[], V]) -> V:
        """The part of a key; rendered anew where one of the objects in ``made_of`` is another."""
        kept = self._parts.get(key)
        if kept is None or not all(map(_is_same, kept[0], made_of)):
            kept = made_of, render()
            self._parts[key] = kept
        self._parts.move_to_end(key)
        if len(self._parts) > self._most:
            self._parts.popitem(last=False)
        return kept[1]


def _is_same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, str) and one == other)


PARTS: web.AppKey[KeptParts[Markup]] = web.AppKey("parts", KeptParts)
PAGES: web.AppKey[KeptParts[Any]] = web.AppKey("pages", KeptParts)
