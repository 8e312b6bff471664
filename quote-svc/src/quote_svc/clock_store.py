"""Keeps the demo market's clock in the database."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from foretick_rpc.database import Database
from quote_svc.demo_time import DemoPace, at_pace
from quote_svc.running_clock import ClockState
from quote_svc.tables import market_clocks


class ClockStore:
    """The row of one market in `market_clocks`."""

    def __init__(self, database: Database, market_id: str, pace: DemoPace) -> None:
        self._database = database
        self._market_id = market_id
        self._pace = pace

    async def load(self) -> ClockState:
        """Where the clock stands, at today's pace; at 0 for a market that never ran."""

        def read(connection: Connection) -> ClockState:
            query = select(market_clocks).where(market_clocks.c.market_id == self._market_id)
            row = connection.execute(query).one_or_none()
            if row is None:
                return ClockState(0.0)
            stored = DemoPace(row.session_seconds, row.night_seconds)
            return ClockState(at_pace(row.elapsed_seconds, stored, self._pace), row.held)

        return await self._database.read(read)

    async def save(self, state: ClockState) -> None:
        """Replace what is stored."""
        values = {
            "elapsed_seconds": state.elapsed,
            "held": state.held,
            "session_seconds": self._pace.session_seconds,
            "night_seconds": self._pace.night_seconds,
        }
        statement = (
            insert(market_clocks)
            .values(market_id=self._market_id, **values)
            .on_conflict_do_update(index_elements=["market_id"], set_=values)
        )
        await self._database.write(lambda connection: connection.execute(statement))
