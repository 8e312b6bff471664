"""A database of a service: migrated at start, one process at a time, writes in order."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from foretick_rpc.database import Database
from foretick_rpc.errors import StartupError

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


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'below' / 'a.db'}"


def increment(connection: Connection) -> None:
    n = connection.execute(text("SELECT n FROM counters")).scalar_one()
    connection.execute(text("UPDATE counters SET n = :n"), {"n": n + 1})


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT n FROM counters")).scalar_one())


async def test_writes_are_one_after_another_and_survive_a_restart(package: str, url: str) -> None:
    database = Database.open(url, package)
    await asyncio.gather(*(database.write(increment) for _ in range(50)))
    assert await database.read(count) == 50
    database.close()
    database = Database.open(url, package)
    assert await database.read(count) == 50
    database.close()


async def test_a_write_that_fails_leaves_nothing(package: str, url: str) -> None:
    def fail(connection: Connection) -> None:
        increment(connection)
        raise RuntimeError("midway")

    database = Database.open(url, package)
    with pytest.raises(RuntimeError, match="midway"):
        await database.write(fail)
    assert await database.read(count) == 0
    database.close()


async def test_journal_and_keys_are_set(package: str, url: str) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    database = Database.open(url, package)
    assert await database.read(pragmas) == ["wal", 1, 1]
    database.close()


def test_a_second_process_is_refused(package: str, url: str) -> None:
    database = Database.open(url, package)
    with pytest.raises(StartupError, match="in use by another process"):
        Database.open(url, package)
    database.close()
    Database.open(url, package).close()


@pytest.mark.parametrize("other", ["mysql://host/name", "postgresql://host/name", "sqlite://"])
def test_other_databases_are_not_supported_yet(package: str, other: str) -> None:
    with pytest.raises(StartupError, match="not supported yet"):
        Database.open(other, package)


def test_what_is_no_url_is_said(package: str) -> None:
    with pytest.raises(StartupError, match="'nonsense' is not the URL of a database"):
        Database.open("nonsense", package)
