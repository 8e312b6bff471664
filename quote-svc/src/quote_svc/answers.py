"""Takes an answer of the source in: checked, joined with what is stored, ready to be stored."""

import math
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from quote_svc.integrity import checked
from quote_svc.market import Bars
from quote_svc.merging import changed_basis, gaps_after, joined, notes_after
from quote_svc.sessions import SessionCalendar, moment, session_at
from quote_svc.source import Nonsense, SourceHistory, SourceQuote
from quote_svc.stored_symbol import Provenance, StoredSymbol, recent_closes_of, tail_of

# Clocks differ, but not by more than this.
_FUTURE = timedelta(minutes=5)
_NOTHING = Provenance(datetime.min.replace(tzinfo=UTC), adjusted_basis=1, gaps=(), checks=())


class BasisChanged(Exception):  # noqa: N818 - what happened
    """The stored bars are adjusted otherwise than the answer: everything must be fetched."""


@dataclass(frozen=True)
class Kept:
    """What is stored of a symbol, with its bars."""

    stored: StoredSymbol
    bars: Bars


def taken_in(
    answer: SourceHistory, since: date | None, calendar: SessionCalendar, now: datetime,
    before: Kept | None,
) -> Kept:  # fmt: skip
    """What to store after an answer to a request made at `now` for the bars from `since` on.

    Raises BasisChanged, and Nonsense where the answer has nothing in it.
    """
    answered = checked(answer.bars, calendar, moment(calendar, now), since)
    told = _placed(answer.quote, calendar)
    quote = latest(told, None if before is None else before.stored.quote, now)
    bars = answered.bars
    notes: list[str] = []
    if before is not None:
        why = changed_basis(before.bars, bars)
        if why:
            raise BasisChanged(why)
        bars, notes = joined(before.bars, bars)
    elif not len(bars) and quote is None:
        raise Nonsense("The source answered with neither bars nor a price.")
    was = _NOTHING if before is None else before.stored.provenance
    provenance = Provenance(
        fetched_at=now,
        adjusted_basis=was.adjusted_basis,
        gaps=gaps_after(was.gaps, answered, bars.session_days, now),
        checks=notes_after(was.checks, *answered.notes, *notes),
    )
    asked_at = None if before is None else before.stored.asked_at
    stored = StoredSymbol(
        answer.instrument,
        provenance,
        len(bars),
        tail_of(bars),
        quote,
        now,
        asked_at,
        recent_closes=recent_closes_of(bars),
    )
    return Kept(stored, bars)


def taken_whole(
    answer: SourceHistory, calendar: SessionCalendar, now: datetime, before: Kept, why: str
) -> Kept:
    """What to store after everything was fetched again because the adjusted basis changed.

    Raises Nonsense where the answer has lost most of what is stored.
    """
    fresh = taken_in(answer, None, calendar, now, None)
    if 2 * len(fresh.bars) < len(before.bars):
        raise Nonsense(
            f"The source has {len(fresh.bars)} bars where it had {len(before.bars)} before."
        )
    basis = before.stored.provenance.adjusted_basis + 1
    note = f"{now.date()} fetched whole, adjusted basis {basis}: {why}"
    checks = notes_after(before.stored.provenance.checks, *fresh.stored.provenance.checks, note)
    provenance = replace(fresh.stored.provenance, adjusted_basis=basis, checks=checks)
    quote = latest(fresh.stored.quote, before.stored.quote, now)
    stored = replace(
        fresh.stored, provenance=provenance, quote=quote, asked_at=before.stored.asked_at
    )
    return Kept(stored, fresh.bars)


def _placed(told: SourceQuote | None, calendar: SessionCalendar) -> SourceQuote | None:
    """The price, unless it is older than all sessions that the calendar knows."""
    if told is not None:
        try:
            session_at(calendar, told.as_of_time)
        except LookupError:
            return None
    return told


def latest(
    told: SourceQuote | None, known: SourceQuote | None, now: datetime
) -> SourceQuote | None:
    """The newer of two prices; one that cannot be right, or is of the future, is none."""
    if told is None or not math.isfinite(told.price) or told.price <= 0:
        return known
    if told.as_of_time > now + _FUTURE:
        return known
    return told if known is None or told.as_of_time >= known.as_of_time else known
