from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from foretick_rpc.convert import date_of_epoch_day, epoch_day, instant, timestamp


def test_instants_survive_in_utc() -> None:
    tokyo = datetime(2026, 1, 5, 9, 0, tzinfo=timezone(timedelta(hours=9)))
    assert instant(timestamp(tokyo)) == datetime(2026, 1, 5, 0, 0, tzinfo=UTC)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        timestamp(datetime(2026, 1, 5, 9, 0))  # noqa: DTZ001 - the point of the test


def test_epoch_days() -> None:
    assert epoch_day(date(1970, 1, 1)) == 0
    assert epoch_day(date(2020, 1, 2)) == 18263
    assert date_of_epoch_day(18263) == date(2020, 1, 2)
