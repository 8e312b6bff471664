"""Track records as they are stored, and the latest of them in memory."""

import asyncio
import logging
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import Connection, func, select

from foretick_rpc.database import Database, insert
from foretick_rpc.leases import Lease
from prediction_svc.schema import track_records
from prediction_svc.track_record import Basis, TrackRecord

_log = logging.getLogger("foretick.track_records")
# a t-value may be infinite
_RECORD = TypeAdapter(tuple[TrackRecord], config=ConfigDict(ser_json_inf_nan="constants"))


def encode(record: TrackRecord) -> bytes:
    """A track record as it is stored."""
    return zlib.compress(_RECORD.dump_json((record,)))


def decode(body: bytes) -> TrackRecord:
    """The track record that was stored. Raises ValidationError where another version wrote it."""
    return _RECORD.validate_json(zlib.decompress(body))[0]


class _Kept(NamedTuple):
    market_id: str
    version: int
    record: TrackRecord | None


class TrackRecords:
    """The track records of each market; only the holder of `lease` writes."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self._database = database
        self._lease = lease
        self._kept: dict[tuple[Basis, int], _Kept] = {}

    async def save(self, market_id: str, basis: Basis, records: Mapping[int, TrackRecord]) -> None:
        """Store records by horizon, all of them or none. Raises LeaseLostError."""
        encoded = [(h, await asyncio.to_thread(encode, record)) for h, record in records.items()]

        def work(connection: Connection) -> None:
            self._lease.require(connection)
            for horizon, body in encoded:
                key = {"market_id": market_id, "basis": basis.value, "horizon": horizon}
                statement = insert(connection, track_records).values(
                    **key, version=_NEXT_VERSION, body=body
                )
                replaced = {name: statement.excluded[name] for name in ("version", "body")}
                connection.execute(
                    statement.on_conflict_do_update(index_elements=list(key), set_=replaced)
                )

        await self._database.write(work)

    async def load(self, market_id: str, basis: Basis, horizon: int) -> TrackRecord | None:
        """The latest record, None before the first; where that is in memory, for a small query."""
        table = track_records.c
        kept = self._kept.get((basis, horizon))
        if kept is None or kept.market_id != market_id:
            kept = _Kept(market_id, 0, None)
        query = select(table.version, table.body).where(
            table.market_id == market_id,
            table.basis == basis.value,
            table.horizon == horizon,
            table.version > kept.version,
        )
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is not None:
            kept = _Kept(market_id, row.version, await asyncio.to_thread(_decoded, row.body))
            self._kept[basis, horizon] = kept
        return kept.record


_NEXT_VERSION = select(func.coalesce(func.max(track_records.c.version), 0) + 1).scalar_subquery()


def _decoded(body: bytes) -> TrackRecord | None:
    try:
        return decode(body)
    except (ValidationError, zlib.error):
        _log.warning("a stored track record is of another version; it is scored again soon")
        return None
