"""PostgreSQL through asyncpg: transactions side by side, from as many processes as wanted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from foretick_rpc.errors import DatabaseUnavailableError, StartupError
from foretick_rpc.migrations import Revisions, revisions, upgrade

T = TypeVar("T")
_log = logging.getLogger("foretick.database")

_CONNECTIONS = 8
_CONNECT_SECONDS = 2.0
_STATEMENT_SECONDS = 10.0
_WAIT_SECONDS = 30.0
_MIGRATION_LOCK = 0x666F7265  # any number, the same for whoever migrates
# SQLSTATEs: connection trouble, too many connections, shut down, crashed, not up yet.
_AWAY = ("08", "53300", "57P01", "57P02", "57P03")
# Nothing was done, and the same may succeed now: serialization failure, deadlock.
_AGAIN = ("40001", "40P01")


class PostgresDatabase:
    """A pool of connections. What it cannot reach it says once in the log, and to each caller."""

    is_exclusive = False

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._is_away = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own."""
        return await self.write(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own and commit it; see `Database`."""
        try:
            done = await self._transaction(work)
        except _Unreachable as error:
            cause = error.__cause__
            if not self._is_away:
                _log.warning("the database does not answer: %s", _said(cause))
            self._is_away = True
            raise DatabaseUnavailableError("the database does not answer") from cause
        if self._is_away:
            self._is_away = False
            _log.info("the database answers again")
        return done

    async def _transaction(self, work: Callable[[Connection], T]) -> T:
        # Connections that broke while they were idle are noticed by using them, which costs less
        # than asking each one first; the first of them takes all idle ones out of the pool.
        for is_last in (False, True):
            is_committing = False
            try:
                async with self._engine.connect() as connection:
                    done = await connection.run_sync(work)
                    is_committing = True
                    await connection.commit()
                    return done
            except DBAPIError as error:
                state = _sqlstate(error)
                is_away = error.connection_invalidated or state.startswith(_AWAY)
                if (is_away or state in _AGAIN) and not (is_last or is_committing):
                    continue
                if is_away:
                    raise _Unreachable from error
                raise
            except (OSError, PoolTimeoutError) as error:
                raise _Unreachable from error
        raise AssertionError("the last attempt returns or raises")


class _Unreachable(Exception):  # noqa: N818 - carries its cause one frame up, no further
    """Why a transaction could not even begin, or what became of it is not known."""


@asynccontextmanager
async def open_postgres(address: URL, package: str) -> AsyncIterator[PostgresDatabase]:
    """A pool of connections to tables that are as `<package>.migrations` leaves them.

    Waits up to half a minute for the server. Raises StartupError.
    """
    engine = _engine(address, package)
    try:
        database = PostgresDatabase(engine)
        tables = await _first_answer(database, address, package)
        if tables.found != tables.wanted:
            raise StartupError(
                f"the tables of database {address.database} are at revision "
                f"{tables.found or 'none'} and this version needs {tables.wanted}: "
                f"run `python -m {package} migrate` as their owner"
            )
        yield database
    finally:
        await engine.dispose()


async def migrate_postgres(address: URL, package: str) -> None:
    """Run the migrations that have not been run; whoever comes second waits and finds none."""

    def work(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        upgrade(connection, package)

    engine = _engine(address, package)
    try:
        database = PostgresDatabase(engine)
        await _first_answer(database, address, package)
        await database.write(work)
    finally:
        await engine.dispose()


async def peek_postgres(address: URL, package: str, work: Callable[[Connection], T]) -> T:
    """Run `work`, which reads, beside whoever else does. Raises StartupError where it cannot."""
    engine = _engine(address, package)
    try:
        database = PostgresDatabase(engine)
        await _first_answer(database, address, package, wait_seconds=_CONNECT_SECONDS)
        return await database.read(work)
    finally:
        await engine.dispose()


async def _first_answer(
    database: PostgresDatabase, address: URL, package: str, wait_seconds: float = _WAIT_SECONDS
) -> Revisions:
    """The tables' revisions, as soon as the server answers. Raises StartupError."""
    try:
        async with asyncio.timeout(wait_seconds):
            while True:
                try:
                    return await database.read(lambda connection: revisions(connection, package))
                except DatabaseUnavailableError:
                    await asyncio.sleep(0.5)
    except TimeoutError as error:
        raise StartupError(
            f"PostgreSQL at {address.host}:{address.port or 5432} does not answer"
        ) from error
    except Exception as error:
        if isinstance(error, DBAPIError) or type(error).__module__.startswith("asyncpg"):
            raise StartupError(
                f"database {address.database} at {address.host} refuses: {_said(error)}"
            ) from error
        raise


def _engine(address: URL, package: str) -> AsyncEngine:
    query = dict(address.query)
    if "sslmode" in query:  # libpq's name for it, which is in everybody's fingers
        query["ssl"] = query.pop("sslmode")
    return create_async_engine(
        address.set(query=query),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
        # Errors are logged, and what they are about may be secret.
        hide_parameters=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _STATEMENT_SECONDS,
            "server_settings": {
                "application_name": package,
                "jit": "off",
                # A process that stands still in the middle keeps nobody else waiting for long.
                "idle_in_transaction_session_timeout": "10s",
            },
        },
    )


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _said(error: BaseException | None) -> str:
    if isinstance(error, DBAPIError):
        error = error.orig
    return (str(error) or type(error).__name__).splitlines()[0]
