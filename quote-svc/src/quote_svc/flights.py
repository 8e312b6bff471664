"""Fetches under way: one a symbol, however many wait for it, and people's before the others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from quote_svc.market import SymbolUnavailable

_log = logging.getLogger("foretick.quote.store")


class Flights:
    """Runs `fetch` for symbols; no more than `most` at a time of those that people wait for."""

    def __init__(self, fetch: Callable[[str], Awaitable[None]], most: int) -> None:
        self._fetch = fetch
        self._slots = asyncio.Semaphore(most)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._urgent: set[str] = set()

    @property
    def urgent(self) -> bool:
        """Whether anybody waits for a fetch."""
        return bool(self._urgent)

    def start(self, symbol: str, *, urgent: bool) -> "asyncio.Task[None]":
        """The fetch of `symbol`, started unless it is under way."""
        if symbol not in self._tasks:
            work = self._in_turn(symbol) if urgent else self._at_once(symbol)
            task = asyncio.create_task(work, name=f"fetch {symbol}")
            task.add_done_callback(lambda done: self._landed(symbol, done))
            self._tasks[symbol] = task
        if urgent:
            self._urgent.add(symbol)
        return self._tasks[symbol]

    async def stop(self) -> None:
        """Break off everything."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _in_turn(self, symbol: str) -> None:
        async with self._slots:
            await self._fetch(symbol)

    async def _at_once(self, symbol: str) -> None:
        await self._fetch(symbol)

    def _landed(self, symbol: str, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(symbol, None)
        self._urgent.discard(symbol)
        if task.cancelled():
            return
        failure = task.exception()  # whoever waits is told; but nobody need wait
        if failure is not None and not isinstance(failure, SymbolUnavailable):
            _log.error("%s could not be fetched", symbol, exc_info=failure)


async def all_done(tasks: Iterable["asyncio.Task[None]"], patience: Awaitable[None]) -> None:
    """Wait until every task is done or `patience` is over; the tasks go on either way."""
    pending = [task for task in tasks if not task.done()]
    limit = asyncio.ensure_future(patience)
    try:
        if pending:
            everything = asyncio.ensure_future(asyncio.wait(pending))
            try:
                await asyncio.wait({everything, limit}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                everything.cancel()
    finally:
        limit.cancel()
