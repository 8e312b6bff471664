"""The market and its clock, and what is being fetched or trained: what no stream tells."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from gateway.backends import Backends
from gateway.board import Board
from gateway.gathering import OFFERED, Surroundings, attempt
from gateway.model import Reason

POLL_SECONDS = 2.0
# So long after the last page nobody asks any more.
UNSEEN_SECONDS = 60.0


class Poll:
    """Asks once in a while for all pages, and only while there are any."""

    def __init__(
        self,
        backends: Backends,
        board: Board,
        monotonic: Callable[[], float],
    ) -> None:
        self._backends = backends
        self._board = board
        self._monotonic = monotonic
        self._seen = -UNSEEN_SECONDS
        self._looked = asyncio.Event()
        self._answered = asyncio.Event()
        self._turned = asyncio.Event()
        self._clock: tuple[float, datetime] | None = None
        self._told = Surroundings()
        self._kept: tuple[object, Surroundings] | None = None
        self.listeners: list[Callable[[], None]] = []

    async def look(self, give_up: float) -> None:
        """Keep asking for a while; where nothing is known yet, wait, but not beyond ``give_up``."""
        self._seen = self._monotonic()
        self._looked.set()
        if not self._answered.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._answered.wait(), give_up - self._seen)

    @property
    def known(self) -> Surroundings:
        """What is known now; streams know best whether a service can be heard."""
        board = self._board
        quotes, forecasts = board.quotes, board.forecasts
        of = (
            self._told,
            board.market_time,
            quotes.market_id,
            quotes.reason,
            forecasts.market_id,
            forecasts.reason,
            bool(board.entries),
        )
        if self._kept is None or self._kept[0] != of:
            self._kept = of, self._known()
        return self._kept[1]

    def _known(self) -> Surroundings:
        board = self._board
        quotes, forecasts = board.quotes, board.forecasts
        market = self._told.market
        is_ours = market is not None and quotes.market_id in ("", market.market_id)
        return replace(
            self._told,
            market=market if is_ours else None,
            market_time=board.market_time,
            price_reason=quotes.reason or (None if board.entries else self._told.price_reason),
            price_since=quotes.since if quotes.market_id else None,
            forecast_reason=forecasts.reason,
            forecast_since=forecasts.since if forecasts.market_id else None,
        )

    def check_market(self, _changed: object) -> None:
        """Ask at once where the board tells of another market than is known here."""
        market = self._told.market
        if market is not None and self._board.quotes.market_id not in ("", market.market_id):
            self._turned.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            if self._monotonic() - self._seen > UNSEEN_SECONDS:
                self._looked.clear()
                self._answered.clear()
                await self._looked.wait()
            await self._ask()
            self._answered.set()
            for listener in self.listeners:
                listener()
            self._turned.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._turned.wait(), POLL_SECONDS)

    async def _ask(self) -> None:
        universe, training, time = await asyncio.gather(
            attempt(self._backends.universe(OFFERED)),
            attempt(self._backends.training()),
            attempt(self._backends.market_time()),
        )
        if isinstance(universe, Reason):
            self._told = replace(self._told, price_reason=universe, training=None, fetching=None)
            return
        market = await attempt(self._backends.market(universe.market_id))
        self._told = Surroundings(
            market=None if isinstance(market, Reason) else market,
            pace=self._told.pace,
            offered=universe.instruments,
            fetching=universe.fetching,
            training=None if isinstance(training, Reason) else training,
        )
        if isinstance(time, datetime):
            self._set_clock(universe.market_id, time)

    def _set_clock(self, market_id: str, time: datetime) -> None:
        now = self._monotonic()
        if self._clock is not None and now > self._clock[0]:
            pace = (time - self._clock[1]).total_seconds() / (now - self._clock[0])
            self._told = replace(self._told, pace=float(max(round(pace), 0)))
        self._clock = now, time
        if self._board.quotes.market_id in ("", market_id):
            self._board.market_time = time
