"""Yahoo as a Source, through yfinance."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yfinance
from yfinance import utils
from yfinance.cache import set_cache_location
from yfinance.data import YfData

from foretick_rpc.symbols import parse_symbol
from quote_svc.pacing import CircuitBreaker, TokenBucket
from quote_svc.source import (
    Nonsense,
    SourceFailure,
    SourceHistory,
    SourceInstrument,
    UnknownSymbol,
    Unreachable,
)
from quote_svc.yahoo_bars import KINDS, history_of
from quote_svc.yahoo_session import Gate, YahooSession

T = TypeVar("T")
AT_ONCE = 4
_YEARS = timedelta(days=3653)
_EAST = timedelta(hours=14)  # nowhere does a day begin earlier than this before UTC's
_SEARCH_RESULTS = 20


class YahooSource:
    """Prices from Yahoo. One at a time in a process: yfinance keeps one session for all.

    `rate` is requests a second, of which half of `at_once` may come together, and `at_once` be
    under way for histories; `clock` monotonic seconds; `sleep` blocks a worker's thread.
    `deadline` is in seconds, for one request.
    """

    def __init__(  # noqa: PLR0913 - all are named, and few are given
        self,
        *,
        ca_bundle: Path | None = None,
        rate: float = 2.0,
        at_once: int = AT_ONCE,
        deadline: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._cache_folder = tempfile.mkdtemp(prefix="foretick-yahoo-")
        set_cache_location(self._cache_folder)
        yfinance.config.debug.hide_exceptions = False
        self._gate = Gate(TokenBucket(rate, at_once // 2), CircuitBreaker(), clock, sleep)
        self._deadline = deadline
        self._session = YahooSession(self._gate, ca_bundle, deadline)
        _without_crumb(YfData(session=self._session))
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="yahoo")
        # People wait for a search: it shall not queue up behind histories.
        self._search_pool = ThreadPoolExecutor(1, thread_name_prefix="yahoo-search")
        self._flights: dict[tuple[str, date | None], asyncio.Task[SourceHistory]] = {}
        self._units: dict[str, str] = {}

    async def close(self) -> None:
        """Ends what is under way, within the deadline of one request."""
        self._gate.close()
        for pool in (self._pool, self._search_pool):
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        if self._flights:
            await asyncio.wait(self._flights.values())
        self._session.close()
        await asyncio.to_thread(shutil.rmtree, self._cache_folder, ignore_errors=True)

    def unit_of(self, symbol: str) -> str | None:
        """The unit that Yahoo quotes a symbol in ("GBp"), once its history has been fetched."""
        return self._units.get(symbol)

    async def history(self, symbol: str, start: date | None) -> SourceHistory:
        """The bars from `start` on (None: ten years); raises UnknownSymbol or a SourceFailure.

        Callers that ask for the same at the same time share one fetch.
        """
        key = (symbol, start)
        flight = self._flights.get(key)
        if flight is None:
            self._gate.check()
            flight = asyncio.create_task(
                self._answer(self._pool, partial(self._fetch, symbol, start))
            )
            self._flights[key] = flight
            flight.add_done_callback(partial(self._landed, key))
        return await asyncio.shield(flight)

    async def search(self, query: str) -> Sequence[SourceInstrument]:
        """Instruments that `query` may mean, best first; raises a SourceFailure.

        An answer of Yahoo's search names neither currency nor time zone: those are empty.
        """
        self._gate.check()
        return await self._answer(self._search_pool, partial(self._search, query))

    def _landed(self, key: tuple[str, date | None], flight: asyncio.Task[SourceHistory]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # every caller may have gone: then nobody else looks at it

    async def _answer(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        answer: Awaitable[T] = asyncio.get_running_loop().run_in_executor(pool, work)
        try:
            return await answer
        except (SourceFailure, UnknownSymbol):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unreachable("the service is stopping") from error  # `close` emptied the queue
        except Exception as error:
            # The gate has named every failure of the way; what is left is yfinance at a loss.
            raise Nonsense(f"Yahoo's answer makes no sense: {error!r}") from error

    def _fetch(self, symbol: str, start: date | None) -> SourceHistory:
        if utils.is_isin(symbol):
            # yfinance would search for it and give the prices of what it found.
            raise Nonsense(f"{symbol} is an ISIN; Yahoo's prices are found by symbol")
        ticker = yfinance.Ticker(symbol, session=self._session)
        # With a time zone at hand yfinance doesn't send a request to learn it. Which one doesn't
        # matter: it is used on days only, and the start is given as an instant.
        ticker._tz = "UTC"
        frame = ticker.history(
            start=_first_instant(start),
            interval="1d",
            auto_adjust=False,
            actions=True,
            keepna=True,
            timeout=self._deadline,
        )
        meta = ticker.get_history_metadata()
        history = history_of(symbol, frame, meta, start)
        if isinstance(unit := meta.get("currency"), str):
            self._units[symbol] = unit
        return history

    def _search(self, query: str) -> list[SourceInstrument]:
        YfData.cache_get.cache_clear()  # it would give the first answer to a query for ever
        found = yfinance.Search(
            query,
            max_results=_SEARCH_RESULTS,
            news_count=0,
            lists_count=0,
            include_cb=False,
            enable_fuzzy_query=True,
            recommended=0,
            session=self._session,
            timeout=self._deadline,
        )
        return [instrument for row in found.quotes if (instrument := _searched(row)) is not None]


def _without_crumb(shared: Any) -> None:
    """Lets yfinance believe it has a cookie and a crumb.

    Charts and searches need neither, and each failed try to get them costs up to five requests.
    Where Yahoo does ask for them, with a 401, yfinance fetches them all the same.
    """
    shared._cookie, shared._crumb, shared._cookie_strategy = True, "", "basic"


def _first_instant(start: date | None) -> int:
    day = (datetime.now(UTC) - _YEARS).date() if start is None else start
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return int((midnight - _EAST).timestamp())


def _searched(row: dict[str, Any]) -> SourceInstrument | None:
    """What a search found; None for what isn't served, like options."""
    kind = KINDS.get(str(row.get("quoteType")).upper())
    try:
        symbol = parse_symbol(str(row["symbol"]))
    except ValueError:
        return None
    if kind is None:
        return None
    return SourceInstrument(
        symbol=symbol,
        display_name=str(row.get("longname") or row.get("shortname") or symbol),
        kind=kind,
        exchange_code=str(row.get("exchange") or ""),
        timezone="",
        currency_code="",
        price_decimals=2,
    )
