"""Checks the source's bars against the calendar: what is final, what is lost, what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from quote_svc.market import Bars, Ints, date_of, epoch_day
from quote_svc.sessions import Moment, SessionCalendar
from quote_svc.source import Nonsense, SourceBars

_DAY_SECONDS = 86_400
_PRICES = ("opens", "highs", "lows", "closes")


@dataclass(frozen=True)
class Checked:
    """Bars that may be stored, from `first_day` on; lost sessions by day with why; remarks."""

    first_day: int
    bars: Bars
    gaps: Mapping[int, str]
    notes: tuple[str, ...]


def checked(
    source: SourceBars, calendar: SessionCalendar, at: Moment, since: date | None
) -> Checked:
    """The final bars of an answer that was asked for from `since` on.

    Bars of sessions that are not final are left out. A session of the calendar without a bar, or
    with a bar that cannot be right, is a gap; nothing is ever filled in. What a lost bar said of
    dividends and splits goes to the next one. Raises Nonsense where the columns don't fit.
    """
    rows, notes = _ordered(source)
    last_day = epoch_day(at.last_final.session_date)
    rows = rows[source.session_days[rows] <= last_day]
    first_day = _first_day(source.session_days[rows], last_day, since)
    closes, certain = _close_seconds(calendar, first_day, last_day)
    days = source.session_days[rows]
    traded = np.isin(days, np.fromiter(closes, np.int64, len(closes)))
    if not calendar.inferred and not traded.all():
        shown = ", ".join(str(date_of(int(day))) for day in days[~traded][:5])
        notes.append(f"{int((~traded).sum())} bars on days without a session dropped: {shown}")
    wrong = _wrong(source, rows)
    kept = np.array([not wrong.get(int(day)) for day in days], dtype=bool)
    if not calendar.inferred:
        kept &= traded
    gaps = {day: why for day, why in wrong.items() if calendar.inferred or day in closes}
    there = set(days.tolist())
    # A day that is only assumed to be a session may be a holiday: but the last may be late.
    expected = certain | ({last_day} & closes.keys())
    gaps |= dict.fromkeys(expected - there, "the source has no bar")
    bars = _bars(source, rows, kept, closes)
    return Checked(first_day, bars, gaps, tuple(notes))


def _ordered(source: SourceBars) -> tuple[Ints, list[str]]:
    """The rows in order of their days, the last of each day."""
    lengths = {len(getattr(source, name)) for name in SourceBars.__dataclass_fields__}
    if len(lengths) != 1:
        raise Nonsense("the source's columns differ in length")
    order = np.argsort(source.session_days, kind="stable")
    days = source.session_days[order]
    last_of_day = np.append(days[1:] != days[:-1], np.ones(min(len(days), 1), dtype=bool))
    doubled = int((~last_of_day).sum())
    return order[last_of_day], [f"{doubled} doubled days"] if doubled else []


def _first_day(days: Ints, last_day: int, since: date | None) -> int:
    if since is not None:
        return epoch_day(since)
    return int(days[0]) if len(days) else last_day + 1


def _close_seconds(
    calendar: SessionCalendar, first_day: int, last_day: int
) -> tuple[dict[int, int], set[int]]:
    """The instants of the closes by day, and the days that are not inferred."""
    if first_day > last_day:
        return {}, set()
    sessions = calendar.sessions(date_of(first_day), date_of(last_day))
    days = [epoch_day(session.session_date) for session in sessions]
    closes = (int(session.close_time.timestamp()) for session in sessions)
    certain = {day for day, each in zip(days, sessions, strict=True) if not each.inferred}
    return dict(zip(days, closes, strict=True)), set() if calendar.inferred else certain


def _wrong(source: SourceBars, rows: Ints) -> dict[int, str]:
    """Why the bar of a day cannot be right."""
    prices = np.stack([getattr(source, name)[rows] for name in _PRICES])
    with np.errstate(invalid="ignore"):
        lost = ~np.isfinite(prices).all(axis=0)
        not_positive = ~lost & (prices <= 0).any(axis=0)
        upside_down = ~lost & (prices[1] < prices[2])
    days = source.session_days[rows]
    return {
        int(day): why
        for flags, why in (
            (upside_down, "the high is below the low"),
            (not_positive, "a price is not above zero"),
            (lost, "a price is missing"),
        )
        for day in days[flags]
    }


def _bars(
    source: SourceBars, rows: Ints, kept: NDArray[np.bool_], closes: Mapping[int, int]
) -> Bars:
    dividends, split_factors = _carried(source, rows, kept)
    chosen = rows[kept]
    days = source.session_days[chosen]
    volumes = source.volumes[chosen]
    return Bars(
        session_days=np.array(days, dtype=np.int64),
        opens=np.array(source.opens[chosen], dtype=np.float64),
        highs=np.array(source.highs[chosen], dtype=np.float64),
        lows=np.array(source.lows[chosen], dtype=np.float64),
        closes=np.array(source.closes[chosen], dtype=np.float64),
        volumes=np.where(np.isfinite(volumes) & (volumes > 0), volumes, 0.0),
        dividends=dividends,
        split_factors=split_factors,
        close_seconds=_closes_of(days, closes),
    )


def _carried(
    source: SourceBars, rows: Ints, kept: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dividends and split factors of the kept rows, with those of lost rows before them."""
    paid = np.nan_to_num(source.dividends[rows])
    factors = source.split_factors[rows]
    factors = np.where(np.isfinite(factors) & (factors > 0), factors, 1.0)
    dividends, split_factors = np.zeros(int(kept.sum())), np.ones(int(kept.sum()))
    # The kept row that each row goes to: itself, or the next one.
    goes_to: Ints = np.cumsum(kept) - kept
    told = (goes_to < len(dividends)) & ((paid != 0) | (factors != 1))
    np.add.at(dividends, goes_to[told], paid[told])
    np.multiply.at(split_factors, goes_to[told], factors[told])
    return dividends, split_factors


def _closes_of(days: Ints, closes: Mapping[int, int]) -> Ints:
    """The instants of the closes; a day that no calendar knows closes when its neighbour does."""
    known = sorted(closes)
    seconds = []
    for day in days.tolist():
        close = closes.get(day)
        if close is None:
            near = min(known, key=lambda other: abs(other - day), default=day)
            close = closes.get(near, near * _DAY_SECONDS) + (day - near) * _DAY_SECONDS
        seconds.append(close)
    return np.array(seconds, dtype=np.int64)
