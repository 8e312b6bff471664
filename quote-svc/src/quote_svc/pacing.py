"""How often, and whether at all, an upstream may be asked. Pure: the caller brings the time.

Neither class locks: who shares one between threads holds a lock around each call.
"""

from dataclasses import dataclass
from enum import Enum, auto


class TokenBucket:
    """At most `rate` calls a second in the long run, and at most `burst` of them at once."""

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a bucket needs a rate above 0 and a burst of at least 1")
        self._interval = 1 / rate
        self._slack = (burst - 1) * self._interval
        self._next = float("-inf")  # when the next call is due if none had been saved up

    def reserve(self, now: float) -> float:
        """Takes a token; the seconds to wait before it may be used. Never refuses."""
        due = max(self._next, now - self._slack)
        self._next = due + self._interval
        return max(0.0, due - now)


class Trouble(Enum):
    """Why an upstream is left alone."""

    RATE_LIMITED = auto()
    UNREACHABLE = auto()


@dataclass(frozen=True)
class Refusal:
    """No call now: why, and for how many seconds still."""

    trouble: Trouble
    seconds: float


class CircuitBreaker:
    """Stops asking an upstream that fails, and tries it with single calls until it answers.

    It opens at once when told to slow down, and after `failures` failures in a row. After
    `pause` seconds one call is let through: if that fails the pause doubles, up to `cap`.
    """

    def __init__(self, failures: int = 5, pause: float = 10, cap: float = 300) -> None:
        self._failures_allowed = failures
        self._first_pause = pause
        self._cap = cap
        self._failures = 0
        self._pause = pause
        self._until: float | None = None
        self._trouble = Trouble.UNREACHABLE
        self._probing = False
        self._period = 0

    def refusal(self, now: float) -> Refusal | None:
        """Why a call would be refused now, without asking for one; None if it would not be."""
        if self._until is None or (now >= self._until and not self._probing):
            return None
        return Refusal(self._trouble, max(0.0, self._until - now))

    def admit(self, now: float) -> int | Refusal:
        """Leave for one call: a ticket to report its outcome with, or why there is none."""
        refused = self.refusal(now)
        if refused is not None:
            return refused
        self._probing = self._until is not None
        return self._period

    def succeeded(self, ticket: int) -> None:
        """The upstream answered."""
        if ticket == self._period:  # an answer to a call from before it opened proves nothing
            self._failures = 0
            if self._until is not None:
                self._until, self._pause, self._probing = None, self._first_pause, False
                self._period += 1

    def failed(self, ticket: int, now: float) -> None:
        """The upstream could not be reached, or answered what no upstream should."""
        if ticket != self._period:
            return
        self._failures += 1
        if self._until is not None or self._failures >= self._failures_allowed:
            self._open(Trouble.UNREACHABLE, now, self._pause)

    def rate_limited(self, ticket: int, now: float, retry_after: float | None = None) -> None:
        """The upstream asked to be left alone, for `retry_after` seconds if it said so."""
        asked = min(retry_after or 0.0, 3600.0)
        if ticket == self._period:
            self._open(Trouble.RATE_LIMITED, now, max(self._pause, asked))
        elif self._until is not None:
            self._until = max(self._until, now + asked)

    def _open(self, trouble: Trouble, now: float, pause: float) -> None:
        self._until = now + pause
        self._pause = min(self._pause * 2, self._cap)
        self._trouble = trouble
        self._failures = 0
        self._probing = False
        self._period += 1
