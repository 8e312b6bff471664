"""Leases: of several processes over one database, one does the work that one must do."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    Text,
    select,
    update,
)

from foretick_rpc.database import Database, insert
from foretick_rpc.errors import DatabaseUnavailableError

_log = logging.getLogger("foretick.lease")
LEASE_SECONDS = 10.0
_CONTEND_SECONDS = 1.0


def _columns() -> list[Column[object]]:
    return [
        Column("name", Text, primary_key=True),
        # Which process holds it; nobody where it is empty.
        Column("holder", Text, nullable=False),
        # Rises each time that it is taken.
        Column("fence", BigInteger, nullable=False),
        # Rises for as long as the holder is alive.
        Column("beats", BigInteger, nullable=False),
    ]


def lease_table(metadata: MetaData) -> Table:
    """The table of leases, as part of a service's own tables."""
    return Table("leases", metadata, *_columns())


def create_leases() -> None:
    """Make the table, in a migration."""
    from alembic import op  # noqa: PLC0415 - it is loaded when it runs this

    op.create_table("leases", *_columns())


@dataclass(frozen=True)
class Time:
    """How a lease tells time: `clock` counts seconds, monotonic, and `sleep` waits for some."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class LeaseLostError(Exception):
    """Another process may hold the lease by now, so nothing is written."""


@dataclass(frozen=True)
class _Seen:
    """What a contender saw of the lease, and since when on its own clock it has been so."""

    beat: tuple[int, int]
    since: float


class Lease:
    """A lease that this process wants for as long as `run` runs.

    The holder counts up a number every third of `seconds`; who wants the lease takes it after
    having seen no new number for `seconds` on a clock of its own. Clocks are never compared.
    On a database that no other process can open it is taken at once.
    """

    def __init__(
        self,
        database: Database,
        table: Table,
        name: str,
        *,
        seconds: float = LEASE_SECONDS,
        time: Time = Time(),
    ) -> None:
        """`table` is `lease_table`'s; `seconds` is how long a dead holder keeps the lease."""
        self._database = database
        self._table = table
        self._name = name
        self._seconds = seconds
        self._sleep = time.sleep
        self._clock = time.clock
        self._me = uuid.uuid4().hex
        self._fence = 0
        self._until = float("-inf")
        self._seen = _Seen((-1, -1), 0.0)

    @property
    def held(self) -> bool:
        """Whether nobody else can hold it now."""
        return self._clock() < self._until

    def require(self, connection: Connection) -> None:
        """Keep everybody from taking the lease until this transaction ends.

        Raises LeaseLostError where somebody has taken it.
        """
        query = select(self._table.c.fence).where(self._mine()).with_for_update(read=True)
        if connection.execute(query).scalar_one_or_none() is None:
            raise LeaseLostError(self._name)

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` whenever the lease is held, and cancel it when it is lost, until cancelled.

        What `work` raises is logged, and it is begun anew by whoever is next to hold the lease.
        """
        while True:
            await self._acquire()
            _log.info("holding lease %s", self._name)
            task = asyncio.ensure_future(work())
            try:
                await self._keep(task)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await self._release()
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("the work under lease %s failed", self._name, exc_info=error)
                await self._sleep(_CONTEND_SECONDS)
            _log.info("lease %s is given up", self._name)

    async def _acquire(self) -> None:
        while True:
            now = self._clock()
            try:
                if await self._database.write(partial(self._take, now=now)):
                    # Where nobody else can come, it does not run out.
                    lasts = math.inf if self._database.is_exclusive else self._seconds
                    self._until = now + lasts
                    return
            except DatabaseUnavailableError:
                pass  # the database itself says so in the log
            await self._sleep(_CONTEND_SECONDS)

    def _take(self, connection: Connection, now: float) -> bool:
        table = self._table
        first = {"name": self._name, "holder": "", "fence": 0, "beats": 0}
        connection.execute(insert(connection, table).values(first).on_conflict_do_nothing())
        row = connection.execute(
            select(table).where(table.c.name == self._name).with_for_update()
        ).one()
        beat = (row.fence, row.beats)
        if beat != self._seen.beat:
            self._seen = _Seen(beat, now)
        is_free = row.holder in ("", self._me) or self._database.is_exclusive
        if not is_free and now - self._seen.since < self._seconds:
            return False
        self._fence = row.fence + 1
        connection.execute(
            update(table)
            .where(table.c.name == self._name)
            .values(holder=self._me, fence=self._fence, beats=row.beats + 1)
        )
        return True

    async def _keep(self, task: "asyncio.Future[None]") -> None:
        """Beat until the work has ended or the lease is lost."""
        while not task.done():
            pause = asyncio.ensure_future(self._sleep(self._seconds / 3))
            try:
                await asyncio.wait({task, pause}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
            if not task.done() and not await self._beat():
                _log.warning("lease %s is lost", self._name)
                return

    async def _beat(self) -> bool:
        if self._database.is_exclusive:
            return True
        now = self._clock()
        table = self._table

        def beat(connection: Connection) -> bool:
            statement = update(table).where(self._mine()).values(beats=table.c.beats + 1)
            return bool(connection.execute(statement).rowcount)

        try:
            # No longer than the lease lasts: after that the work must have stopped.
            async with asyncio.timeout(max(self._until - now, 0.0)):
                is_mine = await self._database.write(beat)
        except (DatabaseUnavailableError, TimeoutError):
            return self.held
        self._until = now + self._seconds if is_mine else float("-inf")
        return is_mine

    async def _release(self) -> None:
        self._until = float("-inf")
        statement = update(self._table).where(self._mine()).values(holder="")
        try:
            await self._database.write(lambda connection: connection.execute(statement))
        except DatabaseUnavailableError:
            _log.warning("lease %s could not be given back; it runs out", self._name)

    def _mine(self) -> ColumnElement[bool]:
        table = self._table.c
        return (
            (table.name == self._name) & (table.holder == self._me) & (table.fence == self._fence)
        )
