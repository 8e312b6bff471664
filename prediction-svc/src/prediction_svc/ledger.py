"""The ledger: forecasts written down before the fact, and what came of them.

Append-only and hash-chained, one chain a market over both tables: so its one head vouches for the
outcomes too, and their places show that they came after the forecasts.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from foretick_rpc.database import Database
from foretick_rpc.leases import Lease
from prediction_svc.ledger_listing import Written, read_row, read_written
from prediction_svc.ledger_reading import (
    Counts,
    Hit,
    ResolvedForecasts,
    read_counts,
    read_entries,
    read_hits,
    read_open,
    read_recorded_to,
    read_resolved,
)
from prediction_svc.ledger_rows import Entry, LedgerForecast, MissedForecast, Outcome
from prediction_svc.ledger_writing import (
    Appended,
    Head,
    append_forecasts,
    append_outcomes,
    read_head,
)
from prediction_svc.outcomes import OpenForecast
from prediction_svc.verifying import (
    ExpectedHead,
    Progress,
    Verification,
    read_market_ids,
    verify_chain,
)


class Ledger:
    """The chains of all markets; only the holder of `lease` appends to them."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self._database = database
        self._lease = lease

    async def append(
        self,
        market_id: str,
        batch: Sequence[LedgerForecast | MissedForecast],
        market_time: datetime,
    ) -> Appended:
        """Write a batch down in one transaction; `market_time` is what it is on the market now.

        What is there already stays and is returned as it stands, so a batch may be appended again
        after a crash. Raises ValueError as `append_forecasts` does, and LeaseLostError.
        """

        def work(connection: Connection) -> Appended:
            self._lease.require(connection)
            return append_forecasts(connection, market_id, batch, market_time)

        return await self._database.write(work)

    async def append_outcomes(
        self, market_id: str, batch: Sequence[Outcome], market_time: datetime
    ) -> tuple[int, Head]:
        """Write down what came of forecasts; return how many rows were added, and the head.

        Raises ValueError as `ledger_writing.append_outcomes` does, and LeaseLostError.
        """

        def work(connection: Connection) -> tuple[int, Head]:
            self._lease.require(connection)
            return append_outcomes(connection, market_id, batch, market_time)

        return await self._database.write(work)

    async def head(self, market_id: str) -> Head:
        """The head of a market's chain."""
        return await self._database.read(lambda connection: read_head(connection, market_id))

    async def market_ids(self) -> list[str]:
        """The markets that have a chain."""
        return await self._database.read(read_market_ids)

    async def open_forecasts(
        self,
        market_id: str,
        last_closed_day: int,
        revisable_from_day: int,
        open_from_day: int = 0,
    ) -> dict[str, list[OpenForecast]]:
        """What to look at after a close, by symbol; see `read_open`."""
        days = (last_closed_day, revisable_from_day, open_from_day)
        return await self._database.read(lambda connection: read_open(connection, market_id, *days))

    async def resolved(
        self,
        market_id: str,
        horizon: int,
        *,
        symbol: str | None = None,
        last: int = 1000,
        from_day: int = 0,
    ) -> ResolvedForecasts:
        """Each symbol's last resolved forecasts of a horizon; see `read_resolved`."""
        return await self._database.read(
            lambda connection: read_resolved(
                connection, market_id, horizon, symbol=symbol, last=last, from_day=from_day
            )
        )

    async def recorded_to(self, market_id: str) -> dict[int, dict[str, int]]:
        """The last as-of day of each horizon and symbol that has a row, since 1970-01-01."""
        return await self._database.read(lambda connection: read_recorded_to(connection, market_id))

    async def hits_since(self, market_id: str, number: int) -> list[Hit]:
        """Whether bands held, of the forecasts that were resolved by rows after a number."""
        return await self._database.read(
            lambda connection: read_hits(connection, market_id, number)
        )

    async def entries(self, market_id: str, symbol: str, last: int) -> list[Entry]:
        """A symbol's last rows, forecasts and missed ones, the newest first."""
        return await self._database.read(
            lambda connection: read_entries(connection, market_id, symbol, last)
        )

    async def written(
        self,
        market_id: str,
        *,
        symbol: str | None = None,
        horizon: int | None = None,
        before: int | None = None,
        count: int,
    ) -> list[Written]:
        """Rows and what came of them; see `read_written`."""
        return await self._database.read(
            lambda connection: read_written(
                connection, market_id, symbol=symbol, horizon=horizon, before=before, count=count
            )
        )

    async def row(self, market_id: str, number: int) -> Written | None:
        """One forecast and what came of it; see `read_row`."""
        return await self._database.read(lambda connection: read_row(connection, market_id, number))

    async def counts(self, market_id: str, horizon: int) -> Counts:
        """How many forecasts were issued, missed, resolved and left unresolved."""
        return await self._database.read(
            lambda connection: read_counts(connection, market_id, horizon)
        )

    async def verify(
        self,
        market_id: str,
        expected: ExpectedHead | None = None,
        progress: Progress | None = None,
    ) -> Verification:
        """Walk a market's chain; `progress` is called in the thread that walks."""
        return await self._database.read(
            lambda connection: verify_chain(connection, market_id, expected, progress)
        )
