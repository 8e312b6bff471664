"""Sessions of real exchanges, known and inferred."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
import pytest

from quote_svc.calendars import TradingCalendar, load_calendar, session_calendar
from quote_svc.market import InstrumentKind, MarketUnusable, date_of, epoch_day


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


def coming(calendar: TradingCalendar, day: date) -> list[date]:
    """The 20 sessions from `day` on, all of them known."""
    ahead = calendar.ahead(day)
    assert ahead.known == 20
    return [date_of(each) for each in ahead.days]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        # Clocks change in New York and not in London, then in both, in spring and in autumn.
        (date(2024, 3, 4), date(2024, 4, 1)),
        (date(2024, 10, 21), date(2024, 11, 15)),
    ],
)
def test_the_coming_sessions_in_weeks_of_clock_changes(first: date, last: date) -> None:
    days = [date_of(day) for day in range(epoch_day(first), epoch_day(last) + 1)]
    good_friday, easter_monday = date(2024, 3, 29), date(2024, 4, 1)
    weekdays = [day for day in days if day.weekday() < 5 and day != good_friday]
    new_york = load_calendar("XNYS", date(2024, 1, 1), date(2024, 12, 31))
    assert coming(new_york, first) == weekdays[:20]
    london = session_calendar(InstrumentKind.STOCK, "LSE", "")
    assert (
        coming(london, first)[: len(weekdays) - 1]
        == [day for day in weekdays if day != easter_monday][: len(weekdays) - 1]
    )
    currencies = session_calendar(InstrumentKind.FX, "CCY", "")
    assert coming(currencies, first) == [day for day in days if day.weekday() < 5][:20]
    crypto = session_calendar(InstrumentKind.CRYPTO, "CCC", "")
    assert coming(crypto, first) == days[:20]


def test_a_calendar_that_ends_within_the_coming_sessions() -> None:
    calendar = load_calendar("XSHG", date(2025, 1, 1), date(2050, 6, 1))
    last_known = date_of(int(calendar.days[calendar.first_inferred - 1]))
    begin = calendar.first_inferred - 7
    ahead = calendar.ahead(date_of(int(calendar.days[begin])))
    assert ahead.known == 7
    assert len(ahead.days) == 20
    assert date_of(ahead.days[6]) == last_known
    days = range(epoch_day(last_known) + 1, epoch_day(last_known) + 30)
    assert list(ahead.days[7:]) == [day for day in days if date_of(day).weekday() < 5][:13]
    assert calendar.ahead(last_known).known == 1
    assert calendar.ahead(date_of(ahead.days[7])).known == 0


def test_the_calendar_of_a_file_reaches_all_coming_sessions_of_its_last_day() -> None:
    # Shanghai stays shut for a week and more in the spring.
    calendar = load_calendar("XSHG", date(2023, 1, 1), date(2024, 2, 8))
    assert len(calendar.ahead(date(2024, 2, 9)).days) == 20
    calendar = load_calendar("XSHG", date(2049, 1, 1), date(2060, 1, 2))
    assert calendar.ahead(date(2060, 1, 3)).known == 0
    assert len(calendar.ahead(date(2060, 1, 3)).days) == 20


@pytest.mark.parametrize(("code", "weekdays"), [("XXXQ", range(5)), ("KUW", (6, 0, 1, 2, 3))])
def test_without_a_calendar_the_coming_sessions_are_assumed(
    code: str, weekdays: Sequence[int]
) -> None:
    calendar = session_calendar(InstrumentKind.STOCK, code, "Asia/Kuwait")
    ahead = calendar.ahead(date(2026, 11, 21))
    assert ahead.known == 0
    first = epoch_day(date(2026, 11, 21))
    days = [day for day in range(first, first + 40) if date_of(day).weekday() in weekdays]
    assert list(ahead.days) == days[:20]
