"""A clock of real seconds that runs only while the service does and never goes back."""

from collections.abc import Callable
from typing import Protocol

RESERVE_SECONDS = 10.0
RESERVE_EVERY_SECONDS = 5.0


class ElapsedStore(Protocol):
    """Where running seconds outlast the process."""

    async def save(self, elapsed: float) -> None:
        """Keep `elapsed` durably before returning."""
        ...


class RunningClock:
    """Seconds that the market has run in all, over every run of the service.

    What is stored lies ahead of what is shown, and no more is shown than is stored: whenever
    the process is killed, the next run starts at or after the last instant that anyone saw.
    """

    def __init__(self, start: float, wall: Callable[[], float], store: ElapsedStore) -> None:
        """Stand at `start` seconds until started; `wall` is a monotonic clock in seconds."""
        self._start = start
        self._wall = wall
        self._wall_start = wall()
        self._store = store
        self._reserved = start

    def elapsed(self) -> float:
        """Running seconds; stands still where the reserve could not be extended in time."""
        return min(self._start + self._wall() - self._wall_start, self._reserved)

    async def start(self) -> None:
        """Begin to run."""
        self._wall_start = self._wall()
        await self.reserve()

    async def reserve(self) -> None:
        """Store an instant ahead, then allow the clock to run up to it."""
        ahead = self._start + self._wall() - self._wall_start + RESERVE_SECONDS
        await self._store.save(ahead)
        self._reserved = ahead

    async def stop(self) -> None:
        """Stand still for good and store the exact instant."""
        self._reserved = self.elapsed()
        await self._store.save(self._reserved)
