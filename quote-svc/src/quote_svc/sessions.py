"""The sessions of an instrument, as the store needs them, and when their bars are final."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Protocol

from quote_svc.market import Ahead, Session, SessionState

# Sources show most exchanges up to 20 minutes late; what trades around the clock they show live.
_SETTLES = timedelta(minutes=20)
_SETTLES_AROUND_THE_CLOCK = timedelta(minutes=2)
_AROUND_THE_CLOCK = timedelta(hours=20)
# How long all symbols of an exchange may take to be fetched once their bars are final.
_GRACE = timedelta(minutes=15)
# How long the first trade of a session may be in coming.
FIRST_TRADE = timedelta(minutes=30)

# Shares trade in New York from 4:00 to 20:00, and after a half-day until 17:00.
_EXTENDED, _PRE, _POST = "XNYS", timedelta(hours=5.5), timedelta(hours=4)


class SessionCalendar(Protocol):
    """When one exchange, or one kind of instrument, trades; never blocks for long."""

    @property
    def code(self) -> str:
        """Code of the exchange or of the group, as in `ExchangeClock`."""
        ...

    @property
    def inferred(self) -> bool:
        """Whether weekdays are assumed because no calendar is known."""
        ...

    def sessions(self, first: date, last: date) -> Sequence[Session]:
        """The sessions from `first` to `last`, both included, in order."""
        ...

    def session_on(self, day: date) -> Session | None:
        """The session that the exchange dates `day`, if there is one."""
        ...

    def next_unfinished(self, now: datetime) -> Session:
        """The first session that closes after `now`."""
        ...

    def last_closed(self, now: datetime) -> Session:
        """The last session that closes at or before `now`."""
        ...

    def is_open(self, now: datetime) -> bool:
        """Whether it trades at `now`."""
        ...

    def ahead(self, day: date) -> Ahead:
        """The session of `day`, or the first after it, and those that follow it."""
        ...


@dataclass(frozen=True)
class Moment:
    """Where a calendar is at `now`: its last session with a final bar, and the one after it.

    `changed_at` is the last instant at which time alone can have changed anything here, or in
    the quotes that are made with it.
    """

    now: datetime
    state: SessionState
    last_final: Session
    final_last: datetime
    next_session: Session
    final_next: datetime
    changed_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether it trades, in its regular hours."""
        return self.state is SessionState.OPEN


def final_at(session: Session) -> datetime:
    """The instant from which the source is expected to have the bar of `session` as final."""
    around_the_clock = session.close_time - session.open_time >= _AROUND_THE_CLOCK
    return session.close_time + (_SETTLES_AROUND_THE_CLOCK if around_the_clock else _SETTLES)


def moment(calendar: SessionCalendar, now: datetime) -> Moment:
    """Where `calendar` is at `now`."""
    last, following = calendar.last_closed(now), calendar.next_unfinished(now)
    state = SessionState.CLOSED
    if calendar.is_open(now):
        state = SessionState.OPEN
    elif calendar.code == _EXTENDED and following.open_time - now <= _PRE:
        state = SessionState.PRE
    elif calendar.code == _EXTENDED and now - last.close_time < _POST:
        state = SessionState.POST
    changes = [
        last.close_time,
        final_at(last),
        final_at(last) + _GRACE,
        following.open_time,
        following.open_time + FIRST_TRADE,
    ]
    if calendar.code == _EXTENDED:
        changes += [following.open_time - _PRE, last.close_time + _POST]
    changed_at = max(change for change in changes if change <= now)
    if final_at(last) > now:
        last, following = calendar.last_closed(last.close_time - timedelta(seconds=1)), last
    return Moment(now, state, last, final_at(last), following, final_at(following), changed_at)


def as_heard(calendar: SessionCalendar, at: Moment, heard_at: datetime) -> Moment:
    """The moment for whoever heard last from the source then.

    A session counts as final once the source was asked after it, or should have been for long.
    """
    if heard_at >= at.final_last or at.now - at.final_last >= _GRACE:
        return at
    before = calendar.last_closed(at.last_final.close_time - timedelta(seconds=1))
    return replace(
        at,
        last_final=before,
        final_last=final_at(before),
        next_session=at.last_final,
        final_next=at.final_last,
    )


def session_at(calendar: SessionCalendar, instant: datetime) -> Session:
    """The session that a price of `instant` is of: the one open then, else the last before."""
    session = calendar.next_unfinished(instant)
    return session if session.open_time <= instant else calendar.last_closed(instant)
