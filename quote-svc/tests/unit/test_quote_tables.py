"""The database: its schema, and the clock's row in it."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.leases import LeaseLostError
from foretick_rpc.testing import schema_differences
from quote_svc.clock_store import ClockStore
from quote_svc.demo_time import DemoPace, instant
from quote_svc.running_clock import ClockState
from quote_svc.tables import metadata

PACE = DemoPace(120, 15)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await migrate(database_url, "quote_svc")
    async with open_database(database_url, "quote_svc") as opened:
        yield opened


def kept(database: Database, market_id: str = "demo:7", pace: DemoPace = PACE) -> ClockStore:
    return ClockStore(database, market_id, pace, lambda _: None, lambda: 5000.0)


async def test_migrations_make_the_tables_of_the_code(database: Database) -> None:
    assert await schema_differences(database, metadata) == []


async def test_a_clock_that_never_ran_is_at_zero(database: Database) -> None:
    assert (await kept(database).load()).latest() == ClockState(0, held=False)


async def test_the_latest_instant_is_kept_by_market(database: Database) -> None:
    seven, eight = (kept(database, f"demo:{seed}") for seed in (7, 8))
    await seven.save(ClockState(1.5))
    await eight.save(ClockState(99.0))
    await seven.save(ClockState(1234.56789, held=True))
    assert (await seven.load()).latest() == (1234.56789, True)
    assert (await eight.load()).latest() == (99.0, False)


async def test_another_pace_goes_on_from_the_same_market_time(database: Database) -> None:
    await kept(database).save(ClockState(1000.0, held=True))
    faster = DemoPace(10, 1)
    elapsed, held = (await kept(database, pace=faster).load()).latest()
    assert held
    before, after = instant(1000.0, PACE), instant(elapsed, faster)
    assert (after.next_session, after.is_open) == (before.next_session, before.is_open)
    assert after.market_time >= before.market_time


async def test_others_read_the_clock_by_its_anchor(database: Database) -> None:
    store = kept(database)
    await store.save(ClockState(1010.0), ahead=10.0)
    row = await store.load()
    assert [row.elapsed(now) for now in (5000.0, 5003.5, 5010.0, 9000.0)] == [
        1000.0,
        1003.5,
        1010.0,
        1010.0,
    ]
    # Their own clocks may be late.
    assert row.elapsed(4990.0) == 1000.0
    await store.save(ClockState(1007.0, held=True))
    assert (await store.load()).elapsed(4990.0) == 1007.0


async def test_who_may_not_write_writes_nothing(database: Database) -> None:
    def refuse(_connection: Connection) -> None:
        raise LeaseLostError("market:demo:7")

    await kept(database).save(ClockState(5.0))
    fenced = ClockStore(database, "demo:7", PACE, refuse)
    with pytest.raises(LeaseLostError):
        await fenced.save(ClockState(99.0))
    assert (await kept(database).load()).latest() == ClockState(5.0)
