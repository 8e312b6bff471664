"""SQLite in WAL mode: several readers and one writer, none of them on the event loop."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from foretick_rpc.errors import StartupError
from foretick_rpc.migrations import revisions, upgrade

T = TypeVar("T")
_READERS = 4


class SqliteDatabase:
    """One file, which this process alone has open."""

    is_exclusive = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sql-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sql-write")

    @classmethod
    @asynccontextmanager
    async def opened(cls, address: URL, package: str) -> AsyncIterator[Self]:
        """Open the file and run the migrations; on leaving finish what is under way.

        Raises StartupError where another process has it open.
        """
        path = Path(address.database or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            engine = _engine(address)
            await asyncio.to_thread(_migrate, engine, package)
            async with cls._over(engine) as database:
                yield database

    @classmethod
    @asynccontextmanager
    async def opened_beside(cls, address: URL, package: str) -> AsyncIterator[Self]:
        """Open the file as it is, for the few short transactions of a command.

        SQLite itself lets processes write in turns. Raises StartupError where the file, or its
        tables, are not what the code needs.
        """
        path = Path(address.database or "")
        if not await asyncio.to_thread(path.exists):
            raise StartupError(f"there is no database {path}: start the service first")
        async with cls._over(_engine(address)) as database:
            try:
                tables = await database.read(lambda connection: revisions(connection, package))
            except DatabaseError as error:
                raise StartupError(f"{path} cannot be read: {error.orig}") from error
            if tables.found != tables.wanted:
                raise StartupError(
                    f"the tables of {path} are at revision {tables.found or 'none'} and this "
                    f"version needs {tables.wanted}: start the service first"
                )
            yield database

    @classmethod
    @asynccontextmanager
    async def _over(cls, engine: Engine) -> AsyncIterator[Self]:
        database = cls(engine)
        try:
            yield database
        finally:
            await asyncio.to_thread(database._close)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own, in a reader's thread."""
        return await self._run(self._readers, self._engine, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that holds the write lock from its start; commit it."""
        return await self._run(self._writer, _writing(self._engine), work)

    async def _run(
        self, threads: ThreadPoolExecutor, engine: Engine, work: Callable[[Connection], T]
    ) -> T:
        def transaction() -> T:
            with engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(threads, transaction)

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        self._engine.dispose()


def peek_sqlite(address: URL, work: Callable[[Connection], T]) -> T:
    """Run `work` on a file that another process may have open; it can write nothing.

    Raises FileNotFoundError, and StartupError where the file is no database.
    """
    path = Path(address.database or "").absolute()
    if not path.exists():
        raise FileNotFoundError(path)
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            return work(connection)
    except DatabaseError as error:
        raise StartupError(f"{path} cannot be read: {error.orig}") from error
    finally:
        engine.dispose()


def _migrate(engine: Engine, package: str) -> None:
    with _writing(engine).begin() as connection:
        tables = revisions(connection, package)
        if tables.found != tables.wanted:
            upgrade(connection, package)


def _writing(engine: Engine) -> Engine:
    return engine.execution_options(writes=True)


def _locked(path: Path) -> TextIOWrapper:
    lock = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StartupError(
            f"{path} is in use by another process: SQLite serves one process a service"
        ) from error
    return lock


def _engine(address: URL) -> Engine:
    # Errors are logged, and what they are about may be secret.
    engine = create_engine(address, pool_size=_READERS + 1, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN comes too late and is never IMMEDIATE; begin() below issues it.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "recursive_triggers=ON",  # so that REPLACE cannot slip past triggers of DELETE
            "busy_timeout=5000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
