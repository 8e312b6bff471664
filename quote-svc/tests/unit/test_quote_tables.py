"""The database: its schema, and the clock's row in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foretick_rpc.database import Database
from foretick_rpc.testing import schema_differences
from quote_svc.clock_store import ClockStore
from quote_svc.demo_time import DemoPace, instant
from quote_svc.running_clock import ClockState
from quote_svc.tables import metadata

PACE = DemoPace(120, 15)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/quote.db", "quote_svc")
    yield opened
    opened.close()


def test_migrations_make_the_tables_of_the_code(database: Database) -> None:
    assert schema_differences(database, metadata) == []


async def test_a_clock_that_never_ran_is_at_zero(database: Database) -> None:
    assert await ClockStore(database, "demo:7", PACE).load() == ClockState(0, held=False)


async def test_the_latest_instant_is_kept_by_market(database: Database) -> None:
    seven, eight = (ClockStore(database, f"demo:{seed}", PACE) for seed in (7, 8))
    await seven.save(ClockState(1.5))
    await eight.save(ClockState(99.0))
    await seven.save(ClockState(1234.56789, held=True))
    assert await seven.load() == (1234.56789, True)
    assert await eight.load() == (99.0, False)


async def test_another_pace_goes_on_from_the_same_market_time(database: Database) -> None:
    await ClockStore(database, "demo:7", PACE).save(ClockState(1000.0, held=True))
    faster = DemoPace(10, 1)
    elapsed, held = await ClockStore(database, "demo:7", faster).load()
    assert held
    before, after = instant(1000.0, PACE), instant(elapsed, faster)
    assert (after.next_session, after.is_open) == (before.next_session, before.is_open)
    assert after.market_time >= before.market_time
