"""Holding, stepping and running the clock of a market that has one of its own."""

from typing import Protocol


class ClockRefused(Exception):  # noqa: N818 - the base of two reasons
    """What the clock cannot do, in a sentence for people."""

    reason: str


class ClockStandsStill(ClockRefused):
    """The clock has no time of its own and cannot run."""

    reason = "CLOCK_STANDS_STILL"


class NoSessionsLeft(ClockRefused):
    """There are fewer sessions ahead than were to be stepped."""

    reason = "NO_SESSIONS_LEFT"


class ClockRunsElsewhere(ClockRefused):
    """Another replica runs the clock, and only that one can hold or step it."""

    reason = "CLOCK_RUNS_ELSEWHERE"

    def __init__(self) -> None:
        super().__init__("another replica runs the market's clock; ask that one")


class ClockControl(Protocol):
    """What can be done to a market's clock; raises ClockRefused."""

    async def hold(self) -> None:
        """Stop it where it is, until `run`."""
        ...

    async def step(self, sessions: int) -> None:
        """Stop it at the close of the session so many closes from now, until `run`."""
        ...

    async def run(self) -> None:
        """Let it run."""
        ...
