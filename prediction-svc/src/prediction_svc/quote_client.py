"""The market, asked over gRPC: by the serving process for its time, by workers for its bars."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC

import grpc
import numpy as np

from foretick.quote.v1 import quote_pb2, quote_pb2_grpc
from foretick_rpc.client import open_channel
from foretick_rpc.errors import app_error
from prediction_svc.histories import COLUMNS, clean_history
from prediction_svc.market import (
    TIMED_OUT,
    Fetched,
    MarketClock,
    MarketUnavailableError,
    Progress,
    Refusal,
    SymbolBars,
)
from prediction_svc.outcomes import TradedBars

_DEADLINE_SECONDS = 5.0
_PAGE_SIZE = 500
_FETCHES_AT_ONCE = 8


class QuoteMarket:
    """quote-svc as a Market."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = quote_pb2_grpc.QuoteServiceStub(channel)
        self._synthetic: dict[str, bool] = {}

    async def clock(self) -> MarketClock:
        """Return what time it is. Raises MarketUnavailableError."""
        try:
            answer = await self._stub.GetClock(
                quote_pb2.GetClockRequest(), timeout=_DEADLINE_SECONDS
            )
            if answer.market_id not in self._synthetic:
                request = quote_pb2.GetMarketRequest()
                told = await self._stub.GetMarket(request, timeout=_DEADLINE_SECONDS)
                self._synthetic[told.market.market_id] = told.market.synthetic
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error
        return MarketClock(
            market_id=answer.market_id,
            market_time=answer.market_time.ToDatetime(UTC),
            closed_sessions=frozenset(
                (exchange.exchange_code, exchange.last_session.session_date)
                for exchange in answer.exchanges
            ),
            next_change_seconds=(
                answer.next_change_in.ToNanoseconds() / 1e9
                if answer.HasField("next_change_in")
                else None
            ),
            is_synthetic=self._synthetic.get(answer.market_id, False),
        )

    async def progress(self) -> Progress:
        """Return how many histories are known by now. Raises MarketUnavailableError."""
        try:
            answer = await self._stub.ListUniverse(
                quote_pb2.ListUniverseRequest(page_size=1), timeout=_DEADLINE_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error
        told = answer.progress
        return Progress(answer.market_id, told.known, told.failed, told.total)

    async def closes(self) -> AsyncIterator[object]:
        """Yield for each session whose bars became final. Raises MarketUnavailableError."""
        try:
            async for event in self._stub.WatchMarketSessions(
                quote_pb2.WatchMarketSessionsRequest()
            ):
                if event.kind == quote_pb2.SESSION_EVENT_KIND_BARS_FINAL:
                    yield event.exchange_code, event.session.session_date
        except grpc.aio.AioRpcError as error:
            raise _unavailable(error) from error

    async def universe(self) -> tuple[str, frozenset[str]]:
        """Return the market id and all symbols. Raises MarketUnavailableError."""
        symbols: set[str] = set()
        token = ""
        while True:
            request = quote_pb2.ListUniverseRequest(page_size=_PAGE_SIZE, page_token=token)
            try:
                page = await self._stub.ListUniverse(request, timeout=_DEADLINE_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise _unavailable(error) from error
            symbols |= {instrument.symbol for instrument in page.instruments}
            token = page.next_page_token
            if not token:
                return page.market_id, frozenset(symbols)

    async def fetch(self, have: frozenset[str] = frozenset()) -> Fetched:
        """Return the bars of all symbols but those at hand. Raises MarketUnavailableError."""
        market_id, known = await self.universe()
        asked = sorted(known - have)
        turns = asyncio.Semaphore(_FETCHES_AT_ONCE)

        async def one(symbol: str) -> SymbolBars | Refusal:
            async with turns:
                return await self.bars(symbol)

        fetches = [asyncio.ensure_future(one(symbol)) for symbol in asked]
        try:
            answers = await asyncio.gather(*fetches)
        finally:
            for fetch in fetches:
                fetch.cancel()
        found = dict(zip(asked, answers, strict=True))
        bars = {s: answer for s, answer in found.items() if isinstance(answer, SymbolBars)}
        if any(answer.market_id != market_id for answer in bars.values()):
            raise MarketUnavailableError("it changed while histories were read")
        refusals = {s: answer for s, answer in found.items() if isinstance(answer, Refusal)}
        if not bars and {refusal.reason for refusal in refusals.values()} == {TIMED_OUT}:
            raise MarketUnavailableError("no history came in time")
        return Fetched(market_id, known, bars, refusals)

    async def bars(self, symbol: str) -> SymbolBars | Refusal:
        """Return all bars of one symbol, or why there are none. Raises MarketUnavailableError."""
        request = quote_pb2.GetHistoryRequest(symbol=symbol)
        try:
            answer = await self._stub.GetHistory(request, timeout=_DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            refused = app_error(error)
            # where the answer names the symbol it is the symbol that is unavailable
            if refused.code is grpc.StatusCode.UNAVAILABLE and "symbol" not in refused.metadata:
                raise _unavailable(error) from error
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Refusal(TIMED_OUT, f"The prices of {symbol} did not come in time.")
            return Refusal(refused.reason, refused.message)
        try:
            return _symbol_bars(symbol, answer)
        except ValueError as error:
            return Refusal("PRICES_INVALID", str(error))


@dataclass(frozen=True)
class QuoteReader:
    """Where quote-svc is, for a worker process to read histories by itself."""

    target: str
    token: str = field(repr=False)

    def read(self, have: frozenset[str] = frozenset()) -> Fetched:
        """Read the bars of all symbols but those at hand. Raises MarketUnavailableError."""
        return asyncio.run(self._read(have))

    async def _read(self, have: frozenset[str]) -> Fetched:
        async with open_quotes(self.target, self.token) as channel:
            return await QuoteMarket(channel).fetch(have)


def open_quotes(target: str, token: str) -> grpc.aio.Channel:
    """A channel to quote-svc."""
    service = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"]
    return open_channel(target, service_token=token, service=service)


def _unavailable(error: grpc.aio.AioRpcError) -> MarketUnavailableError:
    return MarketUnavailableError(f"{error.code().name}: {error.details()}")


def _symbol_bars(symbol: str, answer: quote_pb2.GetHistoryResponse) -> SymbolBars:
    names = (*COLUMNS, "dividends", "split_factors")
    columns = {name: np.array(getattr(answer, name), dtype=np.float64) for name in names}
    days = np.array(answer.session_days, dtype=np.int64)
    close_seconds = np.array(answer.close_seconds, dtype=np.int64)
    history = clean_history(symbol, days, close_seconds, columns, _group(answer.instrument))
    return SymbolBars(
        market_id=answer.market_id,
        exchange_code=answer.instrument.exchange_code,
        history=history,
        currency_code=answer.instrument.currency_code,
        price_decimals=answer.instrument.price_decimals,
        next_session_days=np.array(answer.next_session_days, dtype=np.int64),
        known_next_sessions=answer.known_next_sessions,
        lost_session_days=np.array(answer.lost_session_days, dtype=np.int64),
        next_open=answer.next_session.open_time.ToDatetime(UTC),
        next_close=answer.next_session.close_time.ToDatetime(UTC),
        traded=TradedBars(
            days,
            columns["closes"],
            columns["volumes"],
            columns["dividends"],
            columns["split_factors"],
        ),
    )


def _group(instrument: quote_pb2.Instrument) -> str:
    """The symbols that it is calibrated with."""
    if instrument.kind == quote_pb2.INSTRUMENT_KIND_CRYPTO:
        return "24/7"
    if instrument.kind == quote_pb2.INSTRUMENT_KIND_FX:
        return "24/5"
    if instrument.kind == quote_pb2.INSTRUMENT_KIND_FUND:
        return "fund"
    return f"equity:{instrument.exchange_code}"
