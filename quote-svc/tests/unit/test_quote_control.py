"""The demo market's clock: held, stepped, and run on."""

from datetime import UTC, datetime

import pytest

from quote_svc.control import ClockControl
from quote_svc.demo_clock import DemoClockControl
from quote_svc.demo_market import DemoMarket
from quote_svc.demo_time import PAST_SESSIONS, DemoPace, at_pace, session
from quote_svc.market import SessionState
from quote_svc.running_clock import ClockState, RunningClock

PACE = DemoPace(120, 15)


class Run:
    """A demo market whose clock is kept in memory, over any number of lives."""

    def __init__(self) -> None:
        self.now = 500.0
        self.state = ClockState(0.0)
        self.pace = PACE

    async def save(self, state: ClockState, ahead: float = 0.0) -> None:
        self.state = state

    async def live(self, pace: DemoPace = PACE) -> None:
        """Begin a life of the process."""
        elapsed, held = self.state
        self.state = ClockState(at_pace(elapsed, self.pace, pace), held)
        self.pace = pace
        self.clock = RunningClock(self.state, lambda: self.now, self)
        self.market = DemoMarket(7, pace, self.clock.elapsed, self.clock.is_held)
        self.control: ClockControl = DemoClockControl(self.market, self.clock, pace)
        await self.clock.start()

    async def market_time(self) -> datetime:
        return (await self.market.clock()).market_time


@pytest.fixture
async def run(shared_past: None) -> Run:
    started = Run()
    await started.live()
    return started


async def test_hold_and_run(run: Run) -> None:
    run.now += 3
    await run.clock.reserve()
    await run.control.hold()
    held = await run.market_time()
    run.now += 1000
    clock = await run.market.clock()
    assert (clock.market_time, clock.next_change_in) == (held, None)
    await run.control.run()
    assert await run.market_time() == held
    run.now += 3
    clock = await run.market.clock()
    assert clock.market_time > held
    assert clock.next_change_in is not None
    assert clock.next_change_in.total_seconds() == 9


@pytest.mark.parametrize(("passed", "steps"), [(0, 1), (15, 1), (100, 3)])
async def test_a_step_stands_exactly_at_a_close(run: Run, passed: float, steps: int) -> None:
    run.now += passed
    await run.clock.reserve()
    await run.control.step(steps)
    clock = await run.market.clock()
    last = session(PAST_SESSIONS + steps - 1)
    assert clock.market_time == last.close_time
    assert clock.exchanges[0].state is SessionState.CLOSED
    assert clock.exchanges[0].last_session == last
    assert clock.next_change_in is None
    run.now += 5000
    assert await run.market_time() == last.close_time
    await run.control.run()
    run.now += 7.5  # half the night
    assert (await run.market_time()).date() > last.session_date


async def test_it_is_kept_when_the_process_ends(run: Run) -> None:
    await run.control.step(2)
    stepped = await run.market_time()
    run.now += 400
    await run.live()  # after a kill
    run.now += 400
    assert await run.market_time() == stepped
    await run.clock.stop()
    await run.live()  # after a clean stop
    assert await run.market_time() == stepped
    await run.control.step(1)
    assert await run.market_time() == session(PAST_SESSIONS + 2).close_time
    await run.control.run()
    run.now += 6
    running = await run.market_time()
    await run.live()  # and what runs goes on running
    assert await run.market_time() >= running
    assert (await run.market.clock()).next_change_in is not None


async def test_a_held_close_stays_one_at_another_pace(run: Run) -> None:
    await run.control.step(3)
    stepped = await run.market_time()
    await run.live(DemoPace(2.3, 1.7))
    assert await run.market_time() == stepped
    await run.control.step(1)
    assert await run.market_time() == session(PAST_SESSIONS + 3).close_time


async def test_steps_cross_the_half_day_and_the_holiday(run: Run) -> None:
    await run.control.step(25)
    assert await run.market_time() == datetime(2026, 2, 6, 13, tzinfo=UTC)
    await run.control.step(1)
    assert await run.market_time() == datetime(2026, 2, 10, 16, tzinfo=UTC)
