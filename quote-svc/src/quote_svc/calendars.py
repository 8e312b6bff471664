"""Sessions of real exchanges; the only module that imports exchange_calendars (and so pandas).

What a session is:
* On an exchange: from the first open to the last close of its day. A lunch break (Tokyo, Hong
  Kong, Shanghai, …) is part of the session, so the exchange counts as open during it.
* Crypto: a UTC day, every day, from 00:00 to 24:00 UTC.
* FX: a day of London, Monday to Friday, from midnight to midnight in London; these are the daily
  bars and regular hours that Yahoo gives for currencies. The last hours of Sunday, before London's
  midnight, belong to no session, and neither does any holiday: banks are closed, prices are made.
* Futures: the exchange's trade date, which begins in the evening of the day before.
* Funds: the days of their exchange, from its open to its close, though priced once, in the evening.
"""

import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import exchange_calendars
import numpy as np
from exchange_calendars.errors import InvalidCalendarName
from numpy.typing import NDArray

from quote_svc.exchange_codes import CALENDARS, CRYPTO_CODE, FX_CODE, SUNDAY_TO_THURSDAY
from quote_svc.market import (
    MOST_SESSIONS,
    SESSIONS_AHEAD,
    Ahead,
    InstrumentKind,
    Ints,
    MarketUnusable,
    Session,
    date_of,
    epoch_day,
)

# No calendar is asked for days before this: building centuries of holidays takes seconds.
_EARLIEST = date(1900, 1, 1)
# Longer than any exchange ever stays shut, so that there always is a next session.
_MARGIN = timedelta(days=30)
# Time for all of the coming sessions, however many holidays lie between them.
_MARGIN_AHEAD = _MARGIN + timedelta(days=2 * SESSIONS_AHEAD)
# How many calendar years a session calendar reaches back and ahead of this one.
_YEARS_BACK, _YEARS_AHEAD = 10, 4


@dataclass(frozen=True, eq=False)
class TradingCalendar:
    """The sessions of one exchange over a span of days, in order.

    `days` are days since 1970-01-01, `opens` and `closes` seconds since the epoch; sessions
    before index `first_known` and from `first_inferred` on lie outside the days that the
    calendar knows: for them an ordinary week is assumed.
    """

    exchange_code: str
    days: Ints
    opens: Ints
    closes: Ints
    first_known: int
    first_inferred: int

    @property
    def code(self) -> str:
        """Code of the exchange, or of the group that trades around the clock."""
        return self.exchange_code

    @property
    def inferred(self) -> bool:
        """Whether no calendar is known at all."""
        return self.first_known == self.first_inferred

    def sessions(self, first: date, last: date) -> list[Session]:
        """The sessions from `first` to `last`, both included, as far as the calendar reaches."""
        begin = int(np.searchsorted(self.days, epoch_day(first)))
        end = int(np.searchsorted(self.days, epoch_day(last), side="right"))
        return [self._session(index) for index in range(begin, end)]

    def session_on(self, day: date) -> Session | None:
        """The session that the exchange dates `day`, if there is one."""
        found = self.sessions(day, day)
        return found[0] if found else None

    def next_unfinished(self, now: datetime) -> Session:
        """The first session that closes after `now`; LookupError beyond the calendar's reach."""
        return self._session(self._unfinished(now))

    def last_closed(self, now: datetime) -> Session:
        """The last session that closes at or before `now`; LookupError before the first."""
        return self._session(self._unfinished(now) - 1)

    def is_open(self, now: datetime) -> bool:
        """Whether `now` lies in a session, its open included and its close not."""
        return self.next_unfinished(now).open_time <= now

    def are_sessions(self, days: Ints) -> NDArray[np.bool_]:
        """Which of `days` are sessions."""
        return np.isin(days, self.days)

    def close_seconds(self, days: Ints) -> Ints:
        """The instants at which the sessions of `days` close, in seconds since the epoch."""
        return self.closes[np.searchsorted(self.days, days)]

    def latest(self, day: date) -> Session:
        """The latest session on or before `day`; raises LookupError where there is none."""
        index = int(np.searchsorted(self.days, epoch_day(day), side="right")) - 1
        if index < 0:
            raise LookupError(f"{self.exchange_code} has no known session up to {day}")
        return self._session(index)

    def following(self, day: date) -> Session:
        """The first session after `day`."""
        return self._session(int(np.searchsorted(self.days, epoch_day(day), side="right")))

    def opened_after(self, day: date, now: datetime) -> list[Session]:
        """The sessions after `day` that have opened by `now`, oldest first; the latest 2,000."""
        begin = int(np.searchsorted(self.days, epoch_day(day), side="right"))
        end = int(np.searchsorted(self.opens, now.timestamp(), side="right"))
        return [self._session(index) for index in range(max(begin, end - MOST_SESSIONS), end)]

    def ahead(self, day: date) -> Ahead:
        """The session of `day`, or the first after it, and those that follow it."""
        begin = int(np.searchsorted(self.days, epoch_day(day)))
        days = self.days[begin : begin + SESSIONS_AHEAD].tolist()
        known = self.first_inferred - begin if begin >= self.first_known else 0
        return Ahead(tuple(days), known=min(max(known, 0), len(days)))

    def _unfinished(self, now: datetime) -> int:
        return int(np.searchsorted(self.closes, now.timestamp(), side="right"))

    def _session(self, index: int) -> Session:
        if not 0 <= index < len(self.days):
            raise LookupError(f"the calendar of {self.exchange_code} does not reach so far")
        return Session(
            session_date=date_of(int(self.days[index])),
            open_time=datetime.fromtimestamp(int(self.opens[index]), UTC),
            close_time=datetime.fromtimestamp(int(self.closes[index]), UTC),
            inferred=not self.first_known <= index < self.first_inferred,
        )


def load_calendar(exchange_code: str, first: date, last: date) -> TradingCalendar:
    """The sessions from a little before `first`, where they are known, to a little after `last`.

    Beyond the last day that is known the exchange's usual weekdays and hours are assumed.
    Raises MarketUnusable for an exchange without a calendar.
    """
    try:
        known = exchange_calendars.get_calendar(exchange_code)
    except InvalidCalendarName as error:
        raise MarketUnusable(
            f"QUOTE_CSV_EXCHANGE: no calendar is known for {exchange_code!r}; "
            "use the ISO 10383 code of an exchange, like XNYS, XLON or XTKS"
        ) from error
    start = max(first, _EARLIEST + _MARGIN) - _MARGIN
    # A calendar begins 20 years ago unless it is asked for more.
    if start < known.first_session.date():
        bound = known.bound_min()
        start = start if bound is None else max(start, bound.date())
        known = exchange_calendars.get_calendar(exchange_code, start=start.isoformat())
    first_session = known.first_session.date()
    return _whole(known, first_session, first_session, last + _MARGIN_AHEAD)


def session_calendar(kind: InstrumentKind, exchange_code: str, timezone: str) -> TradingCalendar:
    """The sessions by which an instrument trades, from ten years back to four years ahead.

    `exchange_code` is Yahoo's, or the `code` of a calendar; `timezone` an IANA name, used where no
    calendar is known for the code: then weekdays from 09:30 to 16:00 there are assumed. Blocks for
    up to two seconds where the calendar is not open yet, so call it in a thread.
    """
    key = _key(kind, exchange_code, timezone)
    if key not in _opened:
        with _opening:
            if key not in _opened:
                _opened[key] = _open(*key)
    return _opened[key]


# Calendars are shared by all who use them and stay open: there are few, of about 100 kB each.
_opened: dict[tuple[str, str], TradingCalendar] = {}
_opening = threading.Lock()


def _key(kind: InstrumentKind, exchange_code: str, timezone: str) -> tuple[str, str]:
    """The code of the calendar, and the time zone where there is none for the code."""
    if kind is InstrumentKind.CRYPTO:
        return CRYPTO_CODE, ""
    if kind is InstrumentKind.FX:
        return FX_CODE, ""
    known = CALENDARS.get(exchange_code)
    return (exchange_code, timezone) if known is None else (known, "")


def _open(code: str, timezone: str) -> TradingCalendar:
    this_year = datetime.now(UTC).year
    first, last = date(this_year - _YEARS_BACK, 1, 1), date(this_year + _YEARS_AHEAD, 12, 31)
    if code in _AROUND_THE_CLOCK:
        columns = _AROUND_THE_CLOCK[code].sessions(epoch_day(first), epoch_day(last))
        return TradingCalendar(code, *columns, first_known=0, first_inferred=len(columns[0]))
    if code in CALENDARS:
        known_from = first
        try:
            known = exchange_calendars.get_calendar(code, start=first.isoformat())
        except ValueError:  # it knows no day so early, and begins with its own first one
            known = exchange_calendars.get_calendar(code)
            known_from = known.first_session.date()
        return _whole(known, first, known_from, last)
    weekmask = "1111001" if code in SUNDAY_TO_THURSDAY else "1111100"
    week = _Week(_zone(timezone), weekmask, time(9, 30), time(16))
    columns = week.sessions(epoch_day(first), epoch_day(last))
    return TradingCalendar(code, *columns, first_known=0, first_inferred=0)


def _zone(timezone: str) -> tzinfo:
    try:
        return ZoneInfo(timezone)
    # ZoneInfo opens files by the name that it is given.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _whole(
    known: exchange_calendars.ExchangeCalendar, first: date, known_from: date, last: date
) -> TradingCalendar:
    """The sessions of `known`, inferred ones from `first` up to `known_from`, and after it."""
    days: Ints = known.sessions.to_numpy().astype("datetime64[D]").astype(np.int64)
    week = _Week(
        known.tz,
        known.weekmask,
        known.open_times[-1][1],
        known.close_times[-1][1],
        known.open_offset,
        known.close_offset,
    )
    before = week.sessions(epoch_day(first), epoch_day(known_from) - 1)
    after = week.sessions(int(days[-1]) + 1, epoch_day(last))
    inside = (days, _seconds(known.opens_nanos), _seconds(known.closes_nanos))
    all_days, opens, closes = (
        np.concatenate(parts) for parts in zip(before, inside, after, strict=True)
    )
    first_known = len(before[0])
    return TradingCalendar(
        known.name, all_days, opens, closes, first_known, first_known + len(days)
    )


def _seconds(nanos: Ints) -> Ints:
    return nanos.astype(np.int64) // 1_000_000_000


@dataclass(frozen=True)
class _Week:
    """An ordinary week: its days of trading and their hours, in local time."""

    timezone: tzinfo
    weekmask: str
    open_time: time
    close_time: time
    open_offset: int = 0
    close_offset: int = 0

    def sessions(self, first_day: int, last_day: int) -> tuple[Ints, Ints, Ints]:
        """Days, opens and closes from `first_day` to `last_day`, as in `TradingCalendar`."""
        candidates = np.arange(first_day, max(last_day + 1, first_day), dtype=np.int64)
        weekdays = candidates.astype("datetime64[D]")
        days = candidates[np.is_busday(weekdays, weekmask=self.weekmask)]
        opens, closes = (
            np.array([self._instant(int(day) + offset, local) for day in days], dtype=np.int64)
            for local, offset in (
                (self.open_time, self.open_offset),
                (self.close_time, self.close_offset),
            )
        )
        return days, opens, closes

    def _instant(self, day: int, local: time) -> int:
        """`local` time of `day`, in seconds since the epoch."""
        return int(datetime.combine(date_of(day), local, tzinfo=self.timezone).timestamp())


_AROUND_THE_CLOCK = {
    CRYPTO_CODE: _Week(UTC, "1111111", time(0), time(0), close_offset=1),
    FX_CODE: _Week(ZoneInfo("Europe/London"), "1111100", time(0), time(0), close_offset=1),
}
