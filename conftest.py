"""Databases for the tests of every service, and an eye on all logs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from temporary_postgres import PostgresServer, server_of_the_tests

pytest_plugins = ("secrets_in_logs",)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the tests' own, where its binaries are found."""
    with server_of_the_tests() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """An empty PostgreSQL database."""
    return postgres_server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
