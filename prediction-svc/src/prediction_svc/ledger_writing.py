"""Appending to the ledger, inside a transaction that keeps every other writer out."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, select, text

from prediction_svc.ledger_encoding import GENESIS, row_hash
from prediction_svc.ledger_rows import (
    Entry,
    Key,
    LedgerForecast,
    MissedForecast,
    Outcome,
    entry_of,
    micros,
)
from prediction_svc.schema import forecasts, outcomes

_ROWS_AT_ONCE = 250


@dataclass(frozen=True)
class Head:
    """The last row of a market's chain; whoever knows it can tell whether the past was changed."""

    market_id: str
    count: int
    row_hash: bytes

    def __str__(self) -> str:
        return f"{self.row_hash.hex()}@{self.count}"


@dataclass(frozen=True)
class Appended:
    """What came of a batch: the rows as they stand, in order of their keys.

    `late` came after their deadlines and are not written down, nor ever will be.
    """

    entries: tuple[Entry, ...]
    added: int
    late: tuple[LedgerForecast, ...]
    head: Head


def lock_chain(connection: Connection, market_id: str) -> None:
    """Let nobody else append to the market's chain until the transaction ends."""
    if connection.dialect.name == "sqlite":
        return  # the transaction has begun IMMEDIATE
    digest = hashlib.sha256(f"ledger {market_id}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def read_head(connection: Connection, market_id: str) -> Head:
    """The head of the market's chain: of the last rows of both tables the later one."""
    ends = [
        row
        for table in (forecasts, outcomes)
        for row in connection.execute(_last_row(table, market_id))
    ]
    last = max(ends, key=lambda row: row.number, default=None)
    return Head(market_id, 0, GENESIS) if last is None else Head(market_id, *last)


def append_forecasts(
    connection: Connection,
    market_id: str,
    batch: Sequence[LedgerForecast | MissedForecast],
    market_time: datetime,
) -> Appended:
    """Write a batch down, except what is there already and what comes too late.

    Raises ValueError where a row cannot be written, where two have the same key, or where one is
    said to be missed before its deadline.
    """
    said = {each.key: each for each in batch}
    if len(said) != len(batch):
        raise ValueError("a batch names a symbol twice for the same horizon and session")
    now = micros(market_time)
    lock_chain(connection, market_id)
    standing = _standing(connection, market_id, said.keys())
    late: list[LedgerForecast] = []
    rows: list[dict[str, Any]] = []
    for key in sorted(said.keys() - standing.keys()):
        each, is_over = said[key], now >= micros(said[key].deadline)
        if is_over and isinstance(each, LedgerForecast):
            late.append(each)
            continue
        if isinstance(each, MissedForecast) and not is_over:
            raise ValueError(f"{each.symbol} cannot be missed before {each.deadline}")
        rows.append({**each.columns(), "issue_micros": now})
    head = _chain(connection, forecasts, read_head(connection, market_id), rows)
    entries = standing | {entry.said.key: entry for entry in map(entry_of, rows)}
    return Appended(tuple(entries[key] for key in sorted(entries)), len(rows), tuple(late), head)


def append_outcomes(
    connection: Connection, market_id: str, batch: Sequence[Outcome], market_time: datetime
) -> tuple[int, Head]:
    """Write down what came of forecasts, except what is there; return how many rows were added.

    Raises ValueError where one is of no forecast, or skips a revision.
    """
    now = micros(market_time)
    lock_chain(connection, market_id)
    revisions = _revisions(connection, market_id, {each.forecast_number for each in batch})
    rows = []
    for each in sorted(batch, key=lambda each: (each.forecast_number, each.revision)):
        if each.forecast_number not in revisions:
            raise ValueError(f"row {each.forecast_number} is no forecast of {market_id}")
        latest = revisions[each.forecast_number]
        if each.revision > latest + 1:
            raise ValueError(f"revision {each.revision} of {each.forecast_number} comes too early")
        if each.revision == latest + 1:
            revisions[each.forecast_number] = each.revision
            rows.append({**each.columns(), "record_micros": now})
    return len(rows), _chain(connection, outcomes, read_head(connection, market_id), rows)


def _last_row(table: Table, market_id: str) -> Select[Any]:
    query = select(table.c.number, table.c.row_hash).where(
        table.c.market_id == market_id, table.c.number <= LARGEST_NUMBER
    )
    return query.order_by(table.c.number.desc()).limit(1)


def _chain(connection: Connection, table: Table, head: Head, rows: list[dict[str, Any]]) -> Head:
    """Link the rows to the head, insert them and return the new head."""
    market_id, number, last = head.market_id, head.count, head.row_hash
    for row in rows:
        number += 1
        row |= {"market_id": market_id, "number": number, "prev_hash": last}
        last = row["row_hash"] = row_hash(last, table.name, row)
    for begin in range(0, len(rows), _ROWS_AT_ONCE):  # each row is copied twice on its way
        connection.execute(table.insert(), rows[begin : begin + _ROWS_AT_ONCE])
    return Head(market_id, number, last)


def _standing(connection: Connection, market_id: str, keys: Iterable[Key]) -> dict[Key, Entry]:
    wanted = set(keys)
    found = select(forecasts).where(
        forecasts.c.market_id == market_id,
        forecasts.c.as_of_day.in_(sorted({key.as_of_day for key in wanted})),
    )
    return {
        key: entry_of(row._mapping)
        for row in connection.execute(found)
        if (key := Key(row.as_of_day, row.symbol, row.horizon)) in wanted
    }


def _revisions(connection: Connection, market_id: str, numbers: Iterable[int]) -> dict[int, int]:
    """The latest revision of each forecast among the numbers, −1 where it has no outcome."""
    wanted = sorted(numbers)
    latest: dict[int, int] = {}
    for begin in range(0, len(wanted), _PARAMETERS):
        some = wanted[begin : begin + _PARAMETERS]
        there = select(forecasts.c.number).where(
            forecasts.c.market_id == market_id,
            forecasts.c.kind == "forecast",
            forecasts.c.number.in_(some),
        )
        latest |= dict.fromkeys(connection.execute(there).scalars(), -1)
        recorded = (
            select(outcomes.c.forecast_number, outcomes.c.revision)
            .where(outcomes.c.market_id == market_id, outcomes.c.forecast_number.in_(some))
            .order_by(outcomes.c.revision)
        )
        latest |= {row.forecast_number: row.revision for row in connection.execute(recorded)}
    return latest


LARGEST_NUMBER = 2**63 - 1
"""What SQLite sorts behind it is text or bytes, which somebody put there instead of a number."""
_PARAMETERS = 5000
