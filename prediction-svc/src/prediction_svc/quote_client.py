"""The market, asked over gRPC."""

from datetime import UTC

import grpc
import numpy as np

from foretick.quote.v1 import quote_pb2, quote_pb2_grpc
from foretick_rpc.errors import app_error
from prediction_svc.histories import clean_history
from prediction_svc.market import (
    TIMED_OUT,
    MarketClock,
    MarketUnavailableError,
    Refusal,
    SymbolBars,
    Universe,
)

_DEADLINE_SECONDS = 5.0
_PAGE_SIZE = 500


class QuoteMarket:
    """quote-svc as a Market."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = quote_pb2_grpc.QuoteServiceStub(channel)

    async def clock(self) -> MarketClock:
        """Return what time it is. Raises MarketUnavailableError."""
        try:
            answer = await self._stub.GetClock(
                quote_pb2.GetClockRequest(), timeout=_DEADLINE_SECONDS
            )
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
    names = ("opens", "highs", "lows", "closes", "volumes")
    columns = {name: np.array(getattr(answer, name), dtype=np.float64) for name in names}
    history = clean_history(
        symbol,
        np.array(answer.session_days, dtype=np.int64),
        np.array(answer.close_seconds, dtype=np.int64),
        columns,
    )
    return SymbolBars(
        market_id=answer.market_id,
        exchange_code=answer.instrument.exchange_code,
        history=history,
        currency_code=answer.instrument.currency_code,
        price_decimals=answer.instrument.price_decimals,
        next_session_date=answer.next_session.session_date,
        next_session_inferred=answer.next_session.inferred,
    )
