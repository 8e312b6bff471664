"""Walking a market's chain: whether every row is as it was written, and where it first is not."""

import heapq
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NULLTYPE

from prediction_svc.ledger_encoding import GENESIS, row_hash
from prediction_svc.ledger_writing import LARGEST_NUMBER, Head, read_head
from prediction_svc.outcomes import log_move
from prediction_svc.schema import forecasts, outcomes

Row = Mapping[Any, Any]
_PAGE = 1000
_EPOCH = date(1970, 1, 1)
_UNREADABLE = "unreadable"
_EXPECTED = re.compile(r"([0-9a-f]{64})(?:@([1-9][0-9]*))?")
_MOVE_TOLERANCE = 1e-9  # logarithms differ in their last bits from library to library


class FaultKind(Enum):
    """What can be wrong with a chain."""

    MISSING = "missing"
    ORDER = "order"
    LINK = "link"
    HASH = "hash"
    CONTENT = "content"
    HEAD = "head"


@dataclass(frozen=True)
class Fault:
    """The first row of a chain that is not as it was written."""

    number: int
    kind: FaultKind
    message: str
    """A sentence for people that names the row."""


@dataclass(frozen=True)
class ExpectedHead:
    """A head that was published; the chain may have grown since."""

    row_hash: bytes
    count: int | None

    @classmethod
    def parse(cls, text: str) -> "ExpectedHead":
        """Read HASH or HASH@COUNT. Raises ValueError."""
        found = _EXPECTED.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError("a head is written as 64 hexadecimal digits, or those @ how many rows")
        return cls(bytes.fromhex(found[1]), int(found[2]) if found[2] else None)


@dataclass(frozen=True)
class Verification:
    """What a walk found."""

    head: Head
    """The last row as it stands; of a chain with a fault nothing follows from it."""
    fault: Fault | None

    def __str__(self) -> str:
        if self.fault is not None:
            return f"{self.head.market_id}: {self.fault.message}"
        return (
            f"{self.head.market_id}: {self.head.count} rows, all as they were written; "
            f"head {self.head}"
        )


Progress = Callable[[int, int], None]
"""Told every so often how many rows of how many were walked."""


def read_market_ids(connection: Connection) -> list[str]:
    """The markets that have a chain."""
    found = {
        market_id
        for table in (forecasts, outcomes)
        for market_id in connection.execute(select(table.c.market_id).distinct()).scalars()
    }
    return sorted(found, key=str)


def verify_chain(
    connection: Connection,
    market_id: str,
    expected: ExpectedHead | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Walk a market's chain from its first row to its head, in constant memory.

    Each row must follow the one before in number and hash, hash to what it says it does, be the
    only one of its key, and make sense; and the expected head must be a row of the chain.
    """
    head = read_head(connection, market_id)
    for table in (forecasts, outcomes):
        beyond = (table.c.market_id == market_id) & (table.c.number > LARGEST_NUMBER)
        if connection.execute(select(table.c.row_hash).where(beyond).limit(1)).first() is not None:
            message = f"a row of {table.name} has something else where its number was"
            return Verification(head, Fault(head.count + 1, FaultKind.ORDER, message))
    walk = _Walk(expected, _first_doubles(connection, market_id))
    for table, row in _rows(connection, market_id, head.count):
        fault = walk.fault_of(table, row)
        if fault is not None:
            return Verification(head, fault)
        if progress is not None and (row["number"] % _PAGE == 0 or row["number"] == head.count):
            progress(row["number"], head.count)
    return Verification(head, walk.head_fault())


class _Walk:
    """Where a walk along the chain is."""

    def __init__(self, expected: ExpectedHead | None, doubles: Mapping[str, int]) -> None:
        self._expected = expected
        self._doubles = doubles
        self._met_expected = False
        self._number = 0
        self._last = GENESIS

    def fault_of(self, table: Table, row: Row) -> Fault | None:
        """What is wrong with the next row; nothing where the walk may go on."""
        fault = self._place_fault(table, row) or self._hash_fault(table, row)
        if fault is not None:
            return fault
        number = row["number"]
        nonsense = _nonsense(table, row)
        if self._doubles.get(table.name) == number:
            nonsense = "another row has the same key"
        if nonsense:
            return Fault(number, FaultKind.CONTENT, f"{_name(table, row)} cannot be: {nonsense}")
        self._number, self._last = number, row["row_hash"]
        return self._meet(_name(table, row))

    def _place_fault(self, table: Table, row: Row) -> Fault | None:
        number, due, name = row["number"], self._number + 1, _name(table, row)
        if number > due:
            return Fault(due, FaultKind.MISSING, f"row {due} is missing before {name}")
        if number < due:
            return Fault(number, FaultKind.ORDER, f"{name} is out of order")
        return None

    def _hash_fault(self, table: Table, row: Row) -> Fault | None:
        number, name = row["number"], _name(table, row)
        if _UNREADABLE in row:
            return Fault(number, FaultKind.HASH, f"{name} cannot be read: it was changed")
        if row["prev_hash"] != self._last:
            what = f"row {number - 1}" if self._number else "the beginning"
            message = f"{name} does not follow {what}: one of them was changed"
            return Fault(number, FaultKind.LINK, message)
        try:
            if row["row_hash"] == row_hash(self._last, table.name, row):
                return None
            why = "its hash is not that of what it says"
        except ValueError as error:
            why = str(error)
        return Fault(number, FaultKind.HASH, f"{name} was changed: {why}")

    def _meet(self, name: str) -> Fault | None:
        expected = self._expected
        if expected is None:
            return None
        if expected.row_hash == self._last and expected.count in (None, self._number):
            self._met_expected = True
        elif expected.count == self._number:
            message = f"{name} does not have the hash that was published: the chain was rewritten"
            return Fault(self._number, FaultKind.HEAD, message)
        return None

    def head_fault(self) -> Fault | None:
        """Whether the chain ends before, or never comes by, the head that was published."""
        if self._expected is None or self._met_expected:
            return None
        if self._expected.count is not None:
            message = (
                f"the chain ends with row {self._number}, and had {self._expected.count}: "
                "its tail was cut off"
            )
        else:
            message = (
                f"none of the {self._number} rows has the hash that was published: "
                "the tail was cut off, or the chain rewritten"
            )
        return Fault(self._number + 1, FaultKind.HEAD, message)


def _nonsense(table: Table, row: Row) -> str:
    """Why a row that was never changed should never have been written; empty for none."""
    if table is outcomes:
        return _outcome_nonsense(row)
    if row["kind"] not in ("forecast", "missed"):
        return "it is neither a forecast nor a missed one"
    if row["kind"] == "forecast" and row["issue_micros"] >= row["deadline_micros"]:
        return "it was issued after its deadline"
    if row["target_day"] <= row["as_of_day"]:
        return "its target session does not come after its as-of session"
    return ""


def _outcome_nonsense(row: Row) -> str:
    if row["forecast_kind"] != "forecast" or row["forecast_number"] >= row["number"]:
        return f"row {row['forecast_number']} is not a forecast made before it"
    if row["log_move"] is None:
        return ""
    factors = (row["close"], row["split_factor"], row["dividend"], row["forecast_reference_close"])
    try:
        move = log_move(*factors)
    except (TypeError, ValueError, ZeroDivisionError):
        return "it has a move without the prices for it"
    if not math.isclose(row["log_move"], move, rel_tol=0, abs_tol=_MOVE_TOLERANCE):
        return "its move is not that from the reference close to its close"
    return ""


def _name(table: Table, row: Row) -> str:
    if _UNREADABLE in row:
        return f"row {row['number']}"
    if table is outcomes:
        return f"row {row['number']} (the outcome of row {row['forecast_number']})"
    what = f"{row['symbol']}, horizon {row['horizon']}, as of {_date(row['as_of_day'])}"
    return f"row {row['number']} ({what})"


def _date(day: Any) -> str:
    try:
        return str(_EPOCH + timedelta(days=day))
    except (TypeError, OverflowError):
        return repr(day)  # somebody put it there


def _rows(connection: Connection, market_id: str, last: int) -> Iterator[tuple[Table, Row]]:
    """The rows of both tables up to a number, in order of their numbers."""
    beside = [
        select(column)
        .where(
            forecasts.c.market_id == outcomes.c.market_id,
            forecasts.c.number == outcomes.c.forecast_number,
        )
        .limit(1)
        .correlate(outcomes)
        .scalar_subquery()
        .label(f"forecast_{column.name}")
        for column in (forecasts.c.kind, forecasts.c.reference_close)
    ]
    queries = (
        (forecasts, select(*_raw(forecasts))),
        (outcomes, select(*_raw(outcomes), *beside)),
    )
    streams = [
        _pages(connection, table, query.where(table.c.market_id == market_id), last)
        for table, query in queries
    ]
    return heapq.merge(*streams, key=lambda found: found[1]["number"])


def _raw(table: Table) -> list[ColumnElement[Any]]:
    # as the driver tells them: a value of a wrong type must show, not be converted
    return [type_coerce(column, NULLTYPE).label(column.name) for column in table.c]


def _pages(
    connection: Connection, table: Table, query: Select[Any], last: int
) -> Iterator[tuple[Table, Row]]:
    page = query.where(table.c.number <= last).order_by(table.c.number).limit(_PAGE)
    rows = _read(connection, table, page)
    while rows:
        for row in rows:
            yield table, row
        rows = _read(connection, table, page.where(table.c.number > rows[-1]["number"]))


def _read(connection: Connection, table: Table, page: Select[Any]) -> list[Row]:
    try:
        return [row._mapping for row in connection.execute(page)]
    except DBAPIError:
        if connection.dialect.name != "sqlite":
            raise
    # SQLite keeps text that is not UTF-8 if made to, and then cannot read it.
    numbers = connection.execute(page.with_only_columns(table.c.number)).scalars().all()
    rows: list[Row] = []
    for number in numbers:
        try:
            rows.append(connection.execute(page.where(table.c.number == number)).one()._mapping)
        except DBAPIError:
            rows.append({"number": number, _UNREADABLE: True})
    return rows


def _first_doubles(connection: Connection, market_id: str) -> dict[str, int]:
    """Of each table the first row whose key an earlier one has, where the index was taken away."""
    keys = {
        forecasts: ("symbol", "horizon", "as_of_day"),
        outcomes: ("forecast_number", "revision"),
    }
    found: dict[str, int] = {}
    for table, key in keys.items():
        columns = [table.c[name] for name in key]
        doubled = (
            select(func.max(table.c.number).label("number"))
            .where(table.c.market_id == market_id)
            .group_by(*columns)
            .having(func.count() > 1)
            .subquery()
        )
        first = connection.execute(select(func.min(doubled.c.number))).scalar()
        if first is not None:
            found[table.name] = first
    return found
