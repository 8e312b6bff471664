"""A clock of real seconds that runs only while the service does and never goes back."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

RESERVE_SECONDS = 10.0
RESERVE_EVERY_SECONDS = 5.0


class ClockState(NamedTuple):
    """What outlasts the process: running seconds, and whether the clock is held there."""

    elapsed: float
    held: bool = False


class ClockStateStore(Protocol):
    """Where the clock's state outlasts the process."""

    async def save(self, state: ClockState, ahead: float = 0.0) -> None:
        """Keep `state`, which lies so many seconds ahead of now, durably before returning."""
        ...


class RunningClock:
    """Seconds that the market has run in all, over every run of the service.

    What is stored lies ahead of what is shown, and no more is shown than is stored: whenever
    the process is killed, the next run starts at or after the last instant that anyone saw.
    """

    def __init__(
        self, start: ClockState, wall: Callable[[], float], store: ClockStateStore
    ) -> None:
        """Stand at `start` until started; `wall` is a monotonic clock in seconds."""
        self._start = start.elapsed
        self._held = start.held
        self._wall = wall
        self._wall_start = wall()
        self._store = store
        self._reserved = start.elapsed
        self._changing = asyncio.Lock()

    def elapsed(self) -> float:
        """Running seconds; stands still where the reserve could not be extended in time."""
        return min(self._start + self._wall() - self._wall_start, self._reserved)

    def is_held(self) -> bool:
        """Whether it stands still until `run`."""
        return self._held

    async def start(self) -> None:
        """Begin to run, unless it is held."""
        self._wall_start = self._wall()
        await self.reserve()

    async def reserve(self) -> None:
        """Store an instant ahead, then allow the clock to run up to it; held, it stays."""
        async with self._changing:
            if not self._held:
                await self._reserve()

    async def hold(self) -> None:
        """Stand still until `run`."""
        async with self._changing:
            await self._stand((), lambda: None)

    async def step(
        self, instants: Callable[[float], Sequence[float]], passed: Callable[[], object]
    ) -> None:
        """Move through instants that follow the one it is at, and stand at the last until `run`.

        `instants` returns them, in order, for the running seconds it is given; `passed` is
        called at each of them, and may take a while: others have their turn in between.
        """
        async with self._changing:
            await self._stand(instants(self._pause()), passed)

    async def run(self) -> None:
        """Run on from where it stands."""
        async with self._changing:
            if self._held:
                await self._store.save(ClockState(self._start + RESERVE_SECONDS), RESERVE_SECONDS)
                self._held = False
                self._wall_start = self._wall()
                self._reserved = self._start + RESERVE_SECONDS

    async def stop(self) -> None:
        """Stand still for good and store the exact instant."""
        async with self._changing:
            await self._store.save(ClockState(self._pause(), self._held))

    def _pause(self) -> float:
        """Stop at the instant that is shown, and return it."""
        self._reserved = self.elapsed()
        return self._reserved

    async def _reserve(self) -> None:
        ahead = self._start + self._wall() - self._wall_start + RESERVE_SECONDS
        await self._store.save(ClockState(ahead), RESERVE_SECONDS)
        self._reserved = ahead

    async def _stand(self, instants: Sequence[float], passed: Callable[[], object]) -> None:
        begin = self._pause()
        await self._store.save(ClockState(instants[-1] if instants else begin, held=True))
        self._held = True
        for instant in (begin, *instants):
            self._start = self._reserved = instant
            passed()
            await asyncio.sleep(0)
