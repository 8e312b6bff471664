"""What keeps the board up to date: streams of changes from one service, and their mending."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from gateway.board import Board, Side
from gateway.model import Reason
from gateway.problems import RequestError, late_error

A = TypeVar("A")
Watch = Callable[[Sequence[str]], AsyncIterator[A]]
Take = Callable[..., None]

MOST_SYMBOLS = 500  # that the contracts take at once
# New symbols wait for each other when so many streams are still to answer for the first time.
MOST_OPENING = 4
# So many streams that are half empty become one.
MOST_SMALL = 4
FIRST_ANSWER_SECONDS = 6.0
# A replica that is replaced ends its streams: the next one is asked at once.
SOON_SECONDS = 0.05
PAUSE_SECONDS = 0.4
TIDY_SECONDS = 30.0


@dataclass(eq=False, slots=True)
class _Shard:
    """One stream: its symbols, whether it has answered, and the streams that it makes needless."""

    symbols: Sequence[str]
    replaces: Sequence["_Shard"] = ()
    is_ready: bool = False
    task: asyncio.Task[None] | None = None


@dataclass(eq=False)
class Feed(Generic[A]):
    """Watches every symbol of the board at one service.

    ``watch`` yields first the answers for all symbols, then what changed; ``take`` puts them on
    the board. The first message of a stream is also what fetches a symbol.
    """

    board: Board
    side: Side
    watch: Watch[A]
    take: Take
    pause: Callable[[float], float] = field(default=lambda most: random.uniform(most / 2, most))  # noqa: S311 - no secret
    _shards: set[_Shard] = field(default_factory=set)
    _waiting: dict[str, None] = field(default_factory=dict)
    _failing: set[_Shard] = field(default_factory=set)

    def want(self, symbols: Sequence[str]) -> None:
        """Watch these as well, from now on."""
        self._waiting.update(dict.fromkeys(symbols))
        self._open()

    @property
    def is_watching(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._shards)

    async def run(self) -> None:
        """Let go of what the board has let go of, until cancelled; then end all streams."""
        try:
            while True:
                await asyncio.sleep(TIDY_SECONDS)
                self.board.forget_unseen()
                self.tidy()
        finally:
            for shard in list(self._shards):
                self._end(shard)

    def _open(self) -> None:
        opening = sum(not shard.is_ready and not shard.replaces for shard in self._shards)
        # While the service is away the streams that are there find out when it is back.
        while self._waiting and opening < MOST_OPENING:
            symbols = list(islice(self._waiting, MOST_SYMBOLS))
            for symbol in symbols:
                del self._waiting[symbol]
            self._start(_Shard(symbols))
            opening += 1

    def _start(self, shard: _Shard) -> None:
        self._shards.add(shard)
        shard.task = asyncio.create_task(self._follow(shard))

    def _end(self, shard: _Shard) -> None:
        self._shards.discard(shard)
        self._works(shard)
        if shard.task is not None:
            shard.task.cancel()

    async def _follow(self, shard: _Shard) -> None:
        failures = 0
        while True:
            try:
                async for answer in self._answers(shard.symbols):
                    # What was told before a break may have a higher version, and be wrong now.
                    self.take(answer, overrule=failures > 0)
                    failures = 0
                    self._works(shard)
                    if not shard.is_ready:
                        self._ready(shard)
            except RequestError as error:
                if failures or not shard.is_ready:
                    self._fails(shard, Reason(error.reason, error.message))
            failures += 1
            await asyncio.sleep(self.pause(SOON_SECONDS if failures == 1 else PAUSE_SECONDS))

    async def _answers(self, symbols: Sequence[str]) -> AsyncIterator[A]:
        answers = aiter(self.watch(symbols))
        try:
            yield await asyncio.wait_for(anext(answers), FIRST_ANSWER_SECONDS)
        except TimeoutError as error:
            raise late_error(self.side.service) from error
        except StopAsyncIteration:
            return
        async for answer in answers:
            yield answer

    def _ready(self, shard: _Shard) -> None:
        shard.is_ready = True
        for replaced in shard.replaces:
            self._end(replaced)
        shard.replaces = ()
        self._open()
        self._merge()

    def _merge(self) -> None:
        if any(shard.replaces for shard in self._shards):
            return
        small = [
            each for each in self._shards if each.is_ready and 2 * len(each.symbols) <= MOST_SYMBOLS
        ]
        if len(small) <= MOST_SMALL:
            return
        merged: dict[str, None] = {}
        replaces = []
        for shard in sorted(small, key=lambda each: len(each.symbols)):
            wanted = [symbol for symbol in shard.symbols if symbol in self.board.entries]
            if len(merged) + len(wanted) <= MOST_SYMBOLS:
                merged.update(dict.fromkeys(wanted))
                replaces.append(shard)
        self._replace(replaces, list(merged))

    def tidy(self) -> None:
        """Let go of streams most of whose symbols the board has let go of."""
        for shard in list(self._shards):
            wanted = [symbol for symbol in shard.symbols if symbol in self.board.entries]
            if shard.is_ready and 2 * len(wanted) <= len(shard.symbols):
                self._replace([shard], wanted)

    def _replace(self, shards: Sequence[_Shard], symbols: Sequence[str]) -> None:
        if symbols:
            self._start(_Shard(symbols, shards))
        else:
            for shard in shards:
                self._end(shard)

    def _fails(self, shard: _Shard, reason: Reason) -> None:
        self._failing.add(shard)
        self.board.lost(self.side, reason)

    def _works(self, shard: _Shard) -> None:
        self._failing.discard(shard)
        if not self._failing:
            self.board.heard(self.side)
