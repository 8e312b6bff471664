"""The demo exchange's calendar, and its accelerated time as a function of running seconds."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from quote_svc.market import Ints, Session, epoch_day

EXCHANGE_CODE = "XDEM"
# Session 0. Every weekday is a session, so that the first live one is of Monday 2026-01-05.
_FIRST_DATE = date(2020, 4, 6)
PAST_SESSIONS = 1500
_OPEN, _CLOSE = time(9, 30, tzinfo=UTC), time(16, 0, tzinfo=UTC)


@dataclass(frozen=True)
class DemoPace:
    """How long a session, and what lies between two of them, take in real seconds."""

    session_seconds: float
    night_seconds: float


@dataclass(frozen=True)
class DemoInstant:
    """Where the exchange is: in `next_session` if `is_open`, else in the night before it."""

    market_time: datetime
    next_session: int
    is_open: bool
    next_change_in: timedelta


def session(index: int) -> Session:
    """The session with this index, from 0."""
    weeks, weekday = divmod(index, 5)
    day = _FIRST_DATE + timedelta(weeks=weeks, days=weekday)
    return Session(day, datetime.combine(day, _OPEN), datetime.combine(day, _CLOSE))


def session_days(first: int, count: int) -> Ints:
    """The days of `count` sessions from index `first` on, since 1970-01-01."""
    weeks, weekdays = np.divmod(np.arange(first, first + count), 5)
    days: Ints = epoch_day(_FIRST_DATE) + 7 * weeks + weekdays
    return days


def close_seconds(days: Ints) -> Ints:
    """The instants at which the sessions of `days` close, in seconds since the epoch."""
    return days * 86_400 + _CLOSE.hour * 3_600


def instant(elapsed: float, pace: DemoPace) -> DemoInstant:
    """The instant that it is on the exchange after it ran for `elapsed` real seconds.

    It begins at the close of the last past session, and never goes back as `elapsed` grows.
    """
    cycles, phase = divmod(elapsed, pace.session_seconds + pace.night_seconds)
    index = PAST_SESSIONS + int(cycles)
    coming = session(index)
    is_open = phase >= pace.night_seconds
    if is_open:
        begin, end = coming.open_time, coming.close_time
        passed, whole = phase - pace.night_seconds, pace.session_seconds
    else:
        begin, end = session(index - 1).close_time, coming.open_time
        passed, whole = phase, pace.night_seconds
    # Rounding must not reach the end: a session is open until the instant of its close.
    span = (end - begin) // timedelta(microseconds=1)
    microseconds = min(int(passed / whole * span), span - 1)
    return DemoInstant(
        market_time=begin + timedelta(microseconds=microseconds),
        next_session=index,
        is_open=is_open,
        # Rounded up, so that whoever waits for it wakes after the change.
        next_change_in=timedelta(milliseconds=max(math.ceil((whole - passed) * 1000), 1)),
    )


def at_pace(elapsed: float, old: DemoPace, new: DemoPace) -> float:
    """The running seconds at which the new pace has the instant that the old one has."""
    if old == new:
        return elapsed
    cycles, phase = divmod(elapsed, old.session_seconds + old.night_seconds)
    # A hair ahead, so that rounding takes nothing back, least of all a close.
    begin = cycles * (new.session_seconds + new.night_seconds) + 1e-6
    if phase < old.night_seconds:
        return begin + phase / old.night_seconds * new.night_seconds
    passed = (phase - old.night_seconds) / old.session_seconds
    return begin + new.night_seconds + passed * new.session_seconds
