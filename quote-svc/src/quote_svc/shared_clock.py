"""The clock of a market that several replicas show and one of them runs."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from quote_svc.clock_store import ClockRow, ClockStore
from quote_svc.control import ClockRunsElsewhere
from quote_svc.running_clock import ClockState, RunningClock

_log = logging.getLogger("foretick.quote")


class SharedClock:
    """Running seconds of the market: run here for as long as that is allowed, else as stored.

    What is shown never goes back, and never beyond what is stored.
    """

    def __init__(
        self,
        store: ClockStore,
        row: ClockRow,
        wall: Callable[[], float],
        epoch: Callable[[], float] = time.time,
    ) -> None:
        """`row` is what `store` holds; `wall` is a monotonic clock, `epoch` one since 1970."""
        self._store = store
        self._row = row
        self._wall = wall
        self._epoch = epoch
        self._running: RunningClock | None = None
        self._shown = 0.0

    def elapsed(self) -> float:
        """Running seconds."""
        here = self._running
        now = self._row.elapsed(self._epoch()) if here is None else here.elapsed()
        self._shown = max(self._shown, now)
        return self._shown

    def is_held(self) -> bool:
        """Whether it stands still until `run`."""
        return self._row.state.held if self._running is None else self._running.is_held()

    async def look(self) -> None:
        """See what is stored now, unless it is run here."""
        if self._running is None:
            self._row = await self._store.load()

    async def reserve(self) -> None:
        """See `RunningClock`."""
        await self._here().reserve()

    async def hold(self) -> None:
        """See `RunningClock`; this and what follows raise ClockRunsElsewhere."""
        with _fenced():
            await self._here().hold()

    async def step(
        self, instants: Callable[[float], Sequence[float]], passed: Callable[[], object]
    ) -> None:
        """See `RunningClock`."""
        with _fenced():
            await self._here().step(instants, passed)

    async def run(self) -> None:
        """See `RunningClock`."""
        with _fenced():
            await self._here().run()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the clock here while this is entered, on from the latest instant shown anywhere."""
        await self.look()
        latest = self._row.latest()
        start = ClockState(max(latest.elapsed, self._shown), latest.held)
        here = RunningClock(start, self._wall, self._store)
        await here.start()
        self._running = here
        try:
            yield
        finally:
            try:
                await here.stop()
                self._row = await self._store.load()
            except (DatabaseUnavailableError, LeaseLostError):
                _log.warning("where the clock stopped could not be stored; it may skip seconds")
            self.elapsed()
            self._running = None

    def _here(self) -> RunningClock:
        if self._running is None:
            raise ClockRunsElsewhere
        return self._running


@contextmanager
def _fenced() -> Iterator[None]:
    try:
        yield
    except LeaseLostError as error:
        raise ClockRunsElsewhere from error
