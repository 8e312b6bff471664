"""Whatever is changed behind the triggers, `verify` finds it and names the row."""

import asyncio
import math
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import (
    Connection,
    Executable,
    Table,
    create_engine,
    delete,
    insert,
    make_url,
    select,
    text,
    update,
)

from foretick_rpc.database import Database, open_database
from foretick_rpc.leases import Lease
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_encoding import FORECAST_FIELDS, OUTCOME_FIELDS, YARDSTICKS, row_hash
from prediction_svc.ledger_writing import read_head
from prediction_svc.schema import forecasts, leases, outcomes
from prediction_svc.testing import (
    FIRST_DAY,
    batch_of,
    close_of,
    holding,
    judged_of,
    missed_of,
    score_all,
    writable_ledger,
)
from prediction_svc.verifying import ExpectedHead, FaultKind, Verification
from temporary_postgres import PostgresServer

MARKET = "demo:1"
Work = Callable[[Connection], object]


@dataclass(frozen=True)
class Tampered:
    """A ledger, and a way behind what guards it."""

    url: str
    database: Database
    ledger: Ledger

    async def tamper(self, *works: Work) -> None:
        """Change rows as somebody would who may do everything with the database."""
        if not self.database.is_exclusive:
            for work in works:
                await self.database.write(work)
            return

        def behind() -> None:
            engine = create_engine(self.url)
            with engine.begin() as connection:
                for work in works:
                    work(connection)
            engine.dispose()

        await asyncio.to_thread(behind)

    async def execute(self, statement: Executable) -> None:
        await self.tamper(lambda connection: connection.execute(statement))

    async def unguard(self) -> None:
        """Take triggers and constraints away."""
        await self.tamper(_unguard)

    async def verify(self, expected: str | None = None) -> Verification:
        head = None if expected is None else ExpectedHead.parse(expected)
        return await self.ledger.verify(MARKET, head)


def _unguard(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for name in connection.exec_driver_sql(triggers).scalars().all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
    for table in ("outcomes", "forecasts"):  # a copy has no constraint and no trigger
        connection.exec_driver_sql(f"CREATE TABLE copy AS SELECT * FROM {table}")  # noqa: S608
        connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql(f"ALTER TABLE copy RENAME TO {table}")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def written_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Four sessions: forecasts, outcomes, and one that was missed; only to be copied.

    Forecasts of the third session have yardsticks, among them the one in the middle.
    """
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('written') / 'a.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
    async with writable_ledger(url) as (_, ledger):
        for day in range(FIRST_DAY, FIRST_DAY + 4):
            batch = batch_of(day, ("AAA", "BBB"), (1, 2))
            if day == FIRST_DAY + 2:
                batch = [judged_of(each.symbol, day, each.horizon) for each in batch]
            await ledger.append(MARKET, batch, close_of(day))
            await score_all(ledger, MARKET, day)
        missed = missed_of("CCC", FIRST_DAY)
        await ledger.append(MARKET, [missed], missed.deadline)
    return url


@pytest.fixture
def copied_url(request: pytest.FixtureRequest, written_url: str, tmp_path: Path) -> str:
    """A copy of one's own."""
    written = make_url(written_url).database or ""
    if written_url.startswith("sqlite"):
        return f"sqlite:///{shutil.copy(written, tmp_path)}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database(template=written)


@pytest.fixture
async def tampered(copied_url: str) -> AsyncIterator[Tampered]:
    async with open_database(copied_url, "prediction_svc") as database:
        # Whoever verifies holds no lease.
        ledger = Ledger(database, Lease(database, leases, "work"))
        yield Tampered(copied_url, database, ledger)


def changed(value: Any) -> list[Any]:
    """The value with its least part changed, and others."""
    if value is None:
        return [1]
    if isinstance(value, str):
        return [value + " ", value[:-1] + chr(ord(value[-1]) ^ 1)] if value else ["x"]
    if isinstance(value, bytes):
        return [value[:-1] + bytes([value[-1] ^ 1]), bytes([value[0] ^ 128]) + value[1:], None]
    if isinstance(value, float):
        return [math.nextafter(value, math.inf), -value, None]
    return [value + 1, value + 1000, value ^ 1]


def set_to(table: Table, number: int, name: str, value: object) -> Work:
    statement = update(table).where(table.c.number == number, table.c.market_id == MARKET)
    return lambda connection: connection.execute(statement.values({name: value}))


def all_rows(connection: Connection, table: Table) -> list[dict[str, Any]]:
    found = connection.execute(select(table).order_by(table.c.number)).mappings()
    return [dict(row) for row in found]


@pytest.mark.parametrize("table", [forecasts, outcomes], ids=str)
async def test_a_change_of_any_field_is_found(tampered: Tampered, table: Table) -> None:
    await tampered.unguard()
    assert (await tampered.verify()).fault is None
    rows = await tampered.database.read(lambda connection: all_rows(connection, table))
    row = rows[len(rows) // 2]
    assert table is outcomes or row["yardsticks"]
    number = row["number"]
    tried = 0
    for name, old in row.items():
        known = "prev_hash" if name == "row_hash" else "row_hash"
        change = update(table).where(table.c[known] == row[known])
        for new in changed(old):
            await tampered.execute(change.values({name: new}))
            fault = (await tampered.verify()).fault
            assert fault is not None, (name, new)
            assert fault.number in ((number, new) if name == "number" else (number,)), (name, new)
            assert f"row {fault.number}" in fault.message
            await tampered.execute(change.values({name: old}))
            tried += 1
    assert (await tampered.verify()).fault is None
    assert tried > 1.5 * len(row)


async def test_yardsticks_are_as_they_were_written_to_the_byte(tampered: Tampered) -> None:
    """Each byte of them; none at all; and some for a forecast that was written without."""
    await tampered.unguard()
    rows = await tampered.database.read(lambda connection: all_rows(connection, forecasts))
    judged, plain = rows[9], rows[0]
    packed = judged["yardsticks"]
    assert len(packed) == 24 * 8
    assert plain["yardsticks"] is None
    others = [packed[:i] + bytes([packed[i] ^ 1]) + packed[i + 1 :] for i in range(len(packed))]
    for row, values in ((judged, [*others, None, b"", packed[:-8]]), (plain, [packed, b""])):
        for value in values:
            await tampered.tamper(set_to(forecasts, row["number"], "yardsticks", value))
            fault = (await tampered.verify()).fault
            assert fault is not None
            assert (fault.number, fault.kind) == (row["number"], FaultKind.HASH)
        await tampered.tamper(set_to(forecasts, row["number"], "yardsticks", row["yardsticks"]))
    assert (await tampered.verify()).fault is None


def test_every_column_is_hashed() -> None:
    links = {"prev_hash", "row_hash"}  # the one is hashed before the row, the other is the hash
    fields_of = ((forecasts, (*FORECAST_FIELDS, YARDSTICKS)), (outcomes, OUTCOME_FIELDS))
    for table, fields in fields_of:
        assert {name for name, _, _ in fields} == {column.name for column in table.c} - links


@pytest.mark.parametrize("written_url", ["sqlite"], indirect=True)  # which keeps any type
@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("number = 'x'", "where its number was"),
        ("number = 5.5", "out of order"),
        ("number = -3", "out of order"),
        ("horizon = 'x'", "horizon is 'x', not a int"),
        ("horizon = horizon + 0.5", "horizon is"),
        ("q50 = 'x'", "q50 is"),
        ("symbol = CAST(symbol AS BLOB)", "symbol is"),
        ("symbol = CAST(x'41ff' AS TEXT)", "cannot be read"),
        ("row_hash = hex(row_hash)", "not that of what it says"),
        ("target_inferred = 2", "not that of what it says"),
        ("yardsticks = 'x'", "yardsticks is 'x', not a bytes"),
        ("market_id = CAST(market_id AS BLOB)", "is missing"),
    ],
)
async def test_values_of_other_types_are_found(
    tampered: Tampered, assignment: str, told: str
) -> None:
    await tampered.unguard()
    number = (await tampered.database.read(lambda connection: all_rows(connection, forecasts)))[5][
        "number"
    ]
    statement = f"UPDATE forecasts SET {assignment} WHERE number = {number}"  # noqa: S608 - ours
    await tampered.execute(text(statement))
    fault = (await tampered.verify()).fault
    assert fault is not None
    assert told in fault.message


async def test_a_row_that_was_taken_away_is_missed(tampered: Tampered) -> None:
    await tampered.unguard()
    await tampered.execute(delete(outcomes).where(outcomes.c.number == 10))
    fault = (await tampered.verify()).fault
    assert fault is not None
    assert (fault.number, fault.kind) == (10, FaultKind.MISSING)


async def test_a_cut_tail_is_found_by_the_head_that_was_published(tampered: Tampered) -> None:
    whole = await tampered.ledger.head(MARKET)
    for expected in (str(whole), whole.row_hash.hex()):
        assert (await tampered.verify(expected)).fault is None
    await tampered.unguard()
    for table in (forecasts, outcomes):
        await tampered.execute(delete(table).where(table.c.number >= whole.count - 1))
    assert (await tampered.verify()).fault is None  # it cannot show by itself
    for expected in (str(whole), whole.row_hash.hex()):
        fault = (await tampered.verify(expected)).fault
        assert fault is not None
        assert (fault.number, fault.kind) == (whole.count - 1, FaultKind.HEAD)


async def test_a_head_holds_while_the_chain_grows(tampered: Tampered) -> None:
    head = await tampered.ledger.head(MARKET)
    day = FIRST_DAY + 4
    async with holding(tampered.database) as lease:
        writer = Ledger(tampered.database, lease)
        await writer.append(MARKET, batch_of(day), close_of(day))
    assert (await tampered.ledger.head(MARKET)).count > head.count
    assert (await tampered.verify(str(head))).fault is None
    assert (await tampered.verify(head.row_hash.hex())).fault is None
    other = f"{head.row_hash.hex()}@{head.count + 1}"
    fault = (await tampered.verify(other)).fault
    assert fault is not None
    assert fault.number == head.count + 1


@pytest.mark.parametrize("text", ["", "abc", "0" * 63, "0" * 64 + "@", "0" * 64 + "@0", "g" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        ExpectedHead.parse(text)


def rewrite(connection: Connection, number: int, **changes: Any) -> None:
    """Change a row, and link and hash all rows anew."""
    last = bytes(32)
    rows = [(table, row) for table in (forecasts, outcomes) for row in all_rows(connection, table)]
    for table, old in sorted(rows, key=lambda found: found[1]["number"]):
        row = old | (changes if old["number"] == number else {}) | {"prev_hash": last}
        last = row["row_hash"] = row_hash(last, table.name, row)
        connection.execute(update(table).where(table.c.number == row["number"]).values(row))


async def test_a_chain_that_was_rewritten_is_found_by_the_head(tampered: Tampered) -> None:
    head = await tampered.ledger.head(MARKET)
    await tampered.unguard()
    await tampered.tamper(lambda connection: rewrite(connection, 3, p_up=0.75))
    assert (await tampered.verify()).fault is None
    for expected in (str(head), head.row_hash.hex()):
        fault = (await tampered.verify(expected)).fault
        assert fault is not None
        assert fault.kind is FaultKind.HEAD


async def number_of(tampered: Tampered, kind: str) -> int:
    for table in (forecasts, outcomes):
        for row in await tampered.database.read(partial(all_rows, table=table)):
            if row["kind"] == kind:
                return int(row["number"])
    raise LookupError(kind)


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("forecast", {"issue_micros": 2**60}, "after its deadline"),
        ("forecast", {"target_day": 1}, "target session"),
        ("resolved", {"forecast_number": 500}, "row 500 is not a forecast"),
        ("resolved", {"forecast_number": 25}, "row 25 is not a forecast"),  # but a missed one
        ("resolved", {"log_move": 0.5}, "its move is not"),
        ("resolved", {"close": None}, "without the prices"),
        ("resolved", {"close": -1e9}, "without the prices"),
        ("forecast", {"kind": "guess"}, "neither a forecast"),
    ],
)
async def test_what_should_never_have_been_written_is_found(
    tampered: Tampered, kind: str, changes: dict[str, Any], told: str
) -> None:
    number = await number_of(tampered, kind)
    await tampered.unguard()
    await tampered.tamper(lambda connection: rewrite(connection, number, **changes))
    fault = (await tampered.verify()).fault
    assert fault is not None
    assert (fault.number, fault.kind) == (number, FaultKind.CONTENT)
    assert told in fault.message


async def test_a_forecast_that_was_written_twice_is_found(tampered: Tampered) -> None:
    await tampered.unguard()

    def double(connection: Connection) -> None:
        head = read_head(connection, MARKET)
        row = all_rows(connection, forecasts)[0]
        row |= {"number": head.count + 1, "prev_hash": head.row_hash}
        row["row_hash"] = row_hash(head.row_hash, "forecasts", row)
        connection.execute(insert(forecasts), [row])

    count = (await tampered.ledger.head(MARKET)).count
    await tampered.tamper(double)
    fault = (await tampered.verify()).fault
    assert fault is not None
    assert (fault.number, fault.kind) == (count + 1, FaultKind.CONTENT)
    assert "same key" in fault.message


async def test_progress_is_told_and_ends_with_the_last_row(
    tampered: Tampered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prediction_svc.verifying._PAGE", 10)
    told: list[tuple[int, int]] = []
    await tampered.ledger.verify(MARKET, progress=lambda done, of: told.append((done, of)))
    count = (await tampered.ledger.head(MARKET)).count
    assert told == [(10, count), (20, count), (count, count)]


async def test_a_market_without_rows_is_whole(tampered: Tampered) -> None:
    verification = await tampered.ledger.verify("other")
    assert (verification.head.count, verification.fault) == (0, None)


async def test_what_was_found_is_a_sentence(tampered: Tampered) -> None:
    head = await tampered.ledger.head(MARKET)
    whole = f"{MARKET}: {head.count} rows, all as they were written; head {head}"
    assert str(await tampered.verify()) == whole
    await tampered.unguard()
    await tampered.execute(update(forecasts).where(forecasts.c.number == 2).values(p_up=0.5))
    assert str(await tampered.verify()) == (
        f"{MARKET}: row 2 (AAA, horizon 2, as of 2024-10-04) was changed: "
        "its hash is not that of what it says"
    )


async def test_a_last_row_that_was_moved_to_another_market_is_found_there(
    tampered: Tampered,
) -> None:
    await tampered.unguard()
    last = (await tampered.ledger.head(MARKET)).count
    await tampered.execute(
        update(forecasts).where(forecasts.c.number == last).values(market_id="demo:2")
    )
    assert (await tampered.verify()).fault is None
    assert await tampered.ledger.market_ids() == [MARKET, "demo:2"]
    fault = (await tampered.ledger.verify("demo:2")).fault
    assert fault is not None
    assert fault.kind is FaultKind.MISSING
