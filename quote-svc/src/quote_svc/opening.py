"""Opens the market that the settings choose, with all that it needs to keep going."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from foretick_rpc.database import open_database
from quote_svc.background import background, repeated
from quote_svc.clock_store import ClockStore
from quote_svc.control import ClockControl
from quote_svc.demo_clock import DemoClockControl
from quote_svc.demo_market import DemoMarket, market_id
from quote_svc.demo_time import DemoPace
from quote_svc.market import Market, MarketDescription, MarketKind
from quote_svc.running_clock import RESERVE_EVERY_SECONDS
from quote_svc.settings import MarketChoice, QuoteSettings
from quote_svc.shared_clock import SharedClock
from quote_svc.source import StreamedPrice
from quote_svc.store import Shared
from quote_svc.watching import Pushes

_log = logging.getLogger("foretick.quote")
_FOLLOW_EVERY_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.5
Opened = tuple[Market, ClockControl | None]


def opened_market(
    settings: QuoteSettings,
    wall: Callable[[], float],
    epoch: Callable[[], float],
    pushes: Pushes,
) -> AbstractAsyncContextManager[Opened]:
    """The market that the settings choose, and the control of its clock where it has its own.

    `wall` is a monotonic clock in seconds, `epoch` one since 1970-01-01. Symbols whose prices are
    pushed come into `pushes`. Raises MarketUnusable on entering.
    """
    if settings.market is MarketChoice.DEMO:
        return _demo_market(settings, wall, epoch)
    if settings.market is MarketChoice.CSV:
        return _csv_market(settings)
    return _yahoo_market(settings, pushes)


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
async def _demo_market(
    settings: QuoteSettings, wall: Callable[[], float], epoch: Callable[[], float]
) -> AsyncIterator[Opened]:
    """The demo market with its clock running; on leaving the clock stops where it stands."""
    pace = DemoPace(settings.demo_session_seconds, settings.demo_night_seconds)
    seed, turmoil_after = settings.demo_seed, settings.demo_turmoil_after
    name = market_id(seed, turmoil_after)
    async with open_database(settings.database, "quote_svc") as database:
        lease = Shared.of(database, name).lease
        store = ClockStore(database, name, pace, lease.require, epoch)
        clock = SharedClock(store, await store.load(), wall, epoch)
        market = DemoMarket(seed, pace, clock.elapsed, clock.is_held, turmoil_after)
        # The clock starts once the past is made, so that no session is lost to that.
        await asyncio.to_thread(market.catch_up)
        runs = asyncio.Event()

        async def run_clock() -> None:
            async with clock.running():
                runs.set()
                await repeated(partial(_kept_up, clock.reserve, market, RESERVE_EVERY_SECONDS))

        look = partial(_kept_up, clock.look, market, _LOOK_EVERY_SECONDS)
        async with background(lease.run(run_clock), repeated(look)):
            if database.is_exclusive:
                await runs.wait()
            yield market, DemoClockControl(market, clock, pace)


async def _kept_up(
    clock: Callable[[], Awaitable[None]], market: DemoMarket, seconds: float
) -> float:
    """Let the clock run on, and make sessions as they pass even if nobody asks for them."""
    await clock()
    market.catch_up()
    return seconds


@asynccontextmanager
async def _yahoo_market(settings: QuoteSettings, pushes: Pushes) -> AsyncIterator[Opened]:
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
        # What one answer is read from, the next is asked for.
        at_once=2 * settings.yahoo_at_once,
    )
    source = YahooSource(
        ca_bundle=settings.ca_bundle, rate=settings.yahoo_rate, at_once=settings.yahoo_at_once
    )
    try:
        async with (
            open_database(settings.database, "quote_svc") as database,
            opened_stored_market(
                YAHOO,
                source,
                Shared.of(database, YAHOO.market_id),
                lambda each: session_calendar(each.kind, each.exchange_code, each.timezone),
                upkeep,
            ) as market,
        ):

            def deliver(price: StreamedPrice) -> None:
                market.accept_price(price)
                pushes.add(price.symbol)

            stream = YahooStream(deliver, source.unit_of, ca_bundle=settings.ca_bundle)
            async with background(stream.run(), follow(market, stream)):
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
