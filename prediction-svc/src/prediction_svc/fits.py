"""When models are fitted: at the first session on or after each 1 January and 1 July."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from prediction_svc.histories import History

EPOCH = date(1970, 1, 1)
FIXED = ((1, 1), (7, 1))


@dataclass(frozen=True)
class Fit:
    """One fixed date as it falls in a market."""

    fixed_date: date
    session_date: date
    """The first session of any symbol on or after the fixed date."""
    second: int
    """Instant of that session's close: labels known by then are learned from."""

    @property
    def scheduled(self) -> bool:
        """Whether it is one of the fixed dates; others were asked for, or an alarm rang."""
        return (self.fixed_date.month, self.fixed_date.day) in FIXED


def fixed_dates(first: date, last: date) -> list[date]:
    """Each 1 January and 1 July from `first` to `last`, both included, rising."""
    dates = [date(year, *fixed) for year in range(first.year, last.year + 1) for fixed in FIXED]
    return [day for day in dates if first <= day <= last]


def fits_of(histories: Iterable[History]) -> list[Fit]:
    """Every fixed date within the histories, rising; empty where they hold none."""
    ordered = [history for history in histories if len(history)]
    if not ordered:
        return []
    first = EPOCH + timedelta(days=int(min(history.days[0] for history in ordered)))
    last = EPOCH + timedelta(days=int(max(history.days[-1] for history in ordered)))
    return [_fit(fixed, ordered) for fixed in fixed_dates(first, last)]


def _fit(fixed: date, histories: list[History]) -> Fit:
    day = (fixed - EPOCH).days
    earliest: tuple[int, int] | None = None
    for history in histories:
        row = int(np.searchsorted(history.days, day))
        if row < len(history):
            closed = (int(history.close_seconds[row]), int(history.days[row]))
            earliest = closed if earliest is None else min(earliest, closed)
    if earliest is None:  # the last session is on or after the fixed date, so one symbol has it
        raise ValueError(f"no session on or after {fixed}")
    second, session_day = earliest
    return Fit(fixed, EPOCH + timedelta(days=session_day), second)


def latest_fit(histories: Iterable[History]) -> Fit | None:
    """The latest closed session of any symbol, as a date to fit at; None where there is none."""
    ends = [(int(h.close_seconds[-1]), int(h.days[-1])) for h in histories if len(h)]
    if not ends:
        return None
    second, day = max(ends)
    session = EPOCH + timedelta(days=day)
    return Fit(session, session, second)
