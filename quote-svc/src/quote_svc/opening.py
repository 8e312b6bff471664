"""Opens the market that the settings choose, with all that it needs to keep going."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from foretick_rpc.database import Database
from quote_svc.clock_store import ClockStore
from quote_svc.control import ClockControl
from quote_svc.demo_clock import DemoClockControl
from quote_svc.demo_market import DemoMarket, market_id
from quote_svc.demo_time import DemoPace
from quote_svc.market import Market, MarketDescription, MarketKind
from quote_svc.running_clock import RESERVE_EVERY_SECONDS, RunningClock
from quote_svc.settings import MarketChoice, QuoteSettings

_log = logging.getLogger("foretick.quote")
_FOLLOW_EVERY_SECONDS = 5.0
Opened = tuple[Market, ClockControl | None]


def opened_market(
    settings: QuoteSettings, wall: Callable[[], float]
) -> AbstractAsyncContextManager[Opened]:
    """The market that the settings choose, and the control of its clock where it has its own.

    `wall` is a monotonic clock in seconds. Raises MarketUnusable on entering.
    """
    if settings.market is MarketChoice.DEMO:
        return _demo_market(settings, wall)
    if settings.market is MarketChoice.CSV:
        return _csv_market(settings)
    return _yahoo_market(settings)


@asynccontextmanager
async def _csv_market(settings: QuoteSettings) -> AsyncIterator[Opened]:
    # Only markets with real calendars need pandas, which takes a second and 50 MiB to import.
    from quote_svc.csv_market import CsvSource, load_csv_market  # noqa: PLC0415

    # Where it is tomorrow already, exchanges may have closed.
    today = (datetime.now(UTC) + timedelta(hours=14)).date()
    source = CsvSource(
        path=settings.csv_path or Path(),
        exchange_code=settings.csv_exchange,
        currency_code=settings.csv_currency,
        as_of=settings.as_of,
    )
    market = await asyncio.to_thread(load_csv_market, source, today)
    yield market, market


@asynccontextmanager
async def _demo_market(settings: QuoteSettings, wall: Callable[[], float]) -> AsyncIterator[Opened]:
    """The demo market with its clock running; on leaving the clock stops where it stands."""
    pace = DemoPace(settings.demo_session_seconds, settings.demo_night_seconds)
    async with _database(settings) as database:
        store = ClockStore(database, market_id(settings.demo_seed), pace)
        clock = RunningClock(await store.load(), wall, store)
        market = DemoMarket(settings.demo_seed, pace, clock.elapsed, clock.is_held)
        # The clock starts once the past is made, so that no session is lost to that.
        await asyncio.to_thread(market.catch_up)
        await clock.start()
        try:
            async with _background(_keep_up(clock, market)):
                yield market, DemoClockControl(market, clock, pace)
        finally:
            await clock.stop()


async def _keep_up(clock: RunningClock, market: DemoMarket) -> None:
    """Let the clock run on, and make sessions as they pass even if nobody asks for them."""
    while True:
        await asyncio.sleep(RESERVE_EVERY_SECONDS)
        try:
            await clock.reserve()
            market.catch_up()
        except Exception:  # noqa: BLE001 - logged; whatever the store raises, the next try may pass
            _log.exception("the market's clock cannot be stored; it stands still until it can")


@asynccontextmanager
async def _yahoo_market(settings: QuoteSettings) -> AsyncIterator[Opened]:
    """Yahoo's prices from the store, kept up in the background, by its stream where that flows."""
    # yfinance and the calendars import pandas.
    from quote_svc.calendars import session_calendar  # noqa: PLC0415
    from quote_svc.stored_market import StoredMarket, Upkeep, opened_stored_market  # noqa: PLC0415
    from quote_svc.universe import seed_symbols  # noqa: PLC0415
    from quote_svc.yahoo_source import YahooSource  # noqa: PLC0415
    from quote_svc.yahoo_stream import YahooStream  # noqa: PLC0415

    async def follow(market: StoredMarket, stream: YahooStream) -> None:
        while True:
            stream.follow(market.polled_symbols())
            await asyncio.sleep(_FOLLOW_EVERY_SECONDS)

    upkeep = Upkeep(
        seeds=await asyncio.to_thread(seed_symbols, settings.seed_file),
        poll=timedelta(seconds=settings.poll_seconds),
        # Below the deadline of pages, so that one cold symbol takes no other one's price along.
        patience=timedelta(seconds=1.5),
    )
    source = YahooSource(ca_bundle=settings.ca_bundle, rate=settings.yahoo_rate)
    try:
        async with (
            _database(settings) as database,
            opened_stored_market(
                YAHOO,
                source,
                database,
                lambda each: session_calendar(each.kind, each.exchange_code, each.timezone),
                upkeep,
            ) as market,
        ):
            stream = YahooStream(market.accept_price, source.unit_of, ca_bundle=settings.ca_bundle)
            # The libraries stay for good; without this, each full collection looks through all
            # that they hold, and the event loop waits for it.
            gc.collect()
            gc.freeze()
            async with _background(stream.run(), follow(market, stream)):
                yield market, None
    finally:
        await source.close()


YAHOO = MarketDescription(
    market_id="yahoo",
    kind=MarketKind.YAHOO,
    display_name="Yahoo Finance",
    synthetic=False,
    notices=("Yahoo offers these prices for personal use only, and they may be delayed.",),
)


@asynccontextmanager
async def _database(settings: QuoteSettings) -> AsyncIterator[Database]:
    database = await asyncio.to_thread(Database.open, settings.database, "quote_svc")
    try:
        yield database
    finally:
        await asyncio.to_thread(database.close)


@asynccontextmanager
async def _background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """`work` goes on while this is entered."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
