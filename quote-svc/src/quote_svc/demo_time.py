"""The demo exchange's calendar, and its accelerated time as a function of running seconds."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quote_svc.market import SESSIONS_AHEAD, Ahead, Ints, Session, date_of, epoch_day

EXCHANGE_CODE = "XDEM"
PAST_SESSIONS = 1500
TICKS = 390  # minutes of a session
HALF_DAY_TICKS = 210
# Session 0; it makes the first live one, number 1,500, that of Monday 2026-01-05.
_FIRST_DATE = date(2020, 3, 30)
_OPEN = time(9, 30, tzinfo=UTC)
_DAY = 86_400
_CLOSE_SECONDS = 16 * 3_600
_HALF_DAY_CLOSE_SECONDS = 13 * 3_600


@dataclass(frozen=True)
class DemoPace:
    """How long a session, and what lies between two of them, take in real seconds.

    Half-days take as long as others; weekends and holidays no longer than a night.
    """

    session_seconds: float
    night_seconds: float


@dataclass(frozen=True)
class DemoInstant:
    """Where the exchange is: in `next_session` if `is_open`, else in the night before it."""

    market_time: datetime
    next_session: int
    is_open: bool
    next_change_in: timedelta


def holiday(year: int) -> date:
    """The one weekday of the year without a session: the second Monday of February."""
    eighth = date(year, 2, 8)
    return eighth + timedelta(days=-eighth.weekday() % 7)


def half_day(year: int) -> date:
    """The one session of the year that ends at 13:00: the Friday before the holiday."""
    return holiday(year) - timedelta(days=3)


@lru_cache(maxsize=4096)
def session(index: int) -> Session:
    """The session with this index, from 0."""
    day = _session_date(index)
    close = datetime.fromtimestamp(int(close_seconds(np.array([epoch_day(day)]))[0]), UTC)
    return Session(day, datetime.combine(day, _OPEN), close)


def ticks_of(index: int) -> int:
    """The minutes of the session with this index."""
    day = _session_date(index)
    return HALF_DAY_TICKS if day == half_day(day.year) else TICKS


def session_days(first: int, count: int) -> Ints:
    """The days of `count` sessions from index `first` on, since 1970-01-01."""
    begin, end = _session_date(first), _session_date(first + count)
    candidates: Ints = np.arange(epoch_day(begin), epoch_day(end), dtype=np.int64)
    holidays = [holiday(year) for year in range(begin.year, end.year + 1)]
    dates = candidates.astype("datetime64[D]")
    return candidates[np.is_busday(dates, holidays=np.array(holidays, "datetime64[D]"))]


@lru_cache(maxsize=16)
def ahead(index: int) -> Ahead:
    """The session with this index and those that follow it; the calendar knows them all."""
    days = session_days(index, SESSIONS_AHEAD).tolist()
    return Ahead(tuple(days), known=len(days))


def close_seconds(days: Ints) -> Ints:
    """The instants at which the sessions of `days` close, in seconds since the epoch."""
    if len(days) == 0:
        return days
    years = range(date_of(int(days[0])).year, date_of(int(days[-1])).year + 1)
    is_half: NDArray[np.bool_] = np.isin(days, [epoch_day(half_day(year)) for year in years])
    return days * _DAY + np.where(is_half, _HALF_DAY_CLOSE_SECONDS, _CLOSE_SECONDS)


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


def coming_close(elapsed: float, pace: DemoPace) -> float:
    """The running seconds of the first close after `elapsed`."""
    cycles, _ = divmod(elapsed, pace.session_seconds + pace.night_seconds)
    return _begin(int(cycles) + 1, pace)


def at_pace(elapsed: float, old: DemoPace, new: DemoPace) -> float:
    """The running seconds at which the new pace has the instant that the old one has."""
    if old == new:
        return elapsed
    cycles, phase = divmod(elapsed, old.session_seconds + old.night_seconds)
    begin = _begin(int(cycles), new)
    if phase == 0:
        return begin
    begin += 1e-6  # a hair ahead, so that rounding takes nothing back
    if phase < old.night_seconds:
        return begin + phase / old.night_seconds * new.night_seconds
    passed = (phase - old.night_seconds) / old.session_seconds
    return begin + new.night_seconds + passed * new.session_seconds


def _begin(cycles: int, pace: DemoPace) -> float:
    """The running seconds at which so many sessions have closed, rounded to no less."""
    cycle = pace.session_seconds + pace.night_seconds
    begin = cycles * cycle
    while begin // cycle < cycles:
        begin = math.nextafter(begin, math.inf)
    return begin


def _session_date(index: int) -> date:
    weekdays, holidays = index, 0
    while True:
        weeks, days = divmod(weekdays, 5)
        day = _FIRST_DATE + timedelta(weeks=weeks, days=days)
        passed = day.year - _FIRST_DATE.year - (day < holiday(day.year))
        if passed <= holidays:
            return day
        weekdays, holidays = weekdays + passed - holidays, passed
