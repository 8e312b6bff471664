"""Histories and latest quotes of one market in the service's database."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, select, update

from foretick_rpc.database import Database, insert
from foretick_rpc.leases import Lease
from quote_svc.bar_blob import decoded, encoded
from quote_svc.market import Bars, InstrumentKind
from quote_svc.source import SourceInstrument, SourceQuote
from quote_svc.stored_symbol import Gap, Provenance, StoredSymbol, TailBar
from quote_svc.tables import counters, histories, latest_quotes, leases

_CHANGES = "changes"
_LOADED = (
    *(column for column in histories.c if column.name not in ("bars", "change")),
    *(column for column in latest_quotes.c if column.name not in histories.c),
)
# Eight years of one symbol are 145 kB unpacked.
_UNPACKED = 64


@dataclass(frozen=True)
class Shared:
    """What the replicas of one market share: `lease` is held by the one that keeps it going."""

    database: Database
    lease: Lease

    @classmethod
    def of(cls, database: Database, market_id: str) -> "Shared":
        """What there is for this market."""
        return cls(database, Lease(database, leases, f"market:{market_id}"))


class Store:
    """The rows of one market; bars lately used are kept unpacked in memory.

    Every write takes the next number of the market's changes and puts it on the rows written.
    The number's row stays locked until the write is committed, so whoever reads a number can
    read all that was written up to it.
    """

    def __init__(
        self, database: Database, market_id: str, require: Callable[[Connection], None]
    ) -> None:
        """`require` comes first in every write; what it raises prevents it."""
        self._database = database
        self._market_id = market_id
        self._require = require
        self._writing = asyncio.Lock()
        self._loads = 0
        self._unpacked: OrderedDict[str, Bars] = OrderedDict()

    async def load(self, since: int = -1) -> tuple[int, list[StoredSymbol]]:
        """Everything but the bars that was written after the change `since`, up to which change."""
        query = (
            select(*_LOADED, (histories.c.change > since).label("has_new_bars"))
            .join_from(
                histories,
                latest_quotes,
                (histories.c.market_id == latest_quotes.c.market_id)
                & (histories.c.symbol == latest_quotes.c.symbol),
            )
            .where(
                histories.c.market_id == self._market_id,
                (histories.c.change > since) | (latest_quotes.c.change > since),
            )
            .order_by(histories.c.symbol)
        )
        number = select(counters.c.reserved).where(
            counters.c.market_id == self._market_id, counters.c.name == _CHANGES
        )

        def read(connection: Connection) -> tuple[int, Sequence[Any]]:
            change = connection.execute(number).scalar() or 0
            # What is written in between has a higher number, and comes again the next time.
            rows = connection.execute(query).all() if change != since else []
            return change, rows

        change, rows = await self._database.read(read)
        self._loads += 1
        for row in rows:
            if row.has_new_bars:
                self._unpacked.pop(row.symbol, None)
        return change, [_stored(row) for row in rows]

    async def bars(self, symbol: str) -> Bars:
        """The bars of a symbol that is stored; raises BlobDamaged, and LookupError."""
        if symbol in self._unpacked:
            self._unpacked.move_to_end(symbol)
            return self._unpacked[symbol]
        query = select(histories.c.bars).where(
            histories.c.market_id == self._market_id, histories.c.symbol == symbol
        )

        def read(connection: Connection) -> Bars:
            blob = connection.execute(query).scalar_one_or_none()
            if blob is None:
                raise LookupError(symbol)
            return decoded(blob)

        loads = self._loads
        bars = await self._database.read(read)
        # What was loaded meanwhile may have been other bars.
        if loads == self._loads and symbol not in self._unpacked:
            self._keep(symbol, bars)
        return bars

    async def save(self, stored: StoredSymbol, bars: Bars) -> None:
        """Replace all that is stored of a symbol, in one transaction."""
        blob = await asyncio.to_thread(encoded, bars)
        facts = _facts(stored) | {"bars": blob}
        latest = _latest(stored)

        def write(connection: Connection) -> None:
            change = {"change": self._next_change(connection)}
            for table, values in ((histories, facts | change), (latest_quotes, latest | change)):
                statement = insert(connection, table).values(**values, **self._key(stored))
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["market_id", "symbol"], set_=values
                    )
                )

        async with self._writing:
            await self._database.write(write)
            self._keep(stored.instrument.symbol, bars)

    async def save_latest(self, changed: Callable[[], Sequence[StoredSymbol]]) -> None:
        """Replace the latest quotes and standing of symbols that are stored.

        They are asked for once it is their turn: an older one never takes a newer one's place.
        """
        async with self._writing:
            rows = [(self._key(stored), _latest(stored)) for stored in changed()]

            def write(connection: Connection) -> None:
                change = {"change": self._next_change(connection)}
                _update(connection, latest_quotes, [(key, row | change) for key, row in rows])

            await self._database.write(write)

    async def save_standing(self, stored: StoredSymbol) -> None:
        """Replace what is stored of the source denying the symbol."""
        key = self._key(stored)
        denied = {
            "unknown_since": _seconds(stored.unknown_since),
            "unknown_days": stored.unknown_days,
        }

        def write(connection: Connection) -> None:
            change = {"change": self._next_change(connection)}
            _update(connection, histories, [(key, denied | change)])
            _update(connection, latest_quotes, [(key, _latest(stored) | change)])

        async with self._writing:
            await self._database.write(write)

    def _next_change(self, connection: Connection) -> int:
        self._require(connection)
        first = {"market_id": self._market_id, "name": _CHANGES, "reserved": 1}
        statement = insert(connection, counters).values(first)
        number: int = connection.execute(
            statement.on_conflict_do_update(
                index_elements=["market_id", "name"], set_={"reserved": counters.c.reserved + 1}
            ).returning(counters.c.reserved)
        ).scalar_one()
        return number

    def _key(self, stored: StoredSymbol) -> dict[str, str]:
        return {"market_id": self._market_id, "symbol": stored.instrument.symbol}

    def _keep(self, symbol: str, bars: Bars) -> None:
        self._unpacked[symbol] = bars
        self._unpacked.move_to_end(symbol)
        if len(self._unpacked) > _UNPACKED:
            self._unpacked.popitem(last=False)


def _update(
    connection: Connection, table: Table, rows: Sequence[tuple[dict[str, str], dict[str, Any]]]
) -> None:
    """Set the values of rows by their keys, all in one go."""
    here = [table.c[name] == bindparam(f"at_{name}") for name in rows[0][0]]
    statement = update(table).where(*here).values({name: bindparam(name) for name in rows[0][1]})
    connection.execute(
        statement,
        [{f"at_{name}": at for name, at in key.items()} | values for key, values in rows],
    )


def _facts(stored: StoredSymbol) -> dict[str, Any]:
    instrument, provenance = stored.instrument, stored.provenance
    return {
        "display_name": instrument.display_name,
        "kind": instrument.kind.name,
        "exchange_code": instrument.exchange_code,
        "timezone": instrument.timezone,
        "currency_code": instrument.currency_code,
        "price_decimals": instrument.price_decimals,
        "fetched_at": provenance.fetched_at.timestamp(),
        "adjusted_basis": provenance.adjusted_basis,
        "sessions": stored.sessions,
        "tail": json.dumps([astuple(bar) for bar in stored.tail]),
        "recent_closes": json.dumps(stored.recent_closes),
        "gaps": json.dumps([astuple(gap) for gap in provenance.gaps]),
        "checks": json.dumps(provenance.checks),
        "unknown_since": _seconds(stored.unknown_since),
        "unknown_days": stored.unknown_days,
    }


def _latest(stored: StoredSymbol) -> dict[str, Any]:
    told = stored.quote
    return {
        "answered_at": stored.answered_at.timestamp(),
        "asked_at": _seconds(stored.asked_at),
        "price": None if told is None else told.price,
        "as_of": None if told is None else told.as_of_time.timestamp(),
        "previous_close": None if told is None else told.previous_close,
        "day_low": None if told is None else told.day_low,
        "day_high": None if told is None else told.day_high,
        "volume": None if told is None else told.volume,
        "pushed_at": _seconds(stored.pushed_at),
        "failure": stored.failure,
        "version": stored.version,
    }


def _stored(row: Row[Any]) -> StoredSymbol:
    quote = None
    if row.price is not None:
        quote = SourceQuote(
            row.price, _time(row.as_of), row.previous_close, row.day_low, row.day_high, row.volume
        )
    return StoredSymbol(
        instrument=SourceInstrument(
            symbol=row.symbol,
            display_name=row.display_name,
            kind=InstrumentKind[row.kind],
            exchange_code=row.exchange_code,
            timezone=row.timezone,
            currency_code=row.currency_code,
            price_decimals=row.price_decimals,
        ),
        provenance=Provenance(
            fetched_at=_time(row.fetched_at),
            adjusted_basis=row.adjusted_basis,
            gaps=tuple(Gap(*gap) for gap in json.loads(row.gaps)),
            checks=tuple(json.loads(row.checks)),
        ),
        sessions=row.sessions,
        tail=tuple(TailBar(*bar) for bar in json.loads(row.tail)),
        quote=quote,
        answered_at=_time(row.answered_at),
        asked_at=None if row.asked_at is None else _time(row.asked_at),
        unknown_since=None if row.unknown_since is None else _time(row.unknown_since),
        unknown_days=row.unknown_days,
        pushed_at=None if row.pushed_at is None else _time(row.pushed_at),
        failure=row.failure,
        version=row.version,
        recent_closes=tuple(json.loads(row.recent_closes)),
    )


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
