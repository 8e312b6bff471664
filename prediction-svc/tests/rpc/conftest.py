import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Never, TypeVar

import grpc
import numpy as np
import pytest

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1 import prediction_pb2_grpc
from foretick.quote.v1 import quote_pb2 as quote
from foretick.quote.v1 import quote_pb2_grpc
from foretick_rpc.convert import timestamp
from foretick_rpc.database import migrate
from foretick_rpc.errors import AppError
from foretick_rpc.server import RpcServer, RpcService
from foretick_rpc.testing import SERVICE_TOKEN, calling, serving
from prediction_svc.app import running
from prediction_svc.histories import History
from prediction_svc.recipe import Recipe
from prediction_svc.settings import PredictionSettings

EPOCH = date(1970, 1, 1)
PAGE = 3
T = TypeVar("T")


class FakeQuotes(quote_pb2_grpc.QuoteServiceServicer):
    """A market of generated bars, of which the last `hidden` sessions have not closed yet."""

    def __init__(self, histories: list[History]) -> None:
        self.market_id = "demo:1"
        self.histories = {history.symbol: history for history in histories}
        self.hidden = 2
        self.holiday = True
        self.refused: dict[str, str] = {}
        self.unavailable = ""
        self.reads = self.clocks = 0

    @property
    def last_date(self) -> date:
        day = max(int(h.days[-1 - self.hidden]) for h in self.histories.values())
        return EPOCH + timedelta(days=day)

    @property
    def next_date(self) -> date:
        """On holiday for a week, it is later than the next row and the next weekday."""
        if self.holiday:
            return self.last_date + timedelta(days=9)
        day = max(int(h.days[-self.hidden]) for h in self.histories.values())
        return EPOCH + timedelta(days=day)

    @property
    def next_open(self) -> datetime:
        return datetime.combine(self.next_date, datetime.min.time(), UTC) + timedelta(hours=14)

    @property
    def now(self) -> datetime:
        return datetime.combine(self.last_date, datetime.min.time(), UTC) + timedelta(hours=22)

    async def GetMarket(self, request: Any, context: Any) -> quote.GetMarketResponse:
        return quote.GetMarketResponse(
            market=quote.Market(market_id=self.market_id, synthetic=True)
        )

    async def GetClock(self, request: Any, context: Any) -> quote.GetClockResponse:
        self.clocks += 1
        clock = quote.ExchangeClock(
            exchange_code="XTST",
            last_session=quote.Session(session_date=self.last_date.isoformat()),
            next_session=quote.Session(session_date=self.next_date.isoformat()),
        )
        return quote.GetClockResponse(
            market_id=self.market_id, market_time=timestamp(self.now), exchanges=[clock]
        )

    async def ListUniverse(
        self, request: quote.ListUniverseRequest, context: Any
    ) -> quote.ListUniverseResponse:
        symbols = sorted({*self.histories, *self.refused})
        first = int(request.page_token or 0)
        page = [quote.Instrument(symbol=s) for s in symbols[first : first + PAGE]]
        token = str(first + PAGE) if first + PAGE < len(symbols) else ""
        return quote.ListUniverseResponse(
            market_id=self.market_id, instruments=page, next_page_token=token
        )

    async def GetHistory(
        self, request: quote.GetHistoryRequest, context: Any
    ) -> quote.GetHistoryResponse:
        symbol = request.symbol
        self.reads += 1
        if self.unavailable:
            raise AppError(grpc.StatusCode.UNAVAILABLE, self.unavailable, "Not now.")
        if symbol in self.refused:
            reason = self.refused[symbol]
            raise AppError(grpc.StatusCode.FAILED_PRECONDITION, reason, f"{symbol} is broken.")
        history = self.histories[symbol].first(len(self.histories[symbol]) - self.hidden)
        return quote.GetHistoryResponse(
            market_id=self.market_id,
            instrument=quote.Instrument(
                symbol=symbol, exchange_code="XTST", currency_code="EUR", price_decimals=3
            ),
            session_days=history.days,
            opens=history.opens,
            highs=history.highs,
            lows=history.lows,
            closes=history.closes,
            volumes=history.volumes,
            dividends=[0.0] * len(history),
            split_factors=[1.0] * len(history),
            close_seconds=history.close_seconds,
            next_session=quote.Session(
                session_date=self.next_date.isoformat(),
                open_time=timestamp(self.next_open),
                close_time=timestamp(self.next_open + timedelta(hours=6.5)),
                inferred=True,
            ),
            next_session_days=(self.next_date - EPOCH).days + np.arange(20),
        )

    async def _not_asked(self, request: Any, context: Any) -> Never:
        raise AssertionError(f"forecasting needs no {request}")

    BatchGetQuotes = SearchInstruments = _not_asked
    WatchQuotes: Any = _not_asked

    async def WatchMarketSessions(
        self, request: Any, context: Any
    ) -> AsyncIterator[quote.WatchMarketSessionsResponse]:
        """Of a market whose closes the clock alone tells."""
        await asyncio.Event().wait()
        yield quote.WatchMarketSessionsResponse()


@pytest.fixture
def quotes(make_history: Callable[..., History]) -> FakeQuotes:
    histories = [make_history(f"S{i}", sessions=700) for i in range(6)]
    return FakeQuotes([*histories, make_history("YOUNG", sessions=6)])


@asynccontextmanager
async def quotes_serving(quotes: FakeQuotes, listen: str) -> AsyncIterator[RpcServer]:
    service = RpcService(
        "foretick.quote.v1.QuoteService",
        partial(quote_pb2_grpc.add_QuoteServiceServicer_to_server, quotes),
    )
    async with serving(service, listen=listen) as server:
        yield server


ServeQuotes = Callable[..., AbstractAsyncContextManager[RpcServer]]


@pytest.fixture
def serve_quotes(quotes: FakeQuotes) -> ServeQuotes:
    """Serve the fake market: `async with serve_quotes(port=0) as server`."""

    def serve(port: int = 0) -> AbstractAsyncContextManager[RpcServer]:
        return quotes_serving(quotes, f"127.0.0.1:{port}")

    return serve


class Predictions:
    """A caller of the service under test."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = prediction_pb2_grpc.PredictionServiceStub(channel)

    async def ask(self, *symbols: str, horizon: int = 0) -> pb.BatchGetForecastsResponse:
        request = pb.BatchGetForecastsRequest(symbols=symbols, horizon=horizon)
        return await self.stub.BatchGetForecasts(request)

    async def status(self) -> pb.GetModelStatusResponse:
        return await self.stub.GetModelStatus(pb.GetModelStatusRequest())

    async def until(
        self, reached: Callable[[pb.Forecast], bool], symbol: str = "S0"
    ) -> pb.Forecast:
        """The first forecast of the symbol of which `reached` holds."""

        async def asked() -> pb.Forecast | None:
            found = (await self.ask(symbol)).forecasts
            return found[0] if found and reached(found[0]) else None

        return await within(60, asked)


async def within(seconds: float, attempt: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(seconds):
        while (found := await attempt()) is None:  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.03)
        return found


ServePredictions = Callable[..., AbstractAsyncContextManager[Predictions]]


@pytest.fixture
def serve_predictions(tmp_path: Path, quick_recipe: Recipe) -> ServePredictions:
    """Run the whole service against the market on a port, on SQLite where no URL is given."""

    @asynccontextmanager
    async def serve(quote_port: int, database_url: str | None = None) -> AsyncIterator[Predictions]:
        settings = PredictionSettings(
            service_token=SERVICE_TOKEN,
            data_dir=tmp_path,
            listen="127.0.0.1:0",
            quote_target=f"127.0.0.1:{quote_port}",
            database_url=database_url,
        )
        if database_url is not None:
            await migrate(database_url, "prediction_svc")
        service = pb.DESCRIPTOR.services_by_name["PredictionService"]
        async with (
            running(settings, recipe=quick_recipe, poll_seconds=0.05) as server,
            calling(server, service) as channel,
        ):
            yield Predictions(channel)

    return serve
