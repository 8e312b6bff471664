"""One call for what many requests ask for together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Coalesced(Generic[K, V]):
    """Asks for a key at once if nothing is under way, else with all others in the next call.

    So an answer is never older than its question. ``ask`` answers keys in their order.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Sequence[V]]], most: int) -> None:
        self._ask = ask
        self._most = most
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._flight: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """The answer for a key; raises what the call raises."""
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        return await answer

    async def _fly(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._answer(batch)
        finally:
            self._flight = None

    async def _answer(self, batch: list[tuple[K, asyncio.Future[V]]]) -> None:
        try:
            values = await self._ask([key for key, _ in batch])
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), value in zip(batch, values, strict=True):
            # Who asked may have gone away.
            if not answer.done():
                answer.set_result(value)
