"""Calls to the services: one thin function each, with its own deadline, answering plain values."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from aiohttp import web
from grpc.aio import AioRpcError, Channel
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from foretick.prediction.v1 import prediction_pb2
from foretick.prediction.v1.prediction_pb2_grpc import PredictionServiceStub
from foretick.quote.v1 import quote_pb2
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick.subscription.v1 import subscription_pb2
from foretick.subscription.v1.subscription_pb2_grpc import SubscriptionServiceStub
from foretick_rpc.client import open_channel
from foretick_rpc.coalescing import Coalesced
from foretick_rpc.convert import instant
from gateway import answers
from gateway.accounts import ACCOUNTS, ADMINISTRATION, Accounts, Administration
from gateway.calls import (
    READ_SECONDS,
    WATCH_SECONDS,
    answered,
    key_message,
    watched,
)
from gateway.known_sign_ins import KnownSignIns
from gateway.lists import LISTS, Lists
from gateway.model import (
    PREDICTION,
    QUOTE,
    SUBSCRIPTION,
    Account,
    Forecasts,
    Instrument,
    Market,
    Quotes,
    SignInKey,
    Subscriptions,
    Training,
    Universe,
)
from gateway.problems import SignedOutError, internal_error
from gateway.records import RECORDS, Records
from gateway.settings import SETTINGS

HEALTH_SECONDS = 1.0
MOST_KEYS = 200  # that the contract takes at once


class Backends:
    """The three services. Every call raises `RequestError` where it fails."""

    def __init__(
        self, known: KnownSignIns, *, subscription: Channel, quote: Channel, prediction: Channel
    ) -> None:
        self._known = known
        self._subscriptions = SubscriptionServiceStub(subscription)
        self._quotes = QuoteServiceStub(quote)
        self._predictions = PredictionServiceStub(prediction)
        self._health = {
            SUBSCRIPTION: HealthStub(subscription),
            QUOTE: HealthStub(quote),
            PREDICTION: HealthStub(prediction),
        }
        self._lists = Coalesced(self._subscription_lists, MOST_KEYS)
        self._market: Market | None = None

    async def subscriptions(self, key: SignInKey, *, fresh: bool = True) -> Subscriptions:
        """List what the account follows; raises `SignedOutError` where the sign-in has ended.

        Unless it must be ``fresh``, what was answered lately will do: see known_sign_ins.py.
        """
        if not fresh and (known := self._known.get(key)):
            return known
        moment = self._known.moment
        answer = await self._lists.get(key)
        if answer.error_reason == "SIGN_IN_INVALID":
            raise SignedOutError
        if answer.error_reason:
            raise internal_error(SUBSCRIPTION)
        found = answers.subscriptions(answer)
        self._known.keep(key, found, instant(answer.expire_time), moment)
        return found

    async def account(self, key: SignInKey) -> Account:
        """Get the account of a sign-in; raises `SignedOutError` where it has ended."""
        return (await self.subscriptions(key)).account

    async def _subscription_lists(
        self, keys: Sequence[SignInKey]
    ) -> Sequence[subscription_pb2.SubscriptionList]:
        messages = [key_message(key) for key in keys]
        request = subscription_pb2.BatchListSubscriptionsRequest(keys=messages)
        call = self._subscriptions.BatchListSubscriptions(request, timeout=READ_SECONDS)
        return (await answered(SUBSCRIPTION, call)).lists

    async def add_subscription(self, key: SignInKey, symbol: str, list_id: str = "") -> bool:
        """Follow a symbol in a list, or the first; False where it was followed there already."""
        request = subscription_pb2.AddSubscriptionRequest(
            key=key_message(key), symbol=symbol, list_id=list_id
        )
        call = self._subscriptions.AddSubscription(request, timeout=READ_SECONDS)
        return (await answered(SUBSCRIPTION, call)).created

    async def quotes(self, symbols: Sequence[str]) -> Quotes:
        """Get the latest quotes of 1 to 500 symbols."""
        request = quote_pb2.BatchGetQuotesRequest(symbols=symbols)
        call = self._quotes.BatchGetQuotes(request, timeout=READ_SECONDS)
        return answers.quotes(await answered(QUOTE, call))

    async def market(self, market_id: str | None = None) -> Market:
        """Get the market, from memory unless ``market_id`` shows that it is another one now.

        It changes only when quote-svc is started anew, and every answer of it names the market.
        """
        if self._market is None or market_id not in (None, self._market.market_id):
            request = quote_pb2.GetMarketRequest()
            call = self._quotes.GetMarket(request, timeout=READ_SECONDS)
            self._market = answers.market((await answered(QUOTE, call)).market)
        return self._market

    async def search(self, query: str, count: int) -> list[Instrument]:
        """Search instruments by part of a symbol or name, best match first."""
        request = quote_pb2.SearchInstrumentsRequest(query=query[:100], page_size=count)
        call = self._quotes.SearchInstruments(request, timeout=READ_SECONDS)
        return answers.instruments((await answered(QUOTE, call)).instruments)

    async def universe(self, count: int) -> Universe:
        """List the first instruments that are forecast."""
        request = quote_pb2.ListUniverseRequest(page_size=count)
        call = self._quotes.ListUniverse(request, timeout=READ_SECONDS)
        return answers.universe(await answered(QUOTE, call))

    async def market_time(self) -> datetime:
        """Ask what time it is on the market."""
        call = self._quotes.GetClock(quote_pb2.GetClockRequest(), timeout=READ_SECONDS)
        return instant((await answered(QUOTE, call)).market_time)

    def watch_quotes(self, symbols: Sequence[str]) -> AsyncIterator[Quotes]:
        """Watch the quotes of 1 to 500 symbols: all of them first, then those that change."""
        request = quote_pb2.WatchQuotesRequest(symbols=symbols)
        call = self._quotes.WatchQuotes(request, timeout=WATCH_SECONDS)
        return watched(QUOTE, call, answers.quotes)

    def watch_forecasts(self, symbols: Sequence[str]) -> AsyncIterator[Forecasts]:
        """Watch the forecasts of 1 to 500 symbols: all of them first, then those that change."""
        request = prediction_pb2.WatchForecastsRequest(symbols=symbols, horizon=1)
        call = self._predictions.WatchForecasts(request, timeout=WATCH_SECONDS)
        return watched(PREDICTION, call, answers.watched_forecasts)

    async def training(self) -> Training | None:
        """Ask how far the training under way is; None where there is none."""
        request = prediction_pb2.GetModelStatusRequest()
        call = self._predictions.GetModelStatus(request, timeout=READ_SECONDS)
        status = await answered(PREDICTION, call)
        is_running = status.training_state == prediction_pb2.TRAINING_STATE_RUNNING
        return answers.training(status.progress) if is_running else None

    async def forecasts(self, symbols: Sequence[str]) -> Forecasts:
        """Get the forecasts of 1 to 500 symbols for their next session."""
        request = prediction_pb2.BatchGetForecastsRequest(symbols=symbols, horizon=1)
        call = self._predictions.BatchGetForecasts(request, timeout=READ_SECONDS)
        return answers.forecasts(await answered(PREDICTION, call))

    async def health(self) -> dict[str, str]:
        """Ask each service whether it is serving; answers SERVING or what is wrong instead."""
        states = await asyncio.gather(*(_health(stub) for stub in self._health.values()))
        return dict(zip(self._health, states, strict=True))


BACKENDS = web.AppKey("backends", Backends)
KNOWN_SIGN_INS = web.AppKey("known_sign_ins", KnownSignIns)


async def backends(app: web.Application) -> AsyncIterator[None]:
    """Open the channels to the services while the application runs."""
    settings = app[SETTINGS]
    token = settings.service_token.get_secret_value()
    contracts = {
        "subscription": (settings.subscription_target, subscription_pb2, "SubscriptionService"),
        # To the same service: what is tried again is said by the channel, for one contract each.
        "account": (settings.subscription_target, subscription_pb2, "AccountService"),
        "administration": (settings.subscription_target, subscription_pb2, "AdministrationService"),
        "quote": (settings.quote_target, quote_pb2, "QuoteService"),
        "prediction": (settings.prediction_target, prediction_pb2, "PredictionService"),
    }
    async with AsyncExitStack() as stack:
        channels = {}
        for name, (target, contract, service) in contracts.items():
            descriptor = contract.DESCRIPTOR.services_by_name[service]
            channel = open_channel(target, service_token=token, service=descriptor)
            channels[name] = await stack.enter_async_context(channel)
        app[ACCOUNTS] = Accounts(channels.pop("account"))
        app[ADMINISTRATION] = Administration(channels.pop("administration"))
        app[RECORDS] = Records(quote=channels["quote"], prediction=channels["prediction"])
        app[LISTS] = Lists(channels["subscription"])
        app[BACKENDS] = Backends(app[KNOWN_SIGN_INS], **channels)
        yield


async def _health(stub: HealthStub) -> str:
    try:
        # The stub makes its methods when it is made, which the types don't show.
        answer = await stub.Check(  # type: ignore[attr-defined]
            HealthCheckRequest(), timeout=HEALTH_SECONDS
        )
    except AioRpcError as error:
        return error.code().name
    return HealthCheckResponse.ServingStatus.Name(answer.status)
