"""The market, asked over gRPC."""

from datetime import UTC

import grpc
import numpy as np

from foretick.quote.v1 import quote_pb2, quote_pb2_grpc
from foretick_rpc.errors import app_error
from prediction_svc.histories import COLUMNS, clean_history
from prediction_svc.market import (
    TIMED_OUT,
    MarketClock,
    MarketUnavailableError,
    Refusal,
    SymbolBars,
    Universe,
)
from prediction_svc.outcomes import TradedBars

_DEADLINE_SECONDS = 5.0
_PAGE_SIZE = 500


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

    async def universe(self) -> Universe:
        """Return the symbols to forecast. Raises MarketUnavailableError."""
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
                return Universe(page.market_id, frozenset(symbols))

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
        next_session_date=answer.next_session.session_date,
        next_session_inferred=answer.next_session.inferred,
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
