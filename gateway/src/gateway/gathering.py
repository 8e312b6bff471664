"""What a watchlist page shows around its rows and in them, of whichever answers there are."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from gateway.backends import Backends
from gateway.model import (
    Fetching,
    Forecasts,
    Instrument,
    Market,
    Quotes,
    Reason,
    Training,
)
from gateway.problems import RequestError
from gateway.watchlist import Row, watchlist_rows

T = TypeVar("T")

_log = logging.getLogger("foretick.gateway")
OFFERED = 8
SIMILAR = 5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around the rows; a reason where a service does not answer, and since when."""

    market: Market | None = None
    market_time: datetime | None = None
    pace: float = 0.0
    """Seconds that pass on the market in one."""
    price_reason: Reason | None = None
    price_since: datetime | None = None
    forecast_reason: Reason | None = None
    forecast_since: datetime | None = None
    offered: tuple[Instrument, ...] = ()
    fetching: Fetching | None = None
    training: Training | None = None


async def attempt(call: Awaitable[T]) -> T | Reason:
    """Await a call that a page can do without; why it failed is logged and shown."""
    try:
        return await call
    except RequestError as error:
        _log.warning("a page is shown without an answer: %s", error.message)
        return Reason(error.reason, error.message)


async def gather(backends: Backends, symbols: tuple[str, ...]) -> tuple[Surroundings, list[Row]]:
    """Ask for quotes and forecasts of ``symbols``; without any, for symbols to begin with."""
    if not symbols:
        return await _for_beginners(backends), []
    quotes, forecasts, market = await asyncio.gather(
        attempt(backends.quotes(symbols)),
        attempt(backends.forecasts(symbols)),
        attempt(backends.market()),
    )
    if isinstance(quotes, Quotes):
        market = await attempt(backends.market(quotes.market_id))
    surroundings = Surroundings(
        market=_known(market),
        market_time=quotes.market_time if isinstance(quotes, Quotes) else None,
        price_reason=_reason(quotes),
        forecast_reason=_reason(forecasts),
        training=forecasts.training if isinstance(forecasts, Forecasts) else None,
    )
    return surroundings, watchlist_rows(symbols, quotes, forecasts)


async def _for_beginners(backends: Backends) -> Surroundings:
    universe, market = await asyncio.gather(
        attempt(backends.universe(OFFERED)), attempt(backends.market())
    )
    if isinstance(universe, Reason):
        return Surroundings(_known(market), price_reason=universe)
    market = await attempt(backends.market(universe.market_id))
    return Surroundings(_known(market), offered=universe.instruments, fetching=universe.fetching)


async def similar(backends: Backends, entered: str) -> list[Instrument]:
    """Search for what was meant; nothing where the search fails."""
    found = await attempt(backends.search(entered, SIMILAR)) if entered else []
    return [] if isinstance(found, Reason) else found


def _known(market: Market | Reason) -> Market | None:
    return market if isinstance(market, Market) else None


def _reason(answer: object) -> Reason | None:
    return answer if isinstance(answer, Reason) else None
