"""The clock that never goes back, whatever ends the process."""

import pytest

from quote_svc.running_clock import RESERVE_SECONDS, ClockState, RunningClock


class Store:
    """Keeps what was saved last; can be made to fail."""

    def __init__(self) -> None:
        self.state = ClockState(0.0)
        self.broken = False

    async def save(self, state: ClockState, ahead: float = 0.0) -> None:
        if self.broken:
            raise OSError("disk full")
        self.state = state

    @property
    def saved(self) -> float:
        return self.state.elapsed


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
    clock = RunningClock(ClockState(100), wall, store)
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
        clock = RunningClock(ClockState(start), wall, store)
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
    clock = RunningClock(ClockState(0), wall, store)
    await clock.start()
    wall.now += 2.5
    await clock.stop()
    assert store.saved == 2.5
    wall.now += 100
    assert clock.elapsed() == 2.5


async def test_it_stands_still_at_what_is_stored(wall: Wall, store: Store) -> None:
    clock = RunningClock(ClockState(0), wall, store)
    await clock.start()
    store.broken = True
    wall.now += 60
    with pytest.raises(OSError, match="disk full"):
        await clock.reserve()
    assert clock.elapsed() == store.saved == RESERVE_SECONDS
    store.broken = False
    await clock.reserve()
    assert clock.elapsed() == 60


async def test_held_it_stands_until_it_runs(wall: Wall, store: Store) -> None:
    clock = RunningClock(ClockState(0), wall, store)
    await clock.start()
    wall.now += 3
    await clock.hold()
    assert clock.is_held()
    assert store.state == (3, True)
    wall.now += 1000
    await clock.reserve()
    await clock.hold()
    assert clock.elapsed() == 3
    assert store.state == (3, True)
    await clock.run()
    assert not clock.is_held()
    assert clock.elapsed() == 3
    wall.now += 4
    await clock.reserve()
    await clock.run()  # as it does already
    wall.now += 4
    assert clock.elapsed() == 11
    assert not store.state.held
    assert store.saved >= 11


async def test_held_it_starts_and_stops_held(wall: Wall, store: Store) -> None:
    clock = RunningClock(ClockState(70, held=True), wall, store)
    await clock.start()
    wall.now += 50
    assert clock.elapsed() == 70
    assert clock.is_held()
    await clock.stop()
    assert store.state == (70, True)


async def test_a_step_shows_each_instant_and_stands_at_the_last(wall: Wall, store: Store) -> None:
    clock = RunningClock(ClockState(0), wall, store)
    await clock.start()
    wall.now += 5
    seen: list[tuple[float, float]] = []
    await clock.step(
        lambda now: [now + 10, now + 20, now + 30],
        lambda: seen.append((clock.elapsed(), store.saved)),
    )
    # What is stored is the last from the beginning: a process killed half-way takes none back.
    assert seen == [(5, 35), (15, 35), (25, 35), (35, 35)]
    wall.now += 100
    assert (clock.elapsed(), clock.is_held()) == (35, True)
    assert store.state == (35, True)


async def test_a_step_that_cannot_be_stored_is_none(wall: Wall, store: Store) -> None:
    clock = RunningClock(ClockState(0), wall, store)
    await clock.start()
    wall.now += 5
    store.broken = True
    with pytest.raises(OSError, match="disk full"):
        await clock.step(lambda now: [now + 10], lambda: None)
    assert clock.elapsed() == 5
    assert not clock.is_held()
    store.broken = False
    await clock.reserve()
    wall.now += 1
    assert clock.elapsed() == 6
