"""Histories and latest quotes of one market in the service's database."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.sqlite import insert

from foretick_rpc.database import Database
from quote_svc.bar_blob import decoded, encoded
from quote_svc.market import Bars, InstrumentKind
from quote_svc.source import SourceInstrument, SourceQuote
from quote_svc.stored_symbol import Gap, Provenance, StoredSymbol, TailBar
from quote_svc.tables import counters, histories, latest_quotes

# Eight years of one symbol are 145 kB unpacked.
_UNPACKED = 64


class Store:
    """The rows of one market; bars lately used are kept unpacked in memory."""

    def __init__(self, database: Database, market_id: str) -> None:
        self._database = database
        self._market_id = market_id
        self._unpacked: OrderedDict[str, Bars] = OrderedDict()

    async def load(self) -> list[StoredSymbol]:
        """Everything but the bars."""
        facts = [column for column in histories.c if column.name != "bars"]
        quotes = [latest_quotes.c[name] for name in _QUOTE_COLUMNS]
        query = (
            select(*facts, *quotes)
            .join_from(
                histories,
                latest_quotes,
                (histories.c.market_id == latest_quotes.c.market_id)
                & (histories.c.symbol == latest_quotes.c.symbol),
            )
            .where(histories.c.market_id == self._market_id)
            .order_by(histories.c.symbol)
        )
        return await self._database.read(
            lambda connection: [_stored(row) for row in connection.execute(query)]
        )

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

        bars = await self._database.read(read)
        self._keep(symbol, bars)
        return bars

    async def save(self, stored: StoredSymbol, bars: Bars) -> None:
        """Replace all that is stored of a symbol, in one transaction."""
        blob = await asyncio.to_thread(encoded, bars)
        facts = _facts(stored) | {"bars": blob}
        latest = _latest(stored)

        def write(connection: Connection) -> None:
            for table, values in ((histories, facts), (latest_quotes, latest)):
                statement = insert(table).values(**values, **self._key(stored))
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["market_id", "symbol"], set_=values
                    )
                )

        await self._database.write(write)
        self._keep(stored.instrument.symbol, bars)

    async def save_latest(self, changed: Sequence[StoredSymbol]) -> None:
        """Replace the latest quotes and standing of symbols that are stored."""

        def write(connection: Connection) -> None:
            for stored in changed:
                here = latest_quotes.c.symbol == stored.instrument.symbol
                mine = latest_quotes.c.market_id == self._market_id
                connection.execute(update(latest_quotes).where(mine, here).values(_latest(stored)))

        await self._database.write(write)

    async def save_standing(self, stored: StoredSymbol) -> None:
        """Replace what is stored of the source denying the symbol."""
        statement = (
            update(histories)
            .where(
                histories.c.market_id == self._market_id,
                histories.c.symbol == stored.instrument.symbol,
            )
            .values(unknown_since=_seconds(stored.unknown_since), unknown_days=stored.unknown_days)
        )
        await self._database.write(lambda connection: connection.execute(statement))

    async def reserve(self, name: str, count: int) -> int:
        """Reserve `count` numbers that were never given out; the first of them."""
        mine = (counters.c.market_id == self._market_id) & (counters.c.name == name)

        def write(connection: Connection) -> int:
            reserved = connection.execute(select(counters.c.reserved).where(mine)).scalar() or 0
            values = {"reserved": reserved + count}
            statement = insert(counters).values(market_id=self._market_id, name=name, **values)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["market_id", "name"], set_=values)
            )
            return int(reserved) + 1

        return await self._database.write(write)

    def _key(self, stored: StoredSymbol) -> dict[str, str]:
        return {"market_id": self._market_id, "symbol": stored.instrument.symbol}

    def _keep(self, symbol: str, bars: Bars) -> None:
        self._unpacked[symbol] = bars
        self._unpacked.move_to_end(symbol)
        if len(self._unpacked) > _UNPACKED:
            self._unpacked.popitem(last=False)


_QUOTE_COLUMNS = (
    "answered_at", "asked_at", "price", "as_of", "previous_close", "day_low", "day_high", "volume",
)  # fmt: skip


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
        "gaps": json.dumps([astuple(gap) for gap in provenance.gaps]),
        "checks": json.dumps(provenance.checks),
        "unknown_since": _seconds(stored.unknown_since),
        "unknown_days": stored.unknown_days,
    }


def _latest(stored: StoredSymbol) -> dict[str, float | None]:
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
    )


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
