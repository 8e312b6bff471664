"""Leases: one holder at a time, whatever becomes of it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, Table

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.leases import Lease, LeaseLostError, Time, lease_table

MIGRATION = """
from foretick_rpc.leases import create_leases

revision, down_revision = "0001", None

def upgrade():
    create_leases()
"""
ENV = """
from foretick_rpc.database import migrate_env
from sqlalchemy import MetaData

migrate_env(MetaData())
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "a_service_with_leases"
    versions = tmp_path / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (versions.parent / "__init__.py").touch()
    (versions.parent / "env.py").write_text(ENV)
    (versions / "0001_leases.py").write_text(MIGRATION)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def table() -> Table:
    return lease_table(MetaData())


class Steps:
    """A clock that moves when it is told to; whoever sleeps wakes at each move."""

    def __init__(self) -> None:
        self.now = 0.0
        self._moved = asyncio.Event()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await self._moved.wait()

    def move(self, seconds: float) -> None:
        self.now += seconds
        self._moved.set()
        self._moved = asyncio.Event()


class Worker:
    """Somebody who wants the lease; `working` says whether the work runs."""

    def __init__(self, database: Database, table: Table, time: Steps) -> None:
        self.lease = Lease(database, table, "work", seconds=9, time=Time(time.clock, time.sleep))
        self.working = False
        self.fail = asyncio.Event()
        self.times = 0

    async def work(self) -> None:
        self.working = True
        self.times += 1
        try:
            await self.fail.wait()
            self.fail.clear()
            raise RuntimeError("the work failed")
        finally:
            self.working = False


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[list["asyncio.Task[None]"]]:
    tasks = [asyncio.create_task(worker.lease.run(worker.work)) for worker in workers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(reached: Callable[[], bool], time: Steps, step: float = 0.0) -> None:
    """Let others run, and time move by `step` at a time, until `reached`."""
    async with asyncio.timeout(10):
        while not reached():
            time.move(step)
            await asyncio.sleep(0.005)  # the database answers in real time


async def test_one_holds_it_and_the_next_takes_it_when_it_is_released(
    package: str, table: Table, postgres_url: str
) -> None:
    await migrate(postgres_url, package)
    async with (
        open_database(postgres_url, package) as one,
        open_database(postgres_url, package) as other,
    ):
        time = Steps()
        first, second = Worker(one, table, time), Worker(other, table, time)
        async with running(first) as (first_task,):
            await until(lambda: first.working, time)
            async with running(second):
                for _ in range(40):
                    time.move(1.0)
                    await asyncio.sleep(0.01)
                    assert not second.working
                assert first.working
                first_task.cancel()
                before = time.now
                await until(lambda: second.working, time, step=0.5)
                assert time.now - before <= 2.0
                assert not first.lease.held


async def test_a_holder_that_died_is_followed_after_the_lease_ran_out(
    package: str, table: Table, postgres_url: str
) -> None:
    await migrate(postgres_url, package)
    async with open_database(postgres_url, package) as database:
        time = Steps()
        dead, heir = Worker(database, table, time), Worker(database, table, time)
        await database.write(lambda connection: dead.lease._take(connection, time.now))
        async with running(heir):
            await asyncio.sleep(0.05)
            await until(lambda: heir.working, time, step=1.0)
            assert 9 <= time.now <= 12
        with pytest.raises(LeaseLostError):
            await database.write(dead.lease.require)


async def test_a_holder_that_was_overtaken_stops_and_writes_nothing(
    package: str, table: Table, postgres_url: str
) -> None:
    await migrate(postgres_url, package)
    async with open_database(postgres_url, package) as database:
        time = Steps()
        slow, quick = Worker(database, table, time), Worker(database, table, time)
        async with running(slow):
            await until(lambda: slow.working, time)
            await database.write(slow.lease.require)

            def overtake(connection: Connection) -> bool:
                quick.lease._take(connection, -20.0)
                return quick.lease._take(connection, 0.0)

            assert await database.write(overtake)
            with pytest.raises(LeaseLostError):
                await database.write(slow.lease.require)
            await until(lambda: not slow.working, time, step=1.0)


async def test_work_that_fails_is_begun_again(
    package: str, table: Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_database(f"sqlite:///{tmp_path / 'a.db'}", package) as database:
        time = Steps()
        worker = Worker(database, table, time)
        async with running(worker):
            await until(lambda: worker.working, time)
            worker.fail.set()
            await until(lambda: worker.times == 2 and worker.working, time, step=0.5)
        assert "the work failed" in caplog.text


async def test_where_nobody_else_can_be_it_is_held_at_once(
    package: str, table: Table, tmp_path: Path
) -> None:
    async with open_database(f"sqlite:///{tmp_path / 'a.db'}", package) as database:
        time = Steps()
        killed = Worker(database, table, time)
        await database.write(lambda connection: killed.lease._take(connection, 0.0))
        worker = Worker(database, table, time)
        async with running(worker):
            await until(lambda: worker.working, time)
            assert worker.lease.held
