"""SQL databases for the services: SQLite for one process, PostgreSQL for as many as wanted.

Work is given as a function of a SQLAlchemy connection and runs in a transaction of its own,
without blocking the event loop. Tables are made by Alembic's migrations, which a service
carries in `<package>.migrations`. What only PostgreSQL needs, SQLAlchemy's asynchronous half and
with it its ORM, is 10 MiB, so it is imported where it is used.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy import URL, Connection, MetaData, Table, make_url, text
from sqlalchemy.exc import ArgumentError

from foretick_rpc.errors import StartupError
from foretick_rpc.migrations import Revisions, revisions
from foretick_rpc.sqlite_database import SqliteDatabase, peek_sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")


class Database(Protocol):
    """A service's own database. Both calls raise DatabaseUnavailableError where it is away."""

    @property
    def is_exclusive(self) -> bool:
        """Whether no other process can have it open."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own and commit it.

        SQLite runs one write at a time; PostgreSQL runs them side by side, each statement
        seeing what is committed by then. Where the connection breaks before the commit, `work`
        may be run once more.
        """
        ...


@asynccontextmanager
async def open_database(url: str, package: str) -> AsyncIterator[Database]:
    """The database at `url`, with the tables of `<package>.migrations`, until left.

    SQLite is migrated here; PostgreSQL must have been. Raises StartupError where it cannot be
    used: it is another kind of database, another process has the file open, the server does not
    answer, or the tables are not those that the code needs.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        async with SqliteDatabase.opened(address, package) as sqlite_database:
            yield sqlite_database
    else:
        from foretick_rpc.postgres_database import open_postgres  # noqa: PLC0415 - see the module

        async with open_postgres(address, package) as postgres_database:
            yield postgres_database


@asynccontextmanager
async def open_beside(url: str, package: str) -> AsyncIterator[Database]:
    """The same for a command, which may also write, while the service has its database open.

    Nothing is migrated. Raises StartupError as above, and where there are no tables yet.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        async with SqliteDatabase.opened_beside(address, package) as sqlite_database:
            yield sqlite_database
    else:
        from foretick_rpc.postgres_database import open_postgres  # noqa: PLC0415 - see the module

        async with open_postgres(address, package) as postgres_database:
            yield postgres_database


async def migrate(url: str, package: str) -> None:
    """Bring the tables at `url` to what the code needs. Raises StartupError as above."""
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        async with SqliteDatabase.opened(address, package):
            pass
    else:
        from foretick_rpc.postgres_database import migrate_postgres  # noqa: PLC0415 - see above

        await migrate_postgres(address, package)


async def peek(url: str, package: str, work: Callable[[Connection], T]) -> T:
    """Run `work`, which only reads, even while the service has its database open.

    Raises FileNotFoundError where there is no file yet, and StartupError as above.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        return await asyncio.to_thread(peek_sqlite, address, work)
    from foretick_rpc.postgres_database import peek_postgres  # noqa: PLC0415 - see above

    return await peek_postgres(address, package, work)


async def look(url: str, package: str) -> tuple[Revisions, float]:
    """The tables' revisions, and how many seconds the database's clock is ahead of ours.

    Raises what `peek` raises.
    """

    def work(connection: Connection) -> tuple[Revisions, float]:
        tables = revisions(connection, package)
        if connection.dialect.name == "sqlite":
            return tables, 0.0
        asked = time.time()
        told = float(connection.execute(_CLOCK).scalar_one())
        return tables, told - (asked + time.time()) / 2

    return await peek(url, package, work)


_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())")


def insert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """INSERT of the connection's own dialect, which has `on_conflict_do_…`."""
    return insert_of(connection.dialect.name, table)


def insert_of(dialect: str, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """The same for statements that are made once, by the name of the dialect."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see the module

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)


def migrate_env(metadata: MetaData) -> None:
    """The body of a service's migrations/env.py."""
    from alembic import context  # noqa: PLC0415 - it is loaded when it runs this

    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise StartupError("what is given is not the URL of a database") from error
    if address.drivername.split("+")[0] in ("postgresql", "postgres"):
        return address.set(drivername="postgresql+asyncpg")
    if address.get_backend_name() != "sqlite" or not address.database:
        raise StartupError(
            f"{address.drivername} is not supported yet: "
            "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
        )
    return address
