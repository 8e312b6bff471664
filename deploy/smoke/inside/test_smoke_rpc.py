"""What programs on the stack's network get from the services over gRPC."""

import asyncio
import os
import secrets
import socket
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from grpc import StatusCode
from grpc.aio import AioRpcError, UnaryUnaryMultiCallable, insecure_channel

from foretick.prediction.v1 import prediction_pb2, prediction_pb2_grpc
from foretick.quote.v1 import quote_pb2, quote_pb2_grpc
from foretick.subscription.v1 import subscription_pb2, subscription_pb2_grpc
from foretick_rpc.client import open_channel
from foretick_rpc.errors import app_error
from foretick_rpc.healthcheck import is_serving
from foretick_rpc.testing import listed_services

PORTS = {"quote-svc": 50051, "prediction-svc": 50052, "subscription-svc": 50053}
QUOTES = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"]
FORECASTS = prediction_pb2.DESCRIPTOR.services_by_name["PredictionService"]
ACCOUNTS = subscription_pb2.DESCRIPTOR.services_by_name["AccountService"]
SUBSCRIPTIONS = subscription_pb2.DESCRIPTOR.services_by_name["SubscriptionService"]
CONTRACTS: dict[str, list[ServiceDescriptor]] = {
    "quote-svc": [QUOTES],
    "prediction-svc": [FORECASTS],
    "subscription-svc": [ACCOUNTS, SUBSCRIPTIONS],
}
TOKEN = Path("/run/secrets/FORETICK_SERVICE_TOKEN").read_text().strip()

each_service = pytest.mark.parametrize("name", sorted(PORTS))


def target(name: str) -> str:
    return f"{name}:{PORTS[name]}"


def replicas(name: str) -> list[str]:
    """The addresses that DNS gives for a service, each with the port."""
    found = socket.getaddrinfo(name, PORTS[name], socket.AF_INET, socket.SOCK_STREAM)
    return sorted(f"{address[0]!s}:{PORTS[name]}" for *_, address in found)


@each_service
def test_every_replica_is_found_and_serving(name: str) -> None:
    expected = dict(item.split("=") for item in os.environ["SMOKE_REPLICAS"].split())
    addresses = replicas(name)
    assert len(addresses) == int(expected[name])
    for address in (target(name), *addresses):
        assert is_serving(address, 5), address


@each_service
def test_reflection_lists_the_contract(name: str) -> None:
    names = {contract.full_name for contract in CONTRACTS[name]}
    assert names <= listed_services(target(name), TOKEN)


@each_service
@pytest.mark.parametrize("token", ["", "guessed"])
async def test_nothing_is_told_without_the_token(name: str, token: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(listed_services, target(name), token)
    assert refused.value.code() is StatusCode.UNAUTHENTICATED
    shown = (("authorization", f"Bearer {token}"),) if token else ()
    async with insecure_channel(target(name)) as channel:
        for method in (method for contract in CONTRACTS[name] for method in contract.methods):
            path = f"/{method.containing_service.full_name}/{method.name}"
            call: UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            with pytest.raises(AioRpcError) as caught:
                await call(b"", timeout=5, metadata=shown)
            assert caught.value.code() is StatusCode.UNAUTHENTICATED, method.full_name


async def test_the_market_answers() -> None:
    async with open_channel(target("quote-svc"), service_token=TOKEN, service=QUOTES) as channel:
        quotes = quote_pb2_grpc.QuoteServiceStub(channel)
        market = (await quotes.GetMarket(quote_pb2.GetMarketRequest())).market
        clock = await quotes.GetClock(quote_pb2.GetClockRequest())
        assert clock.market_id == market.market_id
        assert clock.exchanges
        universe = await quotes.ListUniverse(quote_pb2.ListUniverseRequest(page_size=3))
        symbols = [instrument.symbol for instrument in universe.instruments]
        asked = quote_pb2.BatchGetQuotesRequest(symbols=[*symbols, "NOT-THERE-0"])
        # Fetching what nobody has asked for before may take a while.
        answer = await quotes.BatchGetQuotes(asked, timeout=30)
        assert [quote.instrument.symbol for quote in answer.quotes] == symbols
        assert all(quote.price > 0 for quote in answer.quotes)
        assert [missing.symbol for missing in answer.missing] == ["NOT-THERE-0"]
        history = await quotes.GetHistory(
            quote_pb2.GetHistoryRequest(symbol=symbols[0]), timeout=30
        )
        assert len(history.closes) == len(history.session_days) > 0


async def test_forecasts_are_of_the_market_and_in_order() -> None:
    async with (
        open_channel(target("quote-svc"), service_token=TOKEN, service=QUOTES) as quotes,
        open_channel(target("prediction-svc"), service_token=TOKEN, service=FORECASTS) as forecasts,
    ):
        universe = await quote_pb2_grpc.QuoteServiceStub(quotes).ListUniverse(
            quote_pb2.ListUniverseRequest(page_size=1)
        )
        symbol = universe.instruments[0].symbol
        stub = prediction_pb2_grpc.PredictionServiceStub(forecasts)
        asked = prediction_pb2.BatchGetForecastsRequest(symbols=[symbol])
        async with asyncio.timeout(60):
            # The first forecasts of a new stack come some seconds after it is up.
            while not (answer := await stub.BatchGetForecasts(asked)).forecasts:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        assert answer.market_id == universe.market_id
        forecast = answer.forecasts[0]
        prices = [quantile.price for quantile in forecast.quantiles]
        assert prices == sorted(prices)
        assert prices[0] < forecast.expected_close < prices[-1]
        assert forecast.as_of_session_date < forecast.target_session_date


async def test_an_account_follows_and_stops_following() -> None:
    name = target("subscription-svc")
    async with (
        open_channel(name, service_token=TOKEN, service=ACCOUNTS) as to_accounts,
        open_channel(name, service_token=TOKEN, service=SUBSCRIPTIONS) as to_subscriptions,
    ):
        accounts = subscription_pb2_grpc.AccountServiceStub(to_accounts)
        subscriptions = subscription_pb2_grpc.SubscriptionServiceStub(to_subscriptions)
        email = f"smoke-{secrets.token_hex(6)}@example.org"
        asked = subscription_pb2.RegisterAccountRequest(
            email=email, password=secrets.token_urlsafe(16)
        )
        key = (await accounts.RegisterAccount(asked)).sign_in.key
        with pytest.raises(AioRpcError) as taken:
            await accounts.RegisterAccount(asked)
        assert app_error(taken.value).reason == "EMAIL_TAKEN"
        listed = subscription_pb2.BatchListSubscriptionsRequest(keys=[key])
        add = subscription_pb2.AddSubscriptionRequest(key=key, symbol="SMOKE")
        assert (await subscriptions.AddSubscription(add)).created
        assert not (await subscriptions.AddSubscription(add)).created
        answer = (await subscriptions.BatchListSubscriptions(listed)).lists[0]
        assert [one.symbol for one in answer.subscriptions] == ["SMOKE"]
        remove = subscription_pb2.RemoveSubscriptionRequest(key=key, symbol="SMOKE")
        await subscriptions.RemoveSubscription(remove)
        answer = (await subscriptions.BatchListSubscriptions(listed)).lists[0]
        assert (answer.email, list(answer.subscriptions)) == (email, [])
        await accounts.RevokeSignIn(subscription_pb2.RevokeSignInRequest(key=key))
        answer = (await subscriptions.BatchListSubscriptions(listed)).lists[0]
        assert answer.error_reason == "SIGN_IN_INVALID"
