"""Stored and fresh bars: what fits together, what means another basis, which gaps are left."""

from datetime import UTC, datetime

import numpy as np
import pytest

from quote_svc.integrity import Checked
from quote_svc.market import Bars, date_of
from quote_svc.merging import changed_basis, gaps_after, joined, notes_after, refresh_start, same
from quote_svc.stored_symbol import Gap

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECONDS = NOW.timestamp()


def bars(closes: list[float], first_day: int = 100) -> Bars:
    levels = np.array(closes)
    days = np.arange(first_day, first_day + len(closes), dtype=np.int64)
    columns = (levels.copy(), levels + 1, levels - 1, levels.copy(), levels * 10)
    ones = np.ones(len(closes))
    return Bars(days, *columns, ones * 0, ones, days * 86_400)


STORED = bars([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])


@pytest.mark.parametrize(
    ("closes", "changed"),
    [
        ([13.0, 14.0, 15.0, 16.0], False),
        ([13.013, 14.014, 15.015], False),
        ([13.02, 14.0, 15.0], False),
        ([13.0, 14.0, 15.7], False),
        ([13.02, 14.02, 15.02], True),
        ([13.0, 14.0, 15.8], True),
        ([6.5, 14.0, 15.0], True),
        ([26.0, 28.0, 30.0], True),
    ],
)
def test_which_closes_are_on_another_basis(closes: list[float], changed: bool) -> None:
    why = changed_basis(STORED, bars(closes, 103))
    assert why == ("other closes than before" if changed else "")


def test_bars_without_an_overlap_fit() -> None:
    assert changed_basis(STORED, bars([99.0], 106)) == ""
    assert changed_basis(STORED, bars([], 106)) == ""


def test_joining_with_nothing_new_changes_nothing() -> None:
    for fresh in (bars([13.0, 14.0, 15.0], 103), bars([], 103)):
        result, notes = joined(STORED, fresh)
        assert same(result, STORED)
        assert notes == []


def test_joining_keeps_order_and_fills_a_hole() -> None:
    hole = Bars(*(np.delete(getattr(STORED, name), 2) for name in Bars.__dataclass_fields__))
    result, _ = joined(hole, bars([12.0, 13.0, 14.0, 15.0, 16.0], 102))
    assert result.session_days.tolist() == [100, 101, 102, 103, 104, 105, 106]
    assert result.closes.tolist() == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0]


def test_gaps_outside_of_what_was_asked_for_stay() -> None:
    before = (
        Gap(90, "lost", 1, SECONDS + 60),
        Gap(95, "lost", 1, SECONDS),
        Gap(99, "lost", 6, None),
        Gap(101, "lost", 1, SECONDS),
        Gap(102, "lost", 1, SECONDS),
    )
    answer = Checked(100, STORED, {102: "still lost", 104: "there already", 107: "new"}, ())
    days = np.array([100, 101, 103, 104], dtype=np.int64)
    assert gaps_after(before, answer, days, NOW) == (
        Gap(90, "lost", 1, SECONDS + 60),
        Gap(95, "lost", 2, SECONDS + 1200),
        Gap(99, "lost", 6, None),
        Gap(102, "still lost", 2, SECONDS + 1200),
        Gap(107, "new", 1, SECONDS + 300),
    )


def test_where_a_refresh_begins() -> None:
    assert refresh_start(None, (), NOW) is None
    assert refresh_start(bars([1.0] * 5), (), NOW) is None
    assert refresh_start(STORED, (), NOW) == date_of(101)
    due, later, never = Gap(7, "", 1, SECONDS), Gap(5, "", 1, SECONDS + 1), Gap(3, "", 6, None)
    assert refresh_start(STORED, (due, later, never), NOW) == date_of(7)


def test_few_notes_are_kept_and_none_twice() -> None:
    assert notes_after(("a", "b"), "b", "c") == ("a", "b", "c")
    assert notes_after([str(n) for n in range(30)], "x") == (*map(str, range(11, 30)), "x")
