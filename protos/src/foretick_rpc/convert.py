"""Conversions between Python's times and those of the contracts."""

from datetime import UTC, date, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = date(1970, 1, 1)


def timestamp(instant: datetime) -> Timestamp:
    """The protobuf form of an aware datetime.

    Raises ValueError for a naive one, whose instant nobody knows.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone")
    message = Timestamp()
    message.FromDatetime(instant)
    return message


def instant(message: Timestamp) -> datetime:
    """The aware UTC datetime of a protobuf timestamp."""
    return message.ToDatetime(tzinfo=UTC)


def epoch_day(day: date) -> int:
    """Days from 1970-01-01 to `day`."""
    return (day - _EPOCH).days


def date_of_epoch_day(days: int) -> date:
    """The date that is `days` after 1970-01-01."""
    return _EPOCH + timedelta(days=days)
