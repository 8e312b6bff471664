"""Sessions of real exchanges, known and inferred."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from quote_svc.calendars import load_calendar
from quote_svc.market import MarketUnusable, epoch_day


@pytest.mark.parametrize(
    ("day", "following"),
    [
        (date(2018, 12, 31), date(2019, 1, 2)),  # New Year
        (date(2019, 12, 31), date(2020, 1, 2)),
        (date(2019, 12, 27), date(2019, 12, 30)),  # a weekend
        (date(2019, 12, 28), date(2019, 12, 30)),
        (date(2019, 12, 24), date(2019, 12, 26)),  # Christmas
        (date(2019, 7, 3), date(2019, 7, 5)),  # Independence Day
    ],
)
def test_the_session_after_a_day(day: date, following: date) -> None:
    calendar = load_calendar("XNYS", date(2018, 6, 1), date(2020, 1, 2))
    assert calendar.following(day).session_date == following


def test_hours_follow_half_days_and_clock_changes() -> None:
    calendar = load_calendar("XNYS", date(2019, 1, 1), date(2019, 12, 31))
    winter, summer, half = (
        calendar.latest(day) for day in (date(2019, 3, 8), date(2019, 3, 11), date(2019, 7, 3))
    )
    assert winter.open_time == datetime(2019, 3, 8, 14, 30, tzinfo=UTC)
    assert winter.close_time == datetime(2019, 3, 8, 21, tzinfo=UTC)
    assert summer.open_time == datetime(2019, 3, 11, 13, 30, tzinfo=UTC)
    assert summer.close_time == datetime(2019, 3, 11, 20, tzinfo=UTC)
    assert half.close_time == datetime(2019, 7, 3, 17, tzinfo=UTC)


def test_more_than_twenty_years_back() -> None:
    calendar = load_calendar("XNYS", date(1962, 1, 2), date(1962, 12, 31))
    assert calendar.latest(date(1962, 1, 2)).session_date == date(1962, 1, 2)


def test_no_further_back_than_the_calendar_knows() -> None:
    calendar = load_calendar("XSHG", date(1985, 1, 1), date(2001, 1, 1))
    days = np.array([epoch_day(date(1985, 1, 2)), epoch_day(date(1996, 1, 2))])
    assert calendar.are_sessions(days).tolist() == [False, True]
    with pytest.raises(LookupError):
        calendar.latest(date(1985, 1, 2))


def test_weekdays_are_inferred_beyond_the_calendar() -> None:
    # Shanghai's holidays are fixed by decree, year by year.
    calendar = load_calendar("XSHG", date(2049, 1, 1), date(2050, 6, 1))
    session = calendar.following(date(2050, 5, 27))
    assert session.session_date == date(2050, 5, 30)
    assert session.inferred
    assert session.open_time == datetime(2050, 5, 30, 1, 30, tzinfo=UTC)
    assert session.close_time == datetime(2050, 5, 30, 7, tzinfo=UTC)
    assert not calendar.latest(date(2025, 1, 2)).inferred


def test_inferred_hours_follow_clock_changes() -> None:
    calendar = load_calendar("XNYS", date(2020, 1, 1), date(2045, 12, 1))
    assert calendar.latest(date(2045, 1, 3)).open_time == datetime(2045, 1, 3, 14, 30, tzinfo=UTC)
    assert calendar.latest(date(2045, 7, 5)).open_time == datetime(2045, 7, 5, 13, 30, tzinfo=UTC)


def test_an_alias_gets_the_exchange_s_own_code() -> None:
    assert load_calendar("NYSE", date(2019, 1, 1), date(2019, 1, 2)).exchange_code == "XNYS"


@pytest.mark.parametrize("code", ["XXXX", "", "xnys"])
def test_an_unknown_exchange(code: str) -> None:
    with pytest.raises(MarketUnusable, match="QUOTE_CSV_EXCHANGE"):
        load_calendar(code, date(2019, 1, 1), date(2019, 1, 2))
