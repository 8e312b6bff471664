"""Joins newly fetched bars with those that are stored, or says why they don't fit together."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from quote_svc.integrity import Checked
from quote_svc.market import Bars, Ints, date_of
from quote_svc.stored_symbol import Gap

# Sessions that are fetched again, to see whether the stored bars still hold.
OVERLAP = 5
# How much a price must differ to be another one.
_REVISED = 0.001
# How much a close must differ to need more of an explanation than a revision.
_ANOTHER_BASIS = 0.05
# When a lost session is asked for again, after the first time and each further one.
_RETRY_SECONDS = (300.0, 1200.0, 3600.0, 10_800.0, 28_800.0)
_PRICES = ("opens", "highs", "lows", "closes")
_NOTES_KEPT = 20


def refresh_start(bars: Bars | None, gaps: Sequence[Gap], now: datetime) -> date | None:
    """From which day on to fetch; None for everything."""
    if bars is None or len(bars) <= OVERLAP:
        return None
    seconds = now.timestamp()
    lost = [gap.day for gap in gaps if gap.retry_at is not None and gap.retry_at <= seconds]
    return date_of(min([int(bars.session_days[-OVERLAP]), *lost]))


def changed_basis(stored: Bars, fresh: Bars) -> str:
    """Why the stored bars are adjusted otherwise than the fresh ones; empty where they aren't.

    Prices are adjusted for splits, so a new split, another action on a known day, or closes that
    all differ mean that everything must be fetched again.
    """
    _, ours, theirs = np.intersect1d(
        stored.session_days, fresh.session_days, assume_unique=True, return_indices=True
    )
    newer = fresh.session_days > (stored.session_days[-1] if len(stored) else -1)
    if (fresh.split_factors[newer] != 1).any():
        return "a new split"
    # What a lost bar said went to the next one; the first row may lack that here.
    for name in ("split_factors", "dividends"):
        told, heard = getattr(stored, name)[ours[1:]], getattr(fresh, name)[theirs[1:]]
        if not np.allclose(told, heard, rtol=1e-6, atol=1e-9):
            return f"other {name.replace('_', ' ')} than before"
    off = _differences(stored.closes[ours], fresh.closes[theirs])
    if (off > _ANOTHER_BASIS).any() or (len(off) > 1 and (off > _REVISED).all()):
        return "other closes than before"
    return ""


def joined(stored: Bars, fresh: Bars) -> tuple[Bars, list[str]]:
    """The stored bars with the fresh ones, on the same basis, and notes of what was revised.

    A bar that was final once stays unless a price of it differs by more than 0.1 %; its volume
    follows the source. A stored bar that the source has lost since is kept.
    """
    _, ours, theirs = np.intersect1d(
        stored.session_days, fresh.session_days, assume_unique=True, return_indices=True
    )
    revised = np.zeros(len(ours), dtype=bool)
    for name in _PRICES:
        told, heard = getattr(stored, name)[ours], getattr(fresh, name)[theirs]
        revised |= _differences(told, heard) > _REVISED
    notes = [
        f"{date_of(int(stored.session_days[mine]))} revised: close "
        f"{stored.closes[mine]:.10g}, now {fresh.closes[other]:.10g}"
        for mine, other in zip(ours[revised], theirs[revised], strict=True)
    ]
    new = ~np.isin(fresh.session_days, stored.session_days)
    columns = {}
    for column in fields(Bars):
        values = getattr(stored, column.name).copy()
        replaced = np.ones_like(revised) if column.name == "volumes" else revised
        values[ours[replaced]] = getattr(fresh, column.name)[theirs[replaced]]
        columns[column.name] = np.concatenate((values, getattr(fresh, column.name)[new]))
    order = np.argsort(columns["session_days"], kind="stable")
    return Bars(**{name: values[order] for name, values in columns.items()}), notes


def same(one: Bars, other: Bars) -> bool:
    """Whether every value of every column is the same."""
    return all(
        np.array_equal(getattr(one, column.name), getattr(other, column.name))
        for column in fields(Bars)
    )


def gaps_after(
    before: Sequence[Gap], answer: Checked, days: Ints, now: datetime
) -> tuple[Gap, ...]:
    """The gaps that are left, and when each is asked for again, in order of their days."""
    had: Mapping[int, Gap] = {gap.day: gap for gap in before}
    there = set(days.tolist())
    left = {
        day: _gap(day, gap.reason, gap, now.timestamp())
        for day, gap in had.items()
        if day < answer.first_day and day not in there
    }
    for day, why in answer.gaps.items():
        if day not in there:
            left[day] = _gap(day, why, had.get(day), now.timestamp())
    return tuple(left[day] for day in sorted(left))


def notes_after(before: Sequence[str], *new: str) -> tuple[str, ...]:
    """The latest notes, without repetition."""
    return tuple(dict.fromkeys((*before, *new)))[-_NOTES_KEPT:]


def _gap(day: int, why: str, before: Gap | None, seconds: float) -> Gap:
    if before is not None and (before.retry_at is None or before.retry_at > seconds):
        return Gap(day, why, before.tries, before.retry_at)
    tries = 0 if before is None else before.tries
    wait = _RETRY_SECONDS[tries] if tries < len(_RETRY_SECONDS) else None
    return Gap(day, why, tries + 1, None if wait is None else seconds + wait)


def _differences(told: NDArray[np.float64], heard: NDArray[np.float64]) -> NDArray[np.float64]:
    differences: NDArray[np.float64] = np.abs(heard / told - 1)
    return differences
