"""What can be done to the demo market's clock."""

from quote_svc.demo_market import DemoMarket
from quote_svc.demo_time import DemoPace, coming_close
from quote_svc.running_clock import RunningClock
from quote_svc.shared_clock import SharedClock


class DemoClockControl:
    """A `ClockControl` of the demo market; what it does outlasts the process."""

    def __init__(
        self, market: DemoMarket, clock: RunningClock | SharedClock, pace: DemoPace
    ) -> None:
        self._market = market
        self._clock = clock
        self._pace = pace

    async def hold(self) -> None:
        """See `ClockControl`."""
        await self._clock.hold()

    async def step(self, sessions: int) -> None:
        """See `ClockControl`; every close on the way is shown for a moment."""

        def closes(elapsed: float) -> list[float]:
            ahead = [coming_close(elapsed, self._pace)]
            while len(ahead) < sessions:
                ahead.append(coming_close(ahead[-1], self._pace))
            return ahead

        await self._clock.step(closes, self._market.catch_up)

    async def run(self) -> None:
        """See `ClockControl`."""
        await self._clock.run()
