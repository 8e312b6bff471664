"""What a watchlist page needs from the services, in as few calls as can be; any may be down."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from gateway.backends import Backends
from gateway.model import Forecasts, Instrument, Market, Quotes, Reason
from gateway.problems import RequestError

T = TypeVar("T")

_log = logging.getLogger("foretick.gateway")
OFFERED = 8
SIMILAR = 5


@dataclass(frozen=True, slots=True)
class Gathered:
    """Answers of quote-svc and prediction-svc; a Reason stands for an answer that failed."""

    market: Market | None
    quotes: Quotes | Reason
    forecasts: Forecasts | Reason
    offered: list[Instrument]


async def attempt(call: Awaitable[T]) -> T | Reason:
    """Await a call that a page can do without; why it failed is logged and shown."""
    try:
        return await call
    except RequestError as error:
        _log.warning("a page is shown without an answer: %s", error.message)
        return Reason(error.reason, error.message)


async def gather(backends: Backends, symbols: tuple[str, ...]) -> Gathered:
    """Ask for quotes and forecasts of ``symbols``; without any, for symbols to begin with."""
    if not symbols:
        return await _for_beginners(backends)
    quotes, forecasts, market = await asyncio.gather(
        attempt(backends.quotes(symbols)),
        attempt(backends.forecasts(symbols)),
        attempt(backends.market()),
    )
    if isinstance(quotes, Quotes):
        market = await attempt(backends.market(quotes.market_id))
    return Gathered(_known(market), quotes, forecasts, offered=[])


async def _for_beginners(backends: Backends) -> Gathered:
    universe, market = await asyncio.gather(
        attempt(backends.universe(OFFERED)), attempt(backends.market())
    )
    if isinstance(universe, Reason):
        return Gathered(_known(market), universe, Forecasts(""), offered=[])
    market_id, offered = universe
    market = await attempt(backends.market(market_id))
    return Gathered(_known(market), Quotes(market_id, None), Forecasts(market_id), offered)


async def similar(backends: Backends, entered: str) -> list[Instrument]:
    """Search for what was meant; nothing where the search fails."""
    found = await attempt(backends.search(entered, SIMILAR)) if entered else []
    return [] if isinstance(found, Reason) else found


def _known(market: Market | Reason) -> Market | None:
    return market if isinstance(market, Market) else None
