"""A service's own SQL database: opened once, migrated at start, used from threads."""

import asyncio
import fcntl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import TextIOWrapper
from pathlib import Path
from typing import TypeVar

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from foretick_rpc.errors import StartupError

T = TypeVar("T")
_READERS = 4


class Database:
    """SQLite in WAL mode: several readers and one writer, none of them on the event loop."""

    def __init__(self, engine: Engine, lock: TextIOWrapper) -> None:
        self.engine = engine
        self._lock = lock
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sql-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sql-write")

    @classmethod
    def open(cls, url: str, package: str) -> "Database":
        """Open the database at `url` and run the migrations of `<package>.migrations`.

        Raises StartupError where the URL is not SQLite's, or another process has the file open.
        """
        path = _sqlite_path(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        engine = _sqlite_engine(url)
        config = Config()
        config.set_main_option("script_location", f"{package}:migrations")
        config.set_main_option("path_separator", "os")
        with engine.execution_options(writes=True).begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return cls(engine, lock)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own, in a reader's thread."""
        return await self._run(self._readers, self.engine, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that holds the write lock from its start; commit it."""
        engine = self.engine.execution_options(writes=True)
        return await self._run(self._writer, engine, work)

    async def _run(
        self, threads: ThreadPoolExecutor, engine: Engine, work: Callable[[Connection], T]
    ) -> T:
        def transaction() -> T:
            with engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(threads, transaction)

    def close(self) -> None:
        """Finish what is under way and release the file."""
        self._writer.shutdown()
        self._readers.shutdown()
        self.engine.dispose()
        self._lock.close()


def migrate_env(metadata: MetaData) -> None:
    """The body of a service's migrations/env.py."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _sqlite_path(url: str) -> Path:
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise StartupError(f"{url!r} is not the URL of a database") from error
    if address.get_backend_name() != "sqlite" or not address.database:
        raise StartupError(f"{address.drivername} is not supported yet: use sqlite:///PATH")
    return Path(address.database)


def _lock(path: Path) -> TextIOWrapper:
    lock = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StartupError(
            f"{path} is in use by another process: SQLite serves one process a service"
        ) from error
    return lock


def _sqlite_engine(url: str) -> Engine:
    # Errors are logged, and what they are about may be secret.
    engine = create_engine(url, pool_size=_READERS + 1, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN comes too late and is never IMMEDIATE; begin() below issues it.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "busy_timeout=5000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
