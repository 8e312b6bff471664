"""A database of a service: its tables, transactions, and what is said where it cannot be used."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, MetaData, Table, Text, text

from foretick_rpc.database import insert, migrate, open_database
from foretick_rpc.errors import DatabaseUnavailableError, StartupError
from temporary_postgres import PostgresServer

ENV = """
from foretick_rpc.database import migrate_env
from sqlalchemy import MetaData

migrate_env(MetaData())
"""
FIRST = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

def upgrade():
    op.create_table("counters", sa.Column("n", sa.Integer, nullable=False))
    op.execute("INSERT INTO counters VALUES (0)")
    op.create_table("names", sa.Column("name", sa.Text, primary_key=True))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "a_service_for_tests"
    versions = tmp_path / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    (versions.parent / "__init__.py").touch()
    (versions.parent / "env.py").write_text(ENV)
    (versions / "0001_first.py").write_text(FIRST)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def increment(connection: Connection) -> None:
    n = connection.execute(text("SELECT n FROM counters")).scalar_one()
    connection.execute(text("UPDATE counters SET n = :n"), {"n": n + 1})


def increment_at_once(connection: Connection) -> None:
    connection.execute(text("UPDATE counters SET n = n + 1"))


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT n FROM counters")).scalar_one())


async def test_what_is_written_survives_a_restart(package: str, database_url: str) -> None:
    await migrate(database_url, package)
    async with open_database(database_url, package) as database:
        await asyncio.gather(*(database.write(increment_at_once) for _ in range(50)))
        assert await database.read(count) == 50
    async with open_database(database_url, package) as database:
        assert await database.read(count) == 50


async def test_a_write_that_fails_leaves_nothing(package: str, database_url: str) -> None:
    def fail(connection: Connection) -> None:
        increment(connection)
        raise RuntimeError("midway")

    await migrate(database_url, package)
    async with open_database(database_url, package) as database:
        with pytest.raises(RuntimeError, match="midway"):
            await database.write(fail)
        assert await database.read(count) == 0


async def test_a_row_is_inserted_unless_it_is_there(package: str, database_url: str) -> None:
    names = Table("names", MetaData(), Column("name", Text, primary_key=True))

    def add(connection: Connection) -> int:
        statement = insert(connection, names).values(name="one").on_conflict_do_nothing()
        return connection.execute(statement).rowcount

    await migrate(database_url, package)
    async with open_database(database_url, package) as database:
        assert [await database.write(add), await database.write(add)] == [1, 0]


async def test_migrating_twice_changes_nothing(package: str, database_url: str) -> None:
    await migrate(database_url, package)
    async with open_database(database_url, package) as database:
        await database.write(increment)
    await migrate(database_url, package)
    async with open_database(database_url, package) as database:
        assert await database.read(count) == 1


class TestSqlite:
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'below' / 'a.db'}"

    async def test_writes_are_one_after_another(self, package: str, url: str) -> None:
        async with open_database(url, package) as database:
            await asyncio.gather(*(database.write(increment) for _ in range(50)))
            assert await database.read(count) == 50

    async def test_journal_and_keys_are_set(self, package: str, url: str) -> None:
        def pragmas(connection: Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

        async with open_database(url, package) as database:
            assert database.is_exclusive
            assert await database.read(pragmas) == ["wal", 1, 1]

    async def test_a_second_process_is_refused(self, package: str, url: str) -> None:
        async with open_database(url, package):
            with pytest.raises(StartupError, match="in use by another process"):
                async with open_database(url, package):
                    pass
        async with open_database(url, package):
            pass


class TestPostgres:
    async def test_processes_share_it(self, package: str, postgres_url: str) -> None:
        await migrate(postgres_url, package)
        async with (
            open_database(postgres_url, package) as one,
            open_database(postgres_url, package) as other,
        ):
            assert not one.is_exclusive
            await asyncio.gather(*(db.write(increment_at_once) for db in (one, other) * 25))
            assert await other.read(count) == 50

    async def test_tables_of_another_revision_are_refused(
        self, package: str, postgres_url: str
    ) -> None:
        with pytest.raises(StartupError, match=f"needs 0001: run `python -m {package} migrate`"):
            async with open_database(postgres_url, package):
                pass

    async def test_only_one_of_two_migrates(self, package: str, postgres_url: str) -> None:
        await asyncio.gather(migrate(postgres_url, package), migrate(postgres_url, package))
        async with open_database(postgres_url, package) as database:
            assert await database.read(count) == 0

    async def test_a_role_that_may_not_is_refused(self, package: str, postgres_url: str) -> None:
        stranger = postgres_url.replace("//test@", "//stranger@")
        with pytest.raises(StartupError, match=r'refuses: role "stranger" does not exist'):
            async with open_database(stranger, package):
                pass

    async def test_callers_are_told_that_it_is_away_and_go_on_when_it_is_back(
        self,
        package: str,
        postgres_server: PostgresServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("INFO", "foretick.database")
        with PostgresServer() as server:
            url = server.new_database()
            await migrate(url, package)
            async with open_database(url, package) as database:
                await asyncio.gather(*(database.write(increment_at_once) for _ in range(16)))
                server.stop()
                for _ in range(3):
                    with pytest.raises(DatabaseUnavailableError):
                        await database.read(count)
                server.start()
                answers = await asyncio.gather(*(database.read(count) for _ in range(16)))
                assert answers == [16] * 16
        said = [r.getMessage() for r in caplog.records if r.name == "foretick.database"]
        assert len(said) == 2, said
        assert said[1] == "the database answers again"

    async def test_a_restart_between_two_calls_goes_unnoticed(
        self, package: str, postgres_server: PostgresServer
    ) -> None:
        with PostgresServer() as server:
            url = server.new_database()
            await migrate(url, package)
            async with open_database(url, package) as database:
                await asyncio.gather(*(database.write(increment_at_once) for _ in range(16)))
                server.stop()
                server.start()
                await database.write(increment_at_once)
                assert await database.read(count) == 17


@pytest.mark.parametrize("other", ["mysql://host/name", "mariadb+asyncmy://host/name", "sqlite://"])
async def test_other_databases_are_not_supported_yet(package: str, other: str) -> None:
    with pytest.raises(StartupError, match=r"not supported yet: use sqlite:///PATH or postgresql:"):
        async with open_database(other, package):
            pass


async def test_what_is_no_url_is_said_without_it(package: str) -> None:
    with pytest.raises(StartupError, match="not the URL of a database") as refused:
        async with open_database("nonsense with a password", package):
            pass
    assert "password" not in str(refused.value)
