"""Which symbols are refreshed in the background, and when."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from quote_svc.flights import Flights
from quote_svc.market import InstrumentKind
from quote_svc.refreshing import Known, Refresher
from quote_svc.sessions import Moment, SessionCalendar, moment
from quote_svc.universe import members

# A symbol that nobody asked for lately is not polled.
WATCHED_FOR = timedelta(minutes=5)
_AT_ONCE = 4
_LONGEST_WAIT = timedelta(seconds=1)


def is_polled(known: Known, at: Moment) -> bool:
    """Whether the quote of a symbol is kept fresh within the session."""
    asked_at = known.stored.asked_at
    watched = asked_at is not None and at.now - asked_at < WATCHED_FOR
    return watched and at.is_open and known.stored.instrument.kind is not InstrumentKind.FUND


def due_at(known: Known, at: Moment, poll: timedelta) -> datetime:
    """When to ask for a known symbol again.

    While its exchange is open: every `poll` where people watch it. Once a session's bar is
    expected to be final: at once. For lost sessions: when they are to be tried again.
    """
    answered = known.stored.answered_at
    due = at.final_last if answered < at.final_last else at.final_next
    for gap in known.stored.provenance.gaps:
        if gap.retry_at is not None:
            due = min(due, datetime.fromtimestamp(gap.retry_at, at.now.tzinfo))
    if is_polled(known, at):
        due = min(due, known.stored.heard_at + poll)
    return due if known.retry_at is None else max(due, known.retry_at)


class Scheduler:
    """Starts the background's fetches, politely: never while people wait for theirs."""

    def __init__(
        self,
        refresher: Refresher,
        flights: Flights,
        seeds: Sequence[str],
        poll: timedelta,
        wall: Callable[[], datetime],
    ) -> None:
        self._refresher = refresher
        self._flights = flights
        self._seeds = seeds
        self._poll = poll
        self._wall = wall

    async def step(self) -> float:
        """Fetch what is due, the longest due first, else one more of the seeds.

        Returns the seconds to wait before the next step.
        """
        await self._refresher.flush()
        now = self._wall()
        pause = self._refresher.pause_until
        if self._flights.urgent or (pause is not None and now < pause):
            return _LONGEST_WAIT.total_seconds() / 4
        due = self._due(now)
        symbols = due[:_AT_ONCE] or self._next_seed(now)
        if not symbols:
            return _LONGEST_WAIT.total_seconds()
        tasks = [self._flights.start(symbol, urgent=False) for symbol in symbols]
        await asyncio.wait(tasks)
        return 0.0

    def _due(self, now: datetime) -> list[str]:
        moments: dict[SessionCalendar, Moment] = {}
        mine = members(self._seeds, (each.stored for each in self._refresher.known.values()), now)
        waiting = []
        for symbol in mine:
            known = self._refresher.known.get(symbol)
            if known is None:
                continue
            at = moments.get(known.calendar)
            if at is None:
                at = moments[known.calendar] = moment(known.calendar, now)
            due = due_at(known, at, self._poll)
            if due <= now:
                waiting.append((due, symbol))
        return [symbol for _, symbol in sorted(waiting)]

    def _next_seed(self, now: datetime) -> list[str]:
        for symbol in self._seeds:
            refusal = self._refresher.refusals.get(symbol)
            if symbol not in self._refresher.known and (refusal is None or refusal.retry_at <= now):
                return [symbol]
        return []
