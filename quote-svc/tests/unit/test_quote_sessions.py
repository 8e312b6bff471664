"""Sessions across holidays, half-days and clock changes, against dates and UTC instants by hand."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from quote_svc.calendars import session_calendar
from quote_svc.exchange_codes import CALENDARS
from quote_svc.market import InstrumentKind
from quote_svc.sessions import SessionCalendar

STOCK, CRYPTO, FX = InstrumentKind.STOCK, InstrumentKind.CRYPTO, InstrumentKind.FX


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def calendar_of(code: str, kind: InstrumentKind = STOCK, timezone: str = "UTC") -> SessionCalendar:
    return session_calendar(kind, code, timezone)


@pytest.mark.parametrize(
    ("code", "kind", "opening", "closing"),
    [
        # New York: summer time from 10 March to 3 November 2024; half-days.
        ("NMS", STOCK, "2024-03-08 14:30", "2024-03-08 21:00"),
        ("NMS", STOCK, "2024-03-11 13:30", "2024-03-11 20:00"),
        ("NYQ", STOCK, "2024-11-01 13:30", "2024-11-01 20:00"),
        ("NYQ", STOCK, "2024-11-04 14:30", "2024-11-04 21:00"),
        ("PCX", InstrumentKind.ETF, "2024-07-03 13:30", "2024-07-03 17:00"),
        ("SNP", InstrumentKind.INDEX, "2024-11-29 14:30", "2024-11-29 18:00"),
        ("NAS", InstrumentKind.FUND, "2024-12-24 14:30", "2024-12-24 18:00"),
        # London: from 31 March to 27 October 2024; half-days before Christmas and New Year.
        ("LSE", STOCK, "2024-03-28 08:00", "2024-03-28 16:30"),
        ("LSE", STOCK, "2024-04-02 07:00", "2024-04-02 15:30"),
        ("LSE", STOCK, "2024-10-25 07:00", "2024-10-25 15:30"),
        ("IOB", STOCK, "2024-10-28 08:00", "2024-10-28 16:30"),
        ("LSE", STOCK, "2024-12-24 08:00", "2024-12-24 12:30"),
        ("LSE", STOCK, "2024-12-31 08:00", "2024-12-31 12:30"),
        # Tokyo: no summer time; half an hour longer from 5 November 2024 on.
        ("JPX", STOCK, "2024-03-08 00:00", "2024-03-08 06:00"),
        ("JPX", STOCK, "2024-03-11 00:00", "2024-03-11 06:00"),
        ("OSA", InstrumentKind.INDEX, "2024-11-01 00:00", "2024-11-01 06:00"),
        ("JPX", STOCK, "2024-11-05 00:00", "2024-11-05 06:30"),
        # Sydney: summer time to 7 April and from 6 October 2024; a half-day.
        ("ASX", STOCK, "2024-04-04 23:00", "2024-04-05 05:00"),
        ("ASX", STOCK, "2024-04-08 00:00", "2024-04-08 06:00"),
        ("ASX", STOCK, "2024-10-04 00:00", "2024-10-04 06:00"),
        ("ASX", STOCK, "2024-10-06 23:00", "2024-10-07 05:00"),
        ("ASX", STOCK, "2024-12-23 23:00", "2024-12-24 03:10"),
        # Crypto: UTC days, whatever day and whatever other clocks do.
        ("CCC", CRYPTO, "2024-03-10 00:00", "2024-03-11 00:00"),
        ("CCC", CRYPTO, "2024-02-29 00:00", "2024-03-01 00:00"),
        ("CCC", CRYPTO, "2024-12-25 00:00", "2024-12-26 00:00"),
        # FX: London's days.
        ("CCY", FX, "2024-03-29 00:00", "2024-03-30 00:00"),
        ("CCY", FX, "2024-03-31 23:00", "2024-04-01 23:00"),
        ("CCY", FX, "2024-10-24 23:00", "2024-10-25 23:00"),
        ("CCY", FX, "2024-10-28 00:00", "2024-10-29 00:00"),
        ("CCY", FX, "2025-01-01 00:00", "2025-01-02 00:00"),
        # Futures: the trade date begins at 17:00 in Chicago on the day before.
        ("CMX", InstrumentKind.FUTURE, "2024-03-07 23:00", "2024-03-08 23:00"),
        ("NYM", InstrumentKind.FUTURE, "2024-03-10 22:00", "2024-03-11 22:00"),
    ],
)
def test_open_and_close(code: str, kind: InstrumentKind, opening: str, closing: str) -> None:
    calendar = calendar_of(code, kind)
    # Every session here begins on its own date, or in the evening (UTC) before it.
    day = (utc(opening) + timedelta(hours=3)).date()
    session = calendar.session_on(day)
    assert session is not None
    assert (session.session_date, session.open_time, session.close_time) == (
        day,
        utc(opening),
        utc(closing),
    )
    assert not session.inferred
    assert not calendar.inferred
    assert calendar.is_open(utc(opening))
    assert calendar.is_open(utc(closing) - timedelta(seconds=1))
    assert calendar.next_unfinished(utc(closing) - timedelta(seconds=1)) == session
    assert calendar.next_unfinished(utc(closing)) != session
    assert calendar.last_closed(utc(closing)) == session
    assert calendar.last_closed(utc(closing) - timedelta(seconds=1)) != session


@pytest.mark.parametrize(
    ("code", "kind", "first", "last", "days"),
    [
        # Thanksgiving, Christmas; the mourning day of January 2025; Good Friday; Juneteenth.
        ("NMS", STOCK, "2024-11-27", "2024-12-02", "11-27 11-29 12-02"),
        ("NMS", STOCK, "2024-12-23", "2025-01-02", "12-23 12-24 12-26 12-27 12-30 12-31 01-02"),
        ("NMS", STOCK, "2025-01-08", "2025-01-10", "01-08 01-10"),
        ("NMS", STOCK, "2025-04-17", "2025-04-21", "04-17 04-21"),
        ("NMS", STOCK, "2025-06-18", "2025-06-20", "06-18 06-20"),
        # Easter, both Mondays of May, the last of August, Christmas.
        ("LSE", STOCK, "2024-03-28", "2024-04-02", "03-28 04-02"),
        ("LSE", STOCK, "2024-05-03", "2024-05-07", "05-03 05-07"),
        ("LSE", STOCK, "2024-05-24", "2024-05-28", "05-24 05-28"),
        ("LSE", STOCK, "2024-08-23", "2024-08-27", "08-23 08-27"),
        ("LSE", STOCK, "2024-12-24", "2024-12-27", "12-24 12-27"),
        # Golden Week and the turn of the year.
        ("JPX", STOCK, "2024-04-26", "2024-05-07", "04-26 04-30 05-01 05-02 05-07"),
        ("JPX", STOCK, "2024-12-30", "2025-01-06", "12-30 01-06"),
        ("JPX", STOCK, "2024-11-01", "2024-11-05", "11-01 11-05"),
        # Australia Day, Anzac Day, the King's birthday; New South Wales' Labour Day is a session.
        ("ASX", STOCK, "2024-01-25", "2024-01-29", "01-25 01-29"),
        ("ASX", STOCK, "2024-04-24", "2024-04-26", "04-24 04-26"),
        ("ASX", STOCK, "2024-06-07", "2024-06-11", "06-07 06-11"),
        ("ASX", STOCK, "2024-10-04", "2024-10-08", "10-04 10-07 10-08"),
        ("CCC", CRYPTO, "2024-12-27", "2025-01-01", "12-27 12-28 12-29 12-30 12-31 01-01"),
        ("CCY", FX, "2024-12-24", "2024-12-31", "12-24 12-25 12-26 12-27 12-30 12-31"),
    ],
)
def test_days(code: str, kind: InstrumentKind, first: str, last: str, days: str) -> None:
    sessions = calendar_of(code, kind).sessions(date.fromisoformat(first), date.fromisoformat(last))
    assert [session.session_date.strftime("%m-%d") for session in sessions] == days.split()


def test_between_sessions() -> None:
    calendar = calendar_of("NMS")
    saturday = utc("2024-07-06 12:00")
    assert not calendar.is_open(saturday)
    assert calendar.session_on(saturday.date()) is None
    assert calendar.last_closed(saturday).session_date == date(2024, 7, 5)
    assert calendar.next_unfinished(saturday).session_date == date(2024, 7, 8)
    assert not calendar.is_open(utc("2024-07-08 13:29"))


def test_a_weekend_of_currencies() -> None:
    calendar = calendar_of("CCY", FX)
    assert calendar.is_open(utc("2024-07-05 22:59"))
    assert not calendar.is_open(utc("2024-07-05 23:00"))
    assert not calendar.is_open(utc("2024-07-07 22:59"))
    assert calendar.is_open(utc("2024-07-07 23:00"))


@pytest.mark.parametrize(
    ("code", "noon"),
    [("HKG", "2024-11-04 04:30"), ("JPX", "2024-11-05 03:00"), ("SHH", "2024-11-04 04:00")],
)
def test_a_lunch_break_is_part_of_the_session(code: str, noon: str) -> None:
    assert calendar_of(code).is_open(utc(noon))


def test_an_unknown_exchange_trades_on_weekdays_of_its_own_zone() -> None:
    calendar = calendar_of("VSE", timezone="Asia/Ho_Chi_Minh")
    assert (calendar.code, calendar.inferred) == ("VSE", True)
    friday, monday = calendar.sessions(date(2024, 11, 1), date(2024, 11, 4))
    assert friday.session_date == date(2024, 11, 1)
    assert (monday.open_time, monday.close_time) == (
        utc("2024-11-04 02:30"),
        utc("2024-11-04 09:00"),
    )
    assert monday.inferred


def test_an_unknown_exchange_follows_its_zone_s_clock() -> None:
    calendar = calendar_of("QQQ", timezone="America/New_York")
    before, after = calendar.sessions(date(2024, 3, 8), date(2024, 3, 11))
    assert (before.open_time, after.open_time) == (utc("2024-03-08 14:30"), utc("2024-03-11 13:30"))


def test_weeks_that_begin_on_sunday() -> None:
    days = calendar_of("KUW", timezone="Asia/Kuwait").sessions(date(2024, 11, 1), date(2024, 11, 7))
    assert [session.session_date.day for session in days] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("timezone", ["", "Nowhere/Nothing", "../../etc/passwd", "x\0y", "Europe"])
def test_an_unknown_zone_is_utc(timezone: str) -> None:
    session = calendar_of("ZZZ", timezone=timezone).session_on(date(2024, 11, 4))
    assert session is not None
    assert session.open_time == utc("2024-11-04 09:30")


def test_an_ordinary_week_is_assumed_outside_what_is_known() -> None:
    # The calendar of Riyadh, which trades from Sunday to Thursday, begins with 2021.
    calendar = calendar_of("SAU")
    assert not calendar.inferred
    sessions = calendar.sessions(date(2020, 12, 30), date(2021, 1, 4))
    assert [(session.session_date.isoformat(), session.inferred) for session in sessions] == [
        ("2020-12-30", True),
        ("2020-12-31", True),
        ("2021-01-03", False),
        ("2021-01-04", False),
    ]
    far = datetime.now(UTC) + timedelta(days=3 * 365)
    assert calendar.next_unfinished(far).inferred
    with pytest.raises(LookupError, match="XSAU"):
        calendar.next_unfinished(far + timedelta(days=3 * 365))
    with pytest.raises(LookupError, match="XSAU"):
        calendar.last_closed(utc("1990-01-01 00:00"))


@pytest.mark.parametrize("code", sorted(CALENDARS))
def test_every_code_opens_its_calendar(code: str) -> None:
    calendar = calendar_of(code)
    assert not calendar.inferred
    assert calendar.code == CALENDARS[code]
    assert calendar_of(calendar.code).code == calendar.code
    year = calendar.sessions(date(2025, 1, 1), date(2025, 12, 31))
    assert 235 <= len(year) <= 365
    assert not any(session.inferred for session in year)
    for session in year:
        assert timedelta(hours=1) < session.close_time - session.open_time <= timedelta(hours=25)
    for earlier, later in pairwise(year):
        assert earlier.close_time <= later.open_time


def test_a_calendar_is_opened_once_by_any_thread() -> None:
    with ThreadPoolExecutor(8) as threads:
        codes = ("NMS", "NYQ", "XNYS", "SNP") * 4
        opened = set(threads.map(lambda code: session_calendar(STOCK, code, code), codes))
    assert len(opened) == 1


def test_a_pair_is_crypto_or_fx_whatever_exchange_the_source_names() -> None:
    assert calendar_of("NMS", CRYPTO).code == "24/7"
    assert calendar_of("", FX).code == "24/5"
