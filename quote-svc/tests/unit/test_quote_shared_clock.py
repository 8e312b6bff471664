"""The clock that several replicas show: one runs it, none shows what another takes back."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.leases import LeaseLostError
from quote_svc.clock_store import ClockStore
from quote_svc.control import ClockRunsElsewhere
from quote_svc.demo_time import DemoPace
from quote_svc.running_clock import RESERVE_SECONDS
from quote_svc.shared_clock import SharedClock

PACE = DemoPace(120, 15)


@dataclass
class Replicas:
    """Clocks over one database and one wall clock; the one in `holder` may write."""

    database: Database
    now: float = 1000.0
    holder: str = "one"
    clocks: dict[str, SharedClock] = field(default_factory=dict)

    async def start(self, name: str, behind: float = 0.0) -> SharedClock:
        """A replica, whose wall clock is so many seconds behind."""

        def require(_connection: Connection) -> None:
            if self.holder != name:
                raise LeaseLostError(name)

        def wall() -> float:
            return self.now - behind

        store = ClockStore(self.database, "demo:7", PACE, require, wall)
        self.clocks[name] = SharedClock(store, await store.load(), wall, wall)
        return self.clocks[name]


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[Replicas]:
    await migrate(database_url, "quote_svc")
    async with open_database(database_url, "quote_svc") as database:
        yield Replicas(database)


async def test_all_show_the_same(replicas: Replicas) -> None:
    one, two = [await replicas.start(name) for name in ("one", "two")]
    async with one.running():
        await two.look()
        assert one.elapsed() == two.elapsed() == 0
        for _ in range(20):
            replicas.now += 2.5
            await one.reserve()
            assert two.elapsed() == one.elapsed()
            await two.look()
            assert two.elapsed() == one.elapsed()
        assert one.elapsed() == 50
        await one.hold()
        await two.look()
        replicas.now += 100
        assert one.elapsed() == two.elapsed() == 50
        assert two.is_held()
        await one.run()
        await two.look()
        replicas.now += 3
        assert one.elapsed() == two.elapsed() == 53
        assert not two.is_held()
    await two.look()
    replicas.now += 100
    assert two.elapsed() == one.elapsed() == 53
    assert (await replicas.start("three")).elapsed() == 53


async def test_where_none_runs_it_it_stands_at_the_reserve_and_goes_on(replicas: Replicas) -> None:
    one, two, three = [await replicas.start(name) for name in ("one", "two", "three")]
    async with AsyncExitStack() as dead:
        await dead.enter_async_context(one.running())
        replicas.now += 4
        await one.reserve()
        await two.look()
        replicas.now += 25
        shown = two.elapsed()
        assert shown == one.elapsed() == 4 + RESERVE_SECONDS
        replicas.holder = "two"
        async with two.running():
            await three.look()
            assert two.elapsed() == three.elapsed() == one.elapsed() == shown
            replicas.now += 7
            assert two.elapsed() == three.elapsed() == shown + 7
            # The one that was cut off has stored nothing since, and shows no more than it had.
            with pytest.raises(LeaseLostError):
                await one.reserve()
            with pytest.raises(ClockRunsElsewhere):
                await one.hold()
            assert one.elapsed() == shown
            await dead.aclose()
            await one.look()
            assert one.elapsed() == two.elapsed()


async def test_it_never_goes_back_whatever_clocks_say(replicas: Replicas) -> None:
    early, late = await replicas.start("one"), await replicas.start("two", behind=3.0)
    shown = {"one": 0.0, "two": 0.0}
    for round_ in range(8):
        replicas.holder = ("one", "two")[round_ % 2]
        async with replicas.clocks[replicas.holder].running():
            for _ in range(5):
                replicas.now += 1.5
                await replicas.clocks[replicas.holder].reserve()
                for name, clock in (("one", early), ("two", late)):
                    await clock.look()
                    assert clock.elapsed() >= shown[name]
                    shown[name] = clock.elapsed()
                assert abs(shown["one"] - shown["two"]) <= 3.0
    assert shown["one"] > 30


async def test_only_who_runs_it_can_hold_it(replicas: Replicas) -> None:
    one, two = [await replicas.start(name) for name in ("one", "two")]
    async with one.running():
        for refused in (two.hold(), two.run(), two.step(lambda now: [now + 1], lambda: None)):
            with pytest.raises(ClockRunsElsewhere):
                await refused
