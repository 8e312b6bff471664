"""Builds the service from its settings."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from foretick.quote.v1 import quote_pb2
from foretick.quote.v1.quote_pb2_grpc import add_QuoteServiceServicer_to_server
from foretick_rpc.database import Database
from foretick_rpc.errors import StartupError
from foretick_rpc.server import RpcServer, RpcService
from quote_svc.clock_store import ClockStore
from quote_svc.demo_market import DemoMarket, market_id
from quote_svc.demo_time import DemoPace
from quote_svc.market import Market, MarketUnusable
from quote_svc.running_clock import RESERVE_EVERY_SECONDS, RunningClock
from quote_svc.servicer import QuoteServicer
from quote_svc.settings import MarketChoice, QuoteSettings

_log = logging.getLogger("foretick.quote")
SERVICE_NAME = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"].full_name


def service(market: Market) -> RpcService:
    """QuoteService of `market`, for a server to serve."""
    return RpcService(
        SERVICE_NAME, partial(add_QuoteServiceServicer_to_server, QuoteServicer(market))
    )


@asynccontextmanager
async def running(
    settings: QuoteSettings, wall: Callable[[], float] = time.monotonic
) -> AsyncIterator[RpcServer]:
    """The service, serving; `wall` is a monotonic clock in seconds.

    Raises StartupError where the market cannot be served.
    """
    async with (
        opened_market(settings, wall) as market,
        RpcServer(
            service(market),
            listen=settings.listen,
            service_token=settings.service_token.get_secret_value(),
            domain="quote.foretick",
        ) as rpc_server,
    ):
        yield rpc_server


@asynccontextmanager
async def opened_market(
    settings: QuoteSettings, wall: Callable[[], float]
) -> AsyncIterator[Market]:
    """The market that the settings choose; `wall` is a monotonic clock in seconds."""
    if settings.market is MarketChoice.DEMO:
        async with _demo_market(settings, wall) as demo:
            yield demo
    else:
        try:
            market = await asyncio.to_thread(_csv_market, settings)
        except MarketUnusable as error:
            raise StartupError(str(error)) from error
        yield market


def _csv_market(settings: QuoteSettings) -> Market:
    # Only this market needs pandas, which takes a second and 50 MiB to import.
    from quote_svc.csv_market import CsvSource, load_csv_market  # noqa: PLC0415

    # Where it is tomorrow already, exchanges may have closed.
    today = (datetime.now(UTC) + timedelta(hours=14)).date()
    source = CsvSource(
        path=settings.csv_path or Path(),
        exchange_code=settings.csv_exchange,
        currency_code=settings.csv_currency,
        as_of=settings.as_of,
    )
    return load_csv_market(source, today)


@asynccontextmanager
async def _demo_market(
    settings: QuoteSettings, wall: Callable[[], float]
) -> AsyncIterator[DemoMarket]:
    """The demo market with its clock running; on leaving the clock stops where it stands."""
    pace = DemoPace(settings.demo_session_seconds, settings.demo_night_seconds)
    database = await asyncio.to_thread(Database.open, settings.database, "quote_svc")
    try:
        store = ClockStore(database, market_id(settings.demo_seed), pace)
        clock = RunningClock(await store.load(), wall, store)
        market = DemoMarket(settings.demo_seed, pace, clock.elapsed)
        # The clock starts once the past is made, so that no session is lost to that.
        await asyncio.to_thread(market.catch_up)
        await clock.start()
        keeper = asyncio.create_task(_keep_up(clock, market))
        try:
            yield market
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await clock.stop()
    finally:
        await asyncio.to_thread(database.close)


async def _keep_up(clock: RunningClock, market: DemoMarket) -> None:
    """Let the clock run on, and make sessions as they pass even if nobody asks for them."""
    while True:
        await asyncio.sleep(RESERVE_EVERY_SECONDS)
        try:
            await clock.reserve()
            market.catch_up()
        except Exception:  # noqa: BLE001 - logged; whatever the store raises, the next try may pass
            _log.exception("the market's clock cannot be stored; it stands still until it can")
