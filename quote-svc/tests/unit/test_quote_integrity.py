"""Bars against the calendar: nothing unfinished, nothing broken, nothing filled in."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from quote_svc.integrity import Checked, checked
from quote_svc.market import epoch_day
from quote_svc.sessions import final_at, moment, session_at
from quote_svc.source import Nonsense, SourceBars
from quote_svc.testing import Weekdays, source_bars, weekdays

# A Friday; its session closes at 21:00 UTC and settles for 20 minutes.
FRIDAY = date(2026, 11, 20)
DAYS = weekdays(FRIDAY, 10)
AFTER = datetime(2026, 11, 20, 21, 20, tzinfo=UTC)
GOOD = [10.0, 11.0, 9.0, 10.5, 1000.0, 0.0, 1.0]


def rows(*days: date) -> dict[date, list[float]]:
    return {day: list(GOOD) for day in days or DAYS}


def check(
    bars: SourceBars,
    now: datetime = AFTER,
    since: date | None = None,
    calendar: Weekdays | None = None,
) -> Checked:
    calendar = calendar or Weekdays()
    return checked(bars, calendar, moment(calendar, now), since)


def kept(found: Checked) -> list[int]:
    return [int(day) for day in found.bars.session_days]


def test_sound_bars_are_all_taken() -> None:
    found = check(source_bars(rows()))
    assert kept(found) == [epoch_day(day) for day in DAYS]
    assert found.bars.close_seconds[-1] == datetime(2026, 11, 20, 21, tzinfo=UTC).timestamp()
    assert (found.gaps, found.notes) == ({}, ())


@pytest.mark.parametrize(
    ("now", "final"),
    [
        (datetime(2026, 11, 20, 15, tzinfo=UTC), False),
        (datetime(2026, 11, 20, 20, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 20, 21, 19, 59, tzinfo=UTC), False),
        (AFTER, True),
        (datetime(2026, 11, 22, 12, tzinfo=UTC), True),
    ],
)
def test_a_session_that_may_still_change_has_no_bar(now: datetime, final: bool) -> None:
    found = check(source_bars(rows()), now)
    assert (kept(found)[-1] == epoch_day(FRIDAY)) is final
    assert (found.gaps, found.notes) == ({}, ())
    assumed = check(source_bars(rows()), now, calendar=Weekdays(inferred=True))
    assert (kept(assumed)[-1] == epoch_day(FRIDAY)) is final
    # What isn't final isn't missed either.
    assert check(source_bars(rows(*DAYS[:-1])), now).gaps.keys() == (
        {epoch_day(FRIDAY)} if final else set()
    )


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([np.nan] * 4 + [0, 0, 1], "a price is missing"),
        ([10, 11, 9, np.nan, 1, 0, 1], "a price is missing"),
        ([10, np.inf, 9, 10, 1, 0, 1], "a price is missing"),
        ([10, 11, 0, 10, 1, 0, 1], "a price is not above zero"),
        ([10, 11, -1, 10, 1, 0, 1], "a price is not above zero"),
        ([10, 9, 11, 10, 1, 0, 1], "the high is below the low"),
    ],
)
def test_a_bar_that_cannot_be_right_is_a_gap(row: list[float], why: str) -> None:
    broken = rows()
    broken[DAYS[4]] = row
    found = check(source_bars(broken))
    assert found.gaps == {epoch_day(DAYS[4]): why}
    assert kept(found) == [epoch_day(day) for day in DAYS if day != DAYS[4]]
    assert np.isfinite(found.bars.closes).all()


def test_a_session_without_a_bar_is_a_gap_from_where_it_was_asked_for() -> None:
    found = check(source_bars(rows(*DAYS[3:6], *DAYS[7:])), since=DAYS[2])
    assert found.gaps == {
        epoch_day(DAYS[2]): "the source has no bar",
        epoch_day(DAYS[6]): "the source has no bar",
    }
    # Asked for everything, what lies before the first bar is not missed.
    assert check(source_bars(rows(*DAYS[3:]))).gaps == {}


def test_an_empty_answer_misses_everything_asked_for() -> None:
    empty = source_bars({})
    assert check(empty, since=DAYS[-2]).gaps.keys() == {epoch_day(day) for day in DAYS[-2:]}
    assert check(empty).gaps == {}
    assert len(check(empty).bars) == 0


def test_a_bar_without_a_session_is_dropped_and_noted() -> None:
    calendar = Weekdays(holidays=frozenset({DAYS[5]}))
    found = check(source_bars(rows()), calendar=calendar)
    assert epoch_day(DAYS[5]) not in kept(found)
    assert found.gaps == {}
    assert found.notes == (f"1 bars on days without a session dropped: {DAYS[5]}",)


def test_where_weekdays_are_assumed_bars_stay_and_days_may_lack_one() -> None:
    calendar = Weekdays(inferred=True)
    sunday = FRIDAY - timedelta(days=5)
    odd = rows(*DAYS[:3], sunday, *DAYS[6:])
    found = check(source_bars(dict(sorted(odd.items()))), calendar=calendar)
    assert epoch_day(sunday) in kept(found)
    assert found.gaps == {}
    monday_close = datetime(2026, 11, 15, 21, tzinfo=UTC).timestamp()
    assert found.bars.close_seconds[kept(found).index(epoch_day(sunday))] == monday_close
    # The latest may just be late.
    late = check(source_bars(rows(*DAYS[:-1])), calendar=calendar)
    assert late.gaps == {epoch_day(FRIDAY): "the source has no bar"}


def test_the_last_of_doubled_days_counts_and_order_is_made() -> None:
    bars = source_bars(rows())
    order = np.array([*range(9, -1, -1), 9])
    turned = SourceBars(*(getattr(bars, name)[order] for name in SourceBars.__dataclass_fields__))
    turned.closes[-1] = 10.75
    found = check(turned)
    assert kept(found) == [epoch_day(day) for day in DAYS]
    assert found.bars.closes[-1] == 10.75
    assert found.notes == ("1 doubled days",)


def test_what_a_lost_bar_said_of_actions_goes_to_the_next() -> None:
    broken = rows()
    broken[DAYS[3]] = [np.nan] * 4 + [0, 0.5, 2]
    broken[DAYS[4]][5:] = [0.25, 3]
    found = check(source_bars(broken))
    assert found.bars.dividends.tolist() == [0, 0, 0, 0.75, 0, 0, 0, 0, 0]
    assert found.bars.split_factors.tolist() == [1, 1, 1, 6, 1, 1, 1, 1, 1]


def test_volumes_that_nobody_counts_are_zero() -> None:
    odd = rows()
    odd[DAYS[0]][4], odd[DAYS[1]][4] = np.nan, -5
    assert check(source_bars(odd)).bars.volumes.tolist()[:3] == [0, 0, 1000]


def test_columns_that_differ_in_length_are_nonsense() -> None:
    bars = source_bars(rows())
    with pytest.raises(Nonsense):
        check(SourceBars(bars.session_days[1:], *list(vars(bars).values())[1:]))


def test_the_moment_of_a_calendar() -> None:
    calendar = Weekdays()
    closed = calendar.session_on(FRIDAY)
    assert closed is not None
    settling = moment(calendar, closed.close_time + timedelta(minutes=5))
    assert not settling.is_open
    assert settling.next_session == closed
    assert settling.final_next == final_at(closed) == closed.close_time + timedelta(minutes=20)
    assert settling.last_final.session_date == DAYS[-2]
    done = moment(calendar, settling.final_next)
    assert done.last_final == closed
    assert done.next_session.session_date == date(2026, 11, 23)
    assert session_at(calendar, closed.close_time) == closed
    assert session_at(calendar, closed.open_time) == closed
    assert session_at(calendar, closed.open_time - timedelta(seconds=1)) == calendar.session_on(
        DAYS[-2]
    )
