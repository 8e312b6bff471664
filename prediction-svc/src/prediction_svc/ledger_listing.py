"""Rows of the ledger as they are shown: what was said, and all that was written of what came."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, select

from prediction_svc.ledger_rows import Entry, MissedForecast, Outcome, entry_of, instant_of
from prediction_svc.schema import forecasts, outcomes


@dataclass(frozen=True)
class RecordedOutcome:
    """What came of a forecast where it stands in the ledger."""

    number: int
    row_hash: bytes
    record_time: datetime
    """Market time at which it was written down."""
    said: Outcome


@dataclass(frozen=True)
class Written:
    """A row of the forecasts, and what came of it."""

    entry: Entry
    outcomes: tuple[RecordedOutcome, ...]
    """Oldest first; nothing while it is open, and of a missed one."""

    @property
    def outcome_kind(self) -> str | None:
        """resolved, unresolved or revised; None while it is open, and for a missed one."""
        return self.outcomes[-1].said.kind if self.outcomes else None

    @property
    def log_move(self) -> float | None:
        """The latest that is known."""
        return self.outcomes[-1].said.log_move if self.outcomes else None

    @property
    def reason(self) -> str:
        """Why it was missed or is unresolved."""
        if isinstance(self.entry.said, MissedForecast):
            return self.entry.said.reason
        return self.outcomes[-1].said.reason if self.outcomes else ""


def read_written(  # noqa: PLR0913 - what narrows it, by name
    connection: Connection,
    market_id: str,
    *,
    symbol: str | None = None,
    horizon: int | None = None,
    before: int | None = None,
    count: int,
) -> list[Written]:
    """The last `count` rows of numbers below `before`, the latest first.

    Only those of one symbol or one horizon where these are named.
    """
    table = forecasts.c
    wanted = [table.market_id == market_id]
    if symbol is not None:
        wanted.append(table.symbol == symbol)
    if horizon is not None:
        wanted.append(table.horizon == horizon)
    if before is not None:
        wanted.append(table.number < before)
    return _read(connection, market_id, wanted, count)


def read_row(connection: Connection, market_id: str, number: int) -> Written | None:
    """The forecast of a row, or of a row that says what came of it; None where there is neither."""
    of_outcome = select(outcomes.c.forecast_number).where(
        outcomes.c.market_id == market_id, outcomes.c.number == number
    )
    forecast_number = connection.execute(of_outcome).scalar_one_or_none() or number
    table = forecasts.c
    wanted = [table.market_id == market_id, table.number == forecast_number]
    return next(iter(_read(connection, market_id, wanted, 1)), None)


def _read(
    connection: Connection, market_id: str, wanted: Sequence[ColumnElement[bool]], count: int
) -> list[Written]:
    rows = select(forecasts).where(*wanted).order_by(forecasts.c.number.desc()).limit(count)
    entries = [entry_of(row._mapping) for row in connection.execute(rows)]
    numbers = [entry.number for entry in entries]
    found = (
        select(outcomes)
        .where(outcomes.c.market_id == market_id, outcomes.c.forecast_number.in_(numbers))
        .order_by(outcomes.c.revision)
    )
    recorded: dict[int, list[RecordedOutcome]] = defaultdict(list)
    for row in connection.execute(found):
        recorded[row.forecast_number].append(_recorded(row))
    return [Written(entry, tuple(recorded[entry.number])) for entry in entries]


def _recorded(row: Row[tuple[object, ...]]) -> RecordedOutcome:
    said = Outcome(
        forecast_number=row.forecast_number,
        revision=row.revision,
        resolved_day=row.resolved_day,
        delayed=bool(row.delayed),
        close=row.close,
        split_factor=row.split_factor,
        dividend=row.dividend,
        log_move=row.log_move,
        reason=row.reason,
    )
    return RecordedOutcome(row.number, row.row_hash, instant_of(row.record_micros), said)
