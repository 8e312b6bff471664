"""The clock that never goes back, whatever ends the process."""

import pytest

from quote_svc.running_clock import RESERVE_SECONDS, RunningClock


class Store:
    """Keeps what was saved last; can be made to fail."""

    def __init__(self) -> None:
        self.saved = 0.0
        self.broken = False

    async def save(self, elapsed: float) -> None:
        if self.broken:
            raise OSError("disk full")
        self.saved = elapsed


class Wall:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def store() -> Store:
    return Store()


async def test_it_runs_from_where_it_starts(wall: Wall, store: Store) -> None:
    clock = RunningClock(100, wall, store)
    wall.now += 3
    assert clock.elapsed() == 100  # not started yet
    await clock.start()
    assert clock.elapsed() == 100
    wall.now += 4
    assert clock.elapsed() == 104


async def test_a_killed_process_takes_nothing_back(wall: Wall, store: Store) -> None:
    start = 0.0
    shown = 0.0
    for life in range(20):
        clock = RunningClock(start, wall, store)
        await clock.start()
        for _ in range(life):
            assert clock.elapsed() >= shown
            wall.now += 4.9
            shown = clock.elapsed()
            await clock.reserve()
        wall.now += 30  # longer than the reserve lasts
        shown = clock.elapsed()
        # Killed: nothing more is stored, and the next life reads what is.
        assert store.saved >= shown
        assert store.saved <= shown + RESERVE_SECONDS
        start = store.saved


async def test_a_clean_stop_is_exact_and_final(wall: Wall, store: Store) -> None:
    clock = RunningClock(0, wall, store)
    await clock.start()
    wall.now += 2.5
    await clock.stop()
    assert store.saved == 2.5
    wall.now += 100
    assert clock.elapsed() == 2.5


async def test_it_stands_still_at_what_is_stored(wall: Wall, store: Store) -> None:
    clock = RunningClock(0, wall, store)
    await clock.start()
    store.broken = True
    wall.now += 60
    with pytest.raises(OSError, match="disk full"):
        await clock.reserve()
    assert clock.elapsed() == store.saved == RESERVE_SECONDS
    store.broken = False
    await clock.reserve()
    assert clock.elapsed() == 60
