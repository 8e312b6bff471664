"""Fakes of the three services, served by the real chassis on free ports, and a gateway on them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from fake_administration import FakeAdministration
from fake_records import FakeHistory, FakeRecords
from fake_service import changes
from foretick.prediction.v1 import prediction_pb2 as prediction
from foretick.prediction.v1 import prediction_pb2_grpc as prediction_grpc
from foretick.quote.v1 import quote_pb2 as quote
from foretick.quote.v1 import quote_pb2_grpc as quote_grpc
from foretick.subscription.v1 import subscription_pb2_grpc as subscription_grpc
from foretick_rpc.convert import timestamp
from foretick_rpc.ports import free_port
from foretick_rpc.server import RpcService
from foretick_rpc.testing import SERVICE_TOKEN, serving
from gateway.app import create_app
from gateway.settings import GatewaySettings


def pytest_configure(config: pytest.Config) -> None:
    # aiohttp-session and aiohttp-jinja2 key their entries of a request by strings.
    config.addinivalue_line("filterwarnings", "ignore::aiohttp.web_exceptions.NotAppKeyWarning")


Client = TestClient[web.Request, web.Application]
NOW = datetime(2019, 12, 31, 21, 0, tzinfo=UTC)


@dataclass
class FakeQuotes(FakeHistory, quote_grpc.QuoteServiceServicer):
    synthetic: bool = False
    market_name: str = "daily bars of prices.csv"
    names: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    stale_reason: str = ""
    pending: Counter[str] = field(default_factory=Counter)  # how often each is still fetched
    failing: dict[str, str] = field(default_factory=dict)
    now: datetime = NOW
    progress: quote.FetchProgress | None = None
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def GetMarket(self, request: Any, context: Any) -> Any:
        self.note("GetMarket")
        market = quote.Market(
            market_id=self.market_id,
            kind=quote.MARKET_KIND_DEMO if self.synthetic else quote.MARKET_KIND_CSV,
            display_name=self.market_name,
            synthetic=self.synthetic,
            notices=["Yahoo offers these prices for personal use only, and they may be delayed."],
        )
        return quote.GetMarketResponse(market=market)

    async def _not_asked(self, request: Any, context: Any) -> Any:
        raise AssertionError(f"no page needs {request}")

    WatchMarketSessions = _not_asked

    async def GetClock(self, request: Any, context: Any) -> Any:
        self.note("GetClock")
        return quote.GetClockResponse(market_id=self.market_id, market_time=timestamp(self.now))

    async def BatchGetQuotes(self, request: Any, context: Any) -> Any:
        self.note("BatchGetQuotes")
        return self._answer(request.symbols, quote.BatchGetQuotesResponse)

    async def WatchQuotes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.note("WatchQuotes")
        await self.may_answer.wait()
        async for news in changes(
            lambda: self._answer(request.symbols, quote.WatchQuotesResponse), "quotes"
        ):
            yield news

    def _answer(self, symbols: Any, kind: Any) -> Any:
        response = kind(market_id=self.market_id, market_time=timestamp(self.now))
        for asked in symbols:
            symbol = asked.strip().upper()
            if self.pending[symbol] > 0:
                self.pending[symbol] -= 1
                response.missing.add(symbol=asked, reason="HISTORY_PENDING", message="Wait.")
            elif symbol in self.failing:
                response.missing.add(symbol=asked, reason=self.failing[symbol], message="Later.")
            elif symbol in self.broken:
                response.missing.add(
                    symbol=asked, reason="PRICES_INVALID", message=self.broken[symbol]
                )
            elif symbol in self.prices:
                response.quotes.append(self._quote(symbol))
            elif not symbol or len(symbol) > 32 or " " in symbol or "<" in symbol:
                response.missing.add(
                    symbol=asked,
                    reason="SYMBOL_MALFORMED",
                    message="symbol must have 1 to 32 characters of A-Z 0-9 . ^ = _ -",
                )
            else:
                response.missing.add(
                    symbol=asked,
                    reason="SYMBOL_NOT_FOUND",
                    message=f"{symbol} is not traded on this market.",
                )
        return response

    def _quote(self, symbol: str) -> quote.Quote:
        return quote.Quote(
            instrument=self._instrument(symbol),
            price=self.prices[symbol],
            as_of_time=timestamp(NOW),
            previous_close=self.prices[symbol] / 1.01,
            session_date="2019-12-31",
            state=quote.SESSION_STATE_CLOSED,
            day_low=self.prices[symbol] * 0.99,
            volume=1_000_000,
            stale=bool(self.stale_reason),
            stale_reason=self.stale_reason,
            source=quote.PRICE_SOURCE_FINAL_BAR,
            recent_closes=[self.prices[symbol] * (1 + n / 1000) for n in range(-29, 1)],
            next_session=quote.Session(
                session_date=self.next_session,
                open_time=timestamp(datetime(2020, 1, 2, 14, 30, tzinfo=UTC)),
                close_time=timestamp(datetime(2020, 1, 2, 21, 0, tzinfo=UTC)),
            ),
        )

    def _instrument(self, symbol: str) -> quote.Instrument:
        return quote.Instrument(
            symbol=symbol,
            display_name=self.names.get(symbol, symbol),
            kind=quote.INSTRUMENT_KIND_STOCK,
            exchange_code="XNAS",
            currency_code="USD",
            price_decimals=2,
        )

    @staticmethod
    def fetched(known: int, failed: int, total: int) -> quote.FetchProgress:
        return quote.FetchProgress(known=known, failed=failed, total=total)

    async def SearchInstruments(self, request: Any, context: Any) -> Any:
        self.note("SearchInstruments")
        found = get_close_matches(request.query.upper(), self.prices)
        return quote.SearchInstrumentsResponse(
            instruments=[self._instrument(each) for each in found[: request.page_size]]
        )

    async def ListUniverse(self, request: Any, context: Any) -> Any:
        self.note("ListUniverse")
        listed = sorted(self.prices)[: request.page_size]
        return quote.ListUniverseResponse(
            market_id=self.market_id,
            instruments=[self._instrument(each) for each in listed],
            progress=self.progress,
        )


@dataclass
class FakePredictions(FakeRecords, prediction_grpc.PredictionServiceServicer):
    width: float = 0.02
    scored: int = 250
    progress: prediction.TrainingProgress | None = None

    async def GetModelStatus(self, request: Any, context: Any) -> Any:
        self.note("GetModelStatus")
        is_running = self.progress is not None
        return prediction.GetModelStatusResponse(
            market_id=self.market_id,
            training_state=(
                prediction.TRAINING_STATE_RUNNING if is_running else prediction.TRAINING_STATE_IDLE
            ),
            progress=self.progress,
        )

    async def BatchGetForecasts(self, request: Any, context: Any) -> Any:
        self.note("BatchGetForecasts")
        response = self._answer(request.symbols, prediction.BatchGetForecastsResponse)
        if self.progress is not None:
            response.progress.CopyFrom(self.progress)
        return response

    async def WatchForecasts(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.note("WatchForecasts")
        async for news in changes(
            lambda: self._answer(request.symbols, prediction.WatchForecastsResponse), "forecasts"
        ):
            yield news

    def _answer(self, symbols: Any, kind: Any) -> Any:
        response = kind(market_id=self.market_id)
        for symbol in symbols:
            if symbol in self.closes:
                response.forecasts.append(self._forecast(symbol))
            else:
                response.missing.add(
                    symbol=symbol,
                    reason="HISTORY_TOO_SHORT",
                    message="A forecast needs 30 sessions of history.",
                )
        return response

    def _forecast(self, symbol: str) -> prediction.Forecast:
        close = self.closes[symbol]
        width = self.width * (1 + len(symbol) / 4)
        moves = {0.1: 1 - width, 0.5: 1.0004, 0.9: 1 + width * 1.1}
        score = prediction.PredictScore(
            scored_sessions=self.scored, basis=prediction.SCORE_BASIS_BACKTEST
        )
        if self.scored >= 150:
            score.value, score.low, score.high = 2.13, -0.2, 4.4
        return prediction.Forecast(
            symbol=symbol,
            horizon=1,
            as_of_session_date="2019-12-31",
            target_session_date=self.target,
            reference_close=close,
            currency_code="USD",
            price_decimals=2,
            quantiles=[
                prediction.Quantile(probability=each, price=close * move)
                for each, move in moves.items()
            ],
            expected_close=close * 1.0004,
            forecaster=(
                prediction.FORECASTER_SCALE_MODEL
                if self.learned
                else prediction.FORECASTER_NO_LEARNING
            ),
            model_version="2019-07-01.1" if self.learned else "",
            score=score,
            issue_time=timestamp(NOW),
        )


class Services:
    """The three fakes, each of which can be stopped and started again on its port."""

    def __init__(self) -> None:
        self.quotes = FakeQuotes(
            prices={"AAPL": 293.65, "MSFT": 157.7, "XOM": 69.78, "BRK.B": 226.5, "^GSPC": 3230.78},
            names={"AAPL": "Apple Inc.", "MSFT": "Microsoft Corporation", "XOM": "Exxon Mobil"},
        )
        self.predictions = FakePredictions(closes=dict(self.quotes.prices))
        self.accounts = FakeAdministration()
        names = ("quote", "prediction", "subscription")
        self.ports = {name: free_port() for name in names}
        self._running: dict[str, AsyncExitStack] = {}

    async def start(self, name: str) -> None:
        stack = AsyncExitStack()
        listen = f"127.0.0.1:{self.ports[name]}"
        await stack.enter_async_context(
            serving(*self._services(name), domain=f"{name}.foretick", listen=listen)
        )
        self._running[name] = stack

    async def stop(self, name: str) -> None:
        await self._running.pop(name).aclose()

    async def stop_all(self) -> None:
        for name in list(self._running):
            await self.stop(name)

    def _services(self, name: str) -> list[RpcService]:
        if name == "quote":
            add_quotes = partial(quote_grpc.add_QuoteServiceServicer_to_server, self.quotes)
            return [RpcService("foretick.quote.v1.QuoteService", add_quotes)]
        if name == "prediction":
            add_predictions = partial(
                prediction_grpc.add_PredictionServiceServicer_to_server, self.predictions
            )
            return [RpcService("foretick.prediction.v1.PredictionService", add_predictions)]
        return [
            RpcService(
                f"foretick.subscription.v1.{contract}Service",
                partial(
                    getattr(subscription_grpc, f"add_{contract}ServiceServicer_to_server"),
                    self.accounts,
                ),
            )
            for contract in ("Account", "Administration", "Subscription")
        ]


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    running = Services()
    for name in running.ports:
        await running.start(name)
    yield running
    await running.stop_all()


@pytest.fixture
def settings(services: Services, tmp_path: Path) -> GatewaySettings:
    return GatewaySettings(
        service_token=SERVICE_TOKEN,  # type: ignore[arg-type]
        data_dir=tmp_path,
        quote_target=f"127.0.0.1:{services.ports['quote']}",
        prediction_target=f"127.0.0.1:{services.ports['prediction']}",
        subscription_target=f"127.0.0.1:{services.ports['subscription']}",
    )


@pytest.fixture
async def client(
    settings: GatewaySettings, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Client:
    # As in `running`: who leaves is noticed.
    return await aiohttp_client(create_app(settings), server_kwargs={"handler_cancellation": True})
