"""The demo exchange's calendar and its time."""

import math
from datetime import UTC, date, datetime, timedelta

import pytest

from quote_svc.demo_time import (
    HALF_DAY_TICKS,
    PAST_SESSIONS,
    DemoPace,
    at_pace,
    close_seconds,
    coming_close,
    half_day,
    holiday,
    instant,
    session,
    session_days,
    ticks_of,
)
from quote_svc.market import epoch_day

PACE = DemoPace(session_seconds=120, night_seconds=15)


def test_sessions_are_the_weekdays_without_the_holidays() -> None:
    days = [session(index).session_date for index in range(4000)]
    weekdays = (days[0] + timedelta(days=ahead) for ahead in range((days[-1] - days[0]).days + 1))
    assert days == [day for day in weekdays if day.weekday() < 5 and day != holiday(day.year)]


@pytest.mark.parametrize(
    ("year", "half", "shut"),
    [
        (2021, date(2021, 2, 5), date(2021, 2, 8)),
        (2025, date(2025, 2, 7), date(2025, 2, 10)),
        (2026, date(2026, 2, 6), date(2026, 2, 9)),
        (2027, date(2027, 2, 5), date(2027, 2, 8)),
    ],
)
def test_each_year_has_a_holiday_and_a_half_day(year: int, half: date, shut: date) -> None:
    assert (half_day(year), holiday(year)) == (half, shut)
    sessions = [session(index) for index in range(4000)]
    of_year = {each.session_date: each for each in sessions if each.session_date.year == year}
    assert shut not in of_year
    early = [day for day, each in of_year.items() if each.close_time.hour != 16]
    assert early == [half]
    assert of_year[half].close_time == datetime(year, half.month, half.day, 13, tzinfo=UTC)


def test_a_half_day_is_shorter_in_market_time_only() -> None:
    index = next(i for i in range(PAST_SESSIONS, 2000) if ticks_of(i) == HALF_DAY_TICKS)
    assert session(index).session_date == date(2026, 2, 6)
    begin = (index - PAST_SESSIONS) * 135
    half_way = instant(begin + 15 + 60, PACE)
    assert half_way.market_time == datetime(2026, 2, 6, 11, 15, tzinfo=UTC)
    assert instant(begin + 135, PACE).market_time == datetime(2026, 2, 6, 13, tzinfo=UTC)
    assert instant(begin + 149.999, PACE).market_time.date() == date(2026, 2, 10)


def test_the_first_live_session() -> None:
    first = session(PAST_SESSIONS)
    assert first.session_date == date(2026, 1, 5)
    assert first.open_time == datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    assert first.close_time == datetime(2026, 1, 5, 16, 0, tzinfo=UTC)
    assert not first.inferred


def test_days_and_closes_as_columns() -> None:
    days = session_days(1490, 1000)
    sessions = [session(index) for index in range(1490, 2490)]
    assert days.tolist() == [epoch_day(each.session_date) for each in sessions]
    assert close_seconds(days).tolist() == [each.close_time.timestamp() for each in sessions]
    assert len(session_days(7, 0)) == len(close_seconds(session_days(7, 0))) == 0


@pytest.mark.parametrize(
    ("elapsed", "market_time", "is_open", "change_in"),
    [
        (0, "2026-01-02T16:00:00", False, 15),
        (7.5, "2026-01-04T00:45:00", False, 7.5),
        (15, "2026-01-05T09:30:00", True, 120),
        (75, "2026-01-05T12:45:00", True, 60),
        (135, "2026-01-05T16:00:00", False, 15),
        (150, "2026-01-06T09:30:00", True, 120),
        (135 * 5, "2026-01-09T16:00:00", False, 15),
    ],
)
def test_market_time(elapsed: float, market_time: str, is_open: bool, change_in: float) -> None:
    now = instant(elapsed, PACE)
    assert now.market_time == datetime.fromisoformat(market_time).replace(tzinfo=UTC)
    assert now.is_open is is_open
    assert now.next_change_in == timedelta(seconds=change_in)
    assert now.next_session == PAST_SESSIONS + elapsed // 135


@pytest.mark.parametrize("pace", [PACE, DemoPace(1.1, 1.3), DemoPace(7, 1)])
def test_time_never_goes_back_and_agrees_with_the_sessions(pace: DemoPace) -> None:
    before = instant(0, pace)
    for step in range(1, 20_000):
        now = instant(step * 0.0173, pace)
        coming, past = session(now.next_session), session(now.next_session - 1)
        assert before.market_time <= now.market_time
        assert past.close_time <= now.market_time < coming.close_time
        assert now.is_open == (now.market_time >= coming.open_time)
        assert timedelta(0) < now.next_change_in
        before = now


@pytest.mark.parametrize("pace", [PACE, DemoPace(2.2, 1.2), DemoPace(2.3, 1.7)])
def test_a_session_is_open_until_the_instant_of_its_close(pace: DemoPace) -> None:
    # Sums of the other two are rounded up: their last moment lies past a whole session.
    almost = instant(math.nextafter(pace.session_seconds + pace.night_seconds, 0), pace)
    assert almost.is_open
    assert almost.next_session == PAST_SESSIONS
    assert almost.market_time < session(PAST_SESSIONS).close_time
    assert almost.next_change_in > timedelta(0)


def test_the_next_change_is_when_it_is_said_to_be() -> None:
    for elapsed in (0.0, 3.3, 14.9, 15.0, 100.0, 134.9, 1000.0):
        now = instant(elapsed, PACE)
        later = elapsed + now.next_change_in.total_seconds()
        assert instant(later - 1e-3, PACE).is_open == now.is_open
        assert instant(later + 1e-3, PACE).is_open != now.is_open


@pytest.mark.parametrize("elapsed", [0, 7.5, 15, 75, 134.999, 135, 12_345.6])
@pytest.mark.parametrize("new", [DemoPace(10, 1), DemoPace(600, 60), DemoPace(1.1, 1.3), PACE])
def test_another_pace_goes_on_from_the_same_instant(elapsed: float, new: DemoPace) -> None:
    before = instant(elapsed, PACE)
    after = instant(at_pace(elapsed, PACE, new), new)
    ahead = after.market_time - before.market_time
    assert timedelta(0) <= ahead < timedelta(seconds=10)
    assert after.next_session == before.next_session
    assert after.is_open == before.is_open


@pytest.mark.parametrize("pace", [PACE, DemoPace(2.3, 1.7), DemoPace(1.1, 1.1), DemoPace(1.3, 2)])
def test_the_coming_close_is_exactly_one(pace: DemoPace) -> None:
    elapsed = 0.0
    for index in range(PAST_SESSIONS, PAST_SESSIONS + 2000):
        elapsed = coming_close(elapsed, pace)
        now = instant(elapsed, pace)
        assert (now.market_time, now.is_open) == (session(index).close_time, False)
        before = instant(math.nextafter(elapsed, 0), pace)
        assert before.market_time <= now.market_time
        between = elapsed + (pace.session_seconds + pace.night_seconds) / 2
        assert coming_close(between, pace) == coming_close(elapsed, pace)


@pytest.mark.parametrize("new", [DemoPace(10, 1), DemoPace(2.3, 1.7), DemoPace(1.1, 1.1)])
def test_a_clock_at_a_close_stays_there_at_another_pace(new: DemoPace) -> None:
    for closes in range(300):
        now = instant(at_pace(135.0 * closes, PACE, new), new)
        assert now.market_time == session(PAST_SESSIONS + closes - 1).close_time
