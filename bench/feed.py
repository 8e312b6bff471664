"""quote-svc and prediction-svc as a benchmark needs them: many symbols that change on command.

`python -m bench.feed COUNT` prints the ports of both, and then obeys its input: `FIRST COUNT`
changes the prices of so many symbols from one on at once, and prints the monotonic nanoseconds of
that moment.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from foretick.prediction.v1 import prediction_pb2 as prediction
from foretick.prediction.v1 import prediction_pb2_grpc as prediction_grpc
from foretick.quote.v1 import quote_pb2 as quote
from foretick.quote.v1 import quote_pb2_grpc as quote_grpc
from foretick_rpc.convert import timestamp
from foretick_rpc.server import RpcServer, RpcService
from foretick_rpc.settings import RpcSettings, load_settings

MARKET = "csv:bench"
NOW = datetime(2019, 12, 31, 21, 0, tzinfo=UTC)
SESSION = quote.Session(
    session_date="2020-01-02",
    open_time=timestamp(datetime(2020, 1, 2, 14, 30, tzinfo=UTC)),
    close_time=timestamp(datetime(2020, 1, 2, 21, 0, tzinfo=UTC)),
)


def symbols(count: int) -> list[str]:
    """The first symbols, in their order."""
    return [f"F{number:05}" for number in range(count)]


class Quotes(quote_grpc.QuoteServiceServicer):
    """Prices that stand still until they are told to move."""

    def __init__(self, count: int) -> None:
        self._versions = dict.fromkeys(symbols(count), 1)
        self._watchers: set[asyncio.Queue[list[str]]] = set()

    def tick(self, first: int, count: int) -> int:
        """Change some prices; the monotonic nanoseconds of it."""
        moved = list(self._versions)[first : first + count]
        for symbol in moved:
            self._versions[symbol] += 1
        moment = time.monotonic_ns()
        for watcher in self._watchers:
            watcher.put_nowait(moved)
        return moment

    def _quotes(self, asked: Sequence[str]) -> dict[str, Any]:
        return {
            "market_id": MARKET,
            "market_time": timestamp(NOW),
            "quotes": [self._quote(symbol) for symbol in asked],
        }

    def _quote(self, symbol: str) -> quote.Quote:
        version = self._versions[symbol]
        price = 100 + int(symbol[1:]) % 50 + version % 100 / 100
        return quote.Quote(
            instrument=quote.Instrument(
                symbol=symbol, display_name=f"{symbol} Inc.", currency_code="USD", price_decimals=2
            ),
            price=price,
            as_of_time=timestamp(NOW),
            previous_close=price - 1,
            session_date="2019-12-31",
            state=quote.SESSION_STATE_CLOSED,
            next_session=SESSION,
            day_low=price - 2,
            day_high=price + 2,
            volume=1_000_000,
            version=version,
            source=quote.PRICE_SOURCE_FINAL_BAR,
        )

    async def BatchGetQuotes(self, request: Any, context: Any) -> Any:  # noqa: ARG002, D102, N802
        return quote.BatchGetQuotesResponse(**self._quotes(request.symbols))

    async def WatchQuotes(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ARG002, D102, N802
        watched, changes = frozenset(request.symbols), asyncio.Queue[list[str]]()
        self._watchers.add(changes)
        try:
            yield quote.WatchQuotesResponse(snapshot=True, **self._quotes(request.symbols))
            while True:
                moved = [symbol for symbol in await changes.get() if symbol in watched]
                if moved:
                    yield quote.WatchQuotesResponse(**self._quotes(moved))
        finally:
            self._watchers.discard(changes)

    async def GetMarket(self, request: Any, context: Any) -> Any:  # noqa: ARG002, D102, N802
        market = quote.Market(
            market_id=MARKET, kind=quote.MARKET_KIND_CSV, display_name="prices on command"
        )
        return quote.GetMarketResponse(market=market)

    async def GetClock(self, request: Any, context: Any) -> Any:  # noqa: ARG002, D102, N802
        return quote.GetClockResponse(market_id=MARKET, market_time=timestamp(NOW))

    async def ListUniverse(self, request: Any, context: Any) -> Any:  # noqa: ARG002, D102, N802
        return quote.ListUniverseResponse(market_id=MARKET)


class Predictions(prediction_grpc.PredictionServiceServicer):
    """A forecast of each symbol that never changes."""

    def _forecasts(self, asked: Sequence[str]) -> dict[str, Any]:
        return {"market_id": MARKET, "forecasts": [self._forecast(symbol) for symbol in asked]}

    def _forecast(self, symbol: str) -> prediction.Forecast:
        close = 100.0 + int(symbol[1:]) % 50
        return prediction.Forecast(
            symbol=symbol,
            horizon=1,
            as_of_session_date="2019-12-31",
            target_session_date="2020-01-02",
            reference_close=close,
            currency_code="USD",
            price_decimals=2,
            quantiles=[
                prediction.Quantile(probability=probability, price=close * move)
                for probability, move in ((0.1, 0.98), (0.5, 1.0004), (0.9, 1.02))
            ],
            expected_close=close * 1.0004,
            forecaster=prediction.FORECASTER_SCALE_MODEL,
            model_version="2019-07-01.1",
            score=prediction.PredictScore(
                value=2.1,
                low=-0.2,
                high=4.4,
                scored_sessions=250,
                basis=prediction.SCORE_BASIS_BACKTEST,
            ),
            issue_time=timestamp(NOW),
        )

    async def BatchGetForecasts(self, request: Any, context: Any) -> Any:  # noqa: ARG002, D102, N802
        return prediction.BatchGetForecastsResponse(**self._forecasts(request.symbols))

    async def WatchForecasts(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ARG002, D102, N802
        yield prediction.WatchForecastsResponse(
            snapshot=True, version=1, **self._forecasts(request.symbols)
        )
        await asyncio.Event().wait()

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: ARG002, D102, N802
        return prediction.GetModelStatusResponse(market_id=MARKET)


def _server(name: str, add: Any, servicer: object) -> RpcServer:
    token = load_settings(RpcSettings).service_token.get_secret_value()
    service = RpcService(name, partial(add, servicer))
    return RpcServer(
        service, listen="127.0.0.1:0", service_token=token, domain="bench", drain_seconds=0
    )


async def main() -> None:
    """Serve until standard input ends."""
    quotes = Quotes(int(sys.argv[1]))  # type: ignore[abstract]
    add_quotes = quote_grpc.add_QuoteServiceServicer_to_server
    add_predictions = prediction_grpc.add_PredictionServiceServicer_to_server
    async with (
        _server("foretick.quote.v1.QuoteService", add_quotes, quotes) as quoting,
        _server(
            "foretick.prediction.v1.PredictionService",
            add_predictions,
            Predictions(),  # type: ignore[abstract]
        ) as predicting,
    ):
        print(quoting.port, predicting.port, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(quotes.tick(*map(int, line.split())), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
