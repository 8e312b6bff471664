"""Keeps the demo market's clock in the database."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from foretick_rpc.database import Database, insert
from quote_svc.demo_time import DemoPace, at_pace
from quote_svc.running_clock import ClockState
from quote_svc.tables import market_clocks


@dataclass(frozen=True)
class ClockRow:
    """What is stored of a clock: as far as it may be shown, and how far it was at an instant.

    At `anchor_time`, in seconds since the epoch, it had run for `anchor_seconds`. All seconds of
    running are at the pace that they were stored with, and are read at the pace `mine`.
    """

    state: ClockState
    anchor_seconds: float
    anchor_time: float
    stored: DemoPace
    mine: DemoPace

    def latest(self) -> ClockState:
        """The last instant that anyone can have been shown."""
        return ClockState(at_pace(self.state.elapsed, self.stored, self.mine), self.state.held)

    def elapsed(self, now: float) -> float:
        """Running seconds `now`, in seconds since the epoch, for whoever doesn't run it."""
        passed = self.anchor_seconds + max(now - self.anchor_time, 0.0)
        shown = self.state.elapsed if self.state.held else min(passed, self.state.elapsed)
        return at_pace(shown, self.stored, self.mine)


class ClockStore:
    """The row of one market in `market_clocks`."""

    def __init__(
        self,
        database: Database,
        market_id: str,
        pace: DemoPace,
        require: Callable[[Connection], None],
        epoch: Callable[[], float] = time.time,
    ) -> None:
        """`require` comes first in every write; `epoch` returns seconds since 1970-01-01."""
        self._database = database
        self._market_id = market_id
        self._pace = pace
        self._require = require
        self._epoch = epoch

    async def load(self) -> ClockRow:
        """What is stored, to be read at today's pace; a clock at 0 for a market that never ran."""
        query = select(market_clocks).where(market_clocks.c.market_id == self._market_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return ClockRow(ClockState(0.0), 0.0, 0.0, self._pace, self._pace)
        return ClockRow(
            ClockState(row.elapsed_seconds, row.held),
            row.anchor_seconds,
            row.anchor_time,
            DemoPace(row.session_seconds, row.night_seconds),
            self._pace,
        )

    async def save(self, state: ClockState, ahead: float = 0.0) -> None:
        """Replace what is stored; `state` lies `ahead` seconds ahead of now."""
        values = {
            "elapsed_seconds": state.elapsed,
            "held": state.held,
            "session_seconds": self._pace.session_seconds,
            "night_seconds": self._pace.night_seconds,
            "anchor_seconds": state.elapsed - ahead,
            "anchor_time": self._epoch(),
        }

        def write(connection: Connection) -> None:
            self._require(connection)
            connection.execute(
                insert(connection, market_clocks)
                .values(market_id=self._market_id, **values)
                .on_conflict_do_update(index_elements=["market_id"], set_=values)
            )

        await self._database.write(write)
