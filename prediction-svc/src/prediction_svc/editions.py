"""Editions as they are stored, and the book that is kept like the latest of them.

The holder of the lease stores what it issues. Every replica, the holder too, serves from memory
what it found stored, so all tell the same, and a restarted one tells it at once.
"""

import asyncio
import ctypes
import logging
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, func, select

from foretick_rpc.database import Database, insert
from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import Lease
from prediction_svc.book import Book, Edition
from prediction_svc.schema import editions

_log = logging.getLogger("foretick.editions")
POLL_SECONDS = 0.5
_EDITION = TypeAdapter(Edition)


def encode(edition: Edition) -> bytes:
    """An edition as it is stored."""
    return zlib.compress(_EDITION.dump_json(edition))


def decode(body: bytes) -> Edition:
    """The edition that was stored. Raises ValidationError where another version wrote it."""
    return _EDITION.validate_json(zlib.decompress(body))


class Editions:
    """The latest edition of each market; only the holder of `lease` writes."""

    def __init__(
        self,
        database: Database,
        lease: Lease,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.book = Book()
        self._database = database
        self._lease = lease
        self._sleep = sleep
        self._version = 0  # of what was read last, whether or not the book could take it over
        self._failed = False
        self._writing = asyncio.Lock()  # versions are counted, so writes take turns

    async def kept(self, market_id: str) -> Edition | None:
        """The latest edition of a market."""
        query = select(editions).where(editions.c.market_id == market_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else await _edition(row)

    async def publish(self, edition: Edition) -> Edition:
        """Store an edition as the latest of all markets. Raises LeaseLostError.

        Returns it as the book holds it: whoever goes on with that keeps no second one in memory.
        """
        values = {
            "market_id": edition.market_id,
            "version": _NEXT_VERSION,
            "body": await asyncio.to_thread(encode, edition),
        }

        def work(connection: Connection) -> int:
            self._lease.require(connection)
            statement = insert(connection, editions).values(values)
            replaced = {name: statement.excluded[name] for name in ("version", "body")}
            upsert = statement.on_conflict_do_update(index_elements=["market_id"], set_=replaced)
            return int(connection.execute(upsert.returning(editions.c.version)).scalar_one())

        async with self._writing:
            version = await self._database.write(work)
        await self.refresh()
        held = self.book.edition
        return edition if held is None or self.book.version != version else held

    async def refresh(self) -> None:
        """Take over what is stored by now; where that is nothing new, for one small query."""
        query = (
            select(editions)
            .where(editions.c.version > self._version)
            .order_by(editions.c.version.desc())
            .limit(1)
        )
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return
        edition = await _edition(row)
        if row.version <= self._version:
            return  # meanwhile newer ones were found
        self._version = row.version
        if edition is not None:
            self.book.turn_to(edition, row.version)

    async def follow(self) -> None:
        """Keep the book like what is stored, until cancelled; then nobody need watch it."""
        trimmed = self._version
        try:
            while True:
                await self.catch_up()
                await self._sleep(POLL_SECONDS)
                if trimmed != self._version:  # by now nobody holds what it took to make it
                    trimmed = self._version
                    await asyncio.to_thread(_give_back)
        finally:
            self.book.end()

    async def catch_up(self) -> None:
        """`refresh`, except that what is in memory stays where the database doesn't answer."""
        try:
            await self.refresh()
        except DatabaseUnavailableError:
            return  # the database itself says so in the log
        except Exception:  # noqa: BLE001 - logged once; the forecasts in memory stay
            if not self._failed:
                _log.exception("stored forecasts cannot be read; those in memory stay")
            self._failed = True
        else:
            self._failed = False


_NEXT_VERSION = select(func.coalesce(func.max(editions.c.version), 0) + 1).scalar_subquery()


def _give_back() -> None:
    """Let the system have the memory that glibc keeps of a batch; another libc keeps less."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


async def _edition(row: Row[Any]) -> Edition | None:
    try:
        return await asyncio.to_thread(decode, row.body)  # some milliseconds for many symbols
    except (ValidationError, zlib.error):
        _log.warning("the stored forecasts of %s are of another version", row.market_id)
        return None
