"""Sessions of real exchanges; the only module that imports exchange_calendars (and so pandas)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import exchange_calendars
import numpy as np
from exchange_calendars.errors import InvalidCalendarName
from numpy.typing import NDArray

from quote_svc.market import Ints, MarketUnusable, Session, date_of, epoch_day

# No calendar is asked for days before this: building centuries of holidays takes seconds.
_EARLIEST = date(1900, 1, 1)
# Longer than any exchange ever stays shut, so that there always is a next session.
_MARGIN = timedelta(days=30)


@dataclass(frozen=True, eq=False)
class TradingCalendar:
    """The sessions of one exchange over a span of days, in order.

    `days` are days since 1970-01-01, `opens` and `closes` seconds since the epoch; sessions
    from index `first_inferred` on lie after the last day that the calendar knows.
    """

    exchange_code: str
    days: Ints
    opens: Ints
    closes: Ints
    first_inferred: int

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

    def _session(self, index: int) -> Session:
        return Session(
            session_date=date_of(int(self.days[index])),
            open_time=datetime.fromtimestamp(int(self.opens[index]), UTC),
            close_time=datetime.fromtimestamp(int(self.closes[index]), UTC),
            inferred=index >= self.first_inferred,
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
    days: Ints = known.sessions.to_numpy().astype("datetime64[D]").astype(np.int64)
    inferred = _inferred_sessions(known, int(days[-1]) + 1, epoch_day(last + _MARGIN))
    return TradingCalendar(
        exchange_code=known.name,
        days=np.concatenate((days, inferred[0])),
        opens=np.concatenate((_seconds(known.opens_nanos), inferred[1])),
        closes=np.concatenate((_seconds(known.closes_nanos), inferred[2])),
        first_inferred=len(days),
    )


def _seconds(nanos: Ints) -> Ints:
    return nanos.astype(np.int64) // 1_000_000_000


def _inferred_sessions(
    known: exchange_calendars.ExchangeCalendar, first_day: int, last_day: int
) -> tuple[Ints, Ints, Ints]:
    """Days, opens and closes from `first_day` to `last_day` as on an ordinary week."""
    candidates = np.arange(first_day, last_day + 1, dtype=np.int64)
    weekdays = candidates.astype("datetime64[D]")
    days = candidates[np.is_busday(weekdays, weekmask=known.weekmask)]
    opens, closes = (
        np.array([_instant(known, int(day), times, offset) for day in days], dtype=np.int64)
        for times, offset in (
            (known.open_times[-1][1], known.open_offset),
            (known.close_times[-1][1], known.close_offset),
        )
    )
    return days, opens, closes


def _instant(
    known: exchange_calendars.ExchangeCalendar, day: int, local_time: time, offset: int
) -> int:
    """`local_time` of the exchange, `offset` days from `day`, in seconds since the epoch."""
    local = datetime.combine(date_of(day + offset), local_time, tzinfo=known.tz)
    return int(local.timestamp())
