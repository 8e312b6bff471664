"""The ledger's guards: the database refuses what may not be, whoever asks."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from foretick_rpc.database import Database, migrate, open_database
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_encoding import row_hash
from prediction_svc.ledger_writing import read_head
from prediction_svc.schema import forecasts
from prediction_svc.testing import (
    FIRST_DAY,
    batch_of,
    close_of,
    holding,
    score_all,
    writable_ledger,
)
from temporary_postgres import PostgresServer

MARKET = "demo:1"


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[tuple[Database, Ledger]]:
    async with writable_ledger(database_url) as both:
        yield both


@pytest.fixture
def database(opened: tuple[Database, Ledger]) -> Database:
    return opened[0]


@pytest.fixture
def ledger(opened: tuple[Database, Ledger]) -> Ledger:
    return opened[1]


async def fill(ledger: Ledger, sessions: int = 3) -> None:
    """Some sessions, issued and scored."""
    for day in range(FIRST_DAY, FIRST_DAY + sessions):
        await ledger.append(MARKET, batch_of(day), close_of(day))
        await score_all(ledger, MARKET, day)


def run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


STATEMENTS = (
    "UPDATE {table} SET reason = 'better'",
    "UPDATE {table} SET reason = 'better' WHERE number = (SELECT max(number) FROM {table})",
    "DELETE FROM {table}",
    "DELETE FROM {table} WHERE number = (SELECT max(number) FROM {table})",
)
SQLITE_STATEMENTS = (
    "INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1",
    "REPLACE INTO {table} SELECT * FROM {table} WHERE number = (SELECT max(number) FROM {table})",
    "INSERT OR IGNORE INTO {table} SELECT * FROM {table}",
    "UPDATE OR REPLACE {table} SET number = 1",
)
POSTGRES_STATEMENTS = (
    "TRUNCATE {table} CASCADE",
    "INSERT INTO {table} SELECT * FROM {table} LIMIT 1"
    " ON CONFLICT (market_id, number) DO UPDATE SET reason = 'better'",
)


@pytest.mark.parametrize("table", ["forecasts", "outcomes"])
async def test_nothing_is_changed_or_taken_away(
    ledger: Ledger, database: Database, table: str
) -> None:
    await fill(ledger)
    head = await ledger.head(MARKET)
    is_sqlite = database.is_exclusive
    for statement in STATEMENTS + (SQLITE_STATEMENTS if is_sqlite else POSTGRES_STATEMENTS):
        said = statement.format(table=table)
        with pytest.raises(DBAPIError, match="ledger"):
            await database.write(partial(run, statement=said))
    assert await ledger.head(MARKET) == head
    assert (await ledger.verify(MARKET)).fault is None


def copied(connection: Connection, **changes: Any) -> dict[str, Any]:
    """The last forecast's row, chained anew to the head with some changes."""
    last = select(forecasts).order_by(forecasts.c.number.desc()).limit(1)
    row: dict[str, Any] = dict(connection.execute(last).mappings().one())
    head = read_head(connection, MARKET)
    row |= {"number": head.count + 1, "prev_hash": head.row_hash} | changes
    return row | {"row_hash": row_hash(row["prev_hash"], "forecasts", row)}


MISFITS: tuple[dict[str, Any], ...] = (
    {},  # its key is there
    {"symbol": "NEW", "number": 1},
    {"symbol": "NEW", "number": 100},
    {"symbol": "NEW", "prev_hash": bytes(32)},
    {"symbol": "NEW", "prev_hash": b"\1" * 32},
    {"symbol": "NEW", "issue_micros": 2**60},
    {"symbol": "NEW", "kind": "missed"},
    {"symbol": "NEW", "kind": "guess"},
    {"symbol": "NEW", "q50": None},
    {"symbol": "NEW", "target_day": 1},
)


async def test_the_database_itself_refuses_what_does_not_fit(
    ledger: Ledger, database: Database, subtests: pytest.Subtests
) -> None:
    await fill(ledger, sessions=2)

    def insert_copy(connection: Connection, **changes: Any) -> None:
        connection.execute(insert(forecasts), [copied(connection, **changes)])

    for place, changes in enumerate(MISFITS):
        with subtests.test(changes=changes):
            with pytest.raises(DBAPIError):
                await database.write(partial(insert_copy, **changes))
            assert (await ledger.verify(MARKET)).fault is None
            # What fits goes in, so it was the change that did not.
            await database.write(partial(insert_copy, symbol=f"FITS{place}"))
            assert (await ledger.verify(MARKET)).fault is None


async def test_a_row_at_its_deadline_is_refused_by_the_database(
    ledger: Ledger, database: Database
) -> None:
    await fill(ledger, sessions=1)

    def insert_late(connection: Connection) -> None:
        row = copied(connection, symbol="NEW")
        late = copied(connection, symbol="NEW", issue_micros=row["deadline_micros"])
        connection.execute(insert(forecasts), [late])

    with pytest.raises(IntegrityError, match="ck_forecasts_in_time"):
        await database.write(insert_late)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL has no REPLACE
async def test_a_replace_asks_the_delete_trigger_where_triggers_are_recursive(
    database_url: str, ledger: Ledger
) -> None:
    """The second lock, which is the connection's: it holds where the first was taken away."""
    await fill(ledger)
    with closing(sqlite3.connect(make_url(database_url).database or "")) as connection:
        connection.execute("DROP TRIGGER forecasts_no_replace")
        connection.execute("DROP TRIGGER forecasts_link")
        connection.execute("PRAGMA recursive_triggers=ON")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("REPLACE INTO forecasts SELECT * FROM forecasts LIMIT 1")


async def test_the_service_itself_may_only_read_and_append(
    postgres_server: PostgresServer,
) -> None:
    """Roles as a cluster has them: an owner that migrates, and one that serves."""
    postgres_server.sql("CREATE ROLE ledger_owner LOGIN; CREATE ROLE ledger_service LOGIN")
    postgres_server.sql("CREATE ROLE ledger_reader LOGIN")
    owner_url = postgres_server.new_database("ledger_owner")
    name = make_url(owner_url).database or ""
    for statement in (
        "ALTER SCHEMA public OWNER TO ledger_owner; GRANT USAGE ON SCHEMA public TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE ledger_owner IN SCHEMA public"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ledger_service",
        "ALTER DEFAULT PRIVILEGES FOR ROLE ledger_owner IN SCHEMA public"
        " GRANT ALL ON TABLES TO PUBLIC",
    ):
        postgres_server.sql(statement, name)
    await migrate(owner_url, "prediction_svc")
    url = owner_url.replace("ledger_owner", "ledger_service")
    async with open_database(url, "prediction_svc") as database, holding(database) as lease:
        ledger = Ledger(database, lease)
        await fill(ledger)
        assert (await ledger.verify(MARKET)).fault is None
        for table in ("forecasts", "outcomes"):
            for statement in (
                f"UPDATE {table} SET reason = 'better'",  # noqa: S608 - of a table named above
                f"DELETE FROM {table}",  # noqa: S608
                f"TRUNCATE {table} CASCADE",
                f"ALTER TABLE {table} DISABLE TRIGGER USER",
                f"DROP TABLE {table} CASCADE",
            ):
                with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                    await database.write(partial(run, statement=statement))
