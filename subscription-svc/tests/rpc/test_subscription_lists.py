"""Who follows what, and on whose behalf calls are made."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, insecure_channel

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import (
    AccountServiceStub,
    SubscriptionServiceStub,
)
from foretick_rpc.convert import instant
from foretick_rpc.errors import AppError
from foretick_rpc.testing import calling

Rows = Callable[[str], Awaitable[list[tuple[Any, ...]]]]
Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
ACCOUNT_SERVICE = pb.DESCRIPTOR.services_by_name["AccountService"]
SUBSCRIPTION_SERVICE = pb.DESCRIPTOR.services_by_name["SubscriptionService"]


def adding(key: pb.SignInKey, symbol: str) -> pb.AddSubscriptionRequest:
    return pb.AddSubscriptionRequest(key=key, symbol=symbol)


def removing(key: pb.SignInKey, symbol: str) -> pb.RemoveSubscriptionRequest:
    return pb.RemoveSubscriptionRequest(key=key, symbol=symbol)


async def lists(stub: SubscriptionServiceStub, *keys: pb.SignInKey) -> list[pb.SubscriptionList]:
    response = await stub.BatchListSubscriptions(pb.BatchListSubscriptionsRequest(keys=keys))
    return list(response.lists)


async def symbols(stub: SubscriptionServiceStub, key: pb.SignInKey) -> list[str]:
    [answer] = await lists(stub, key)
    assert answer.error_reason == ""
    return [subscription.symbol for subscription in answer.subscriptions]


async def register(accounts: AccountServiceStub, email: str) -> pb.SignInKey:
    request = pb.RegisterAccountRequest(email=email, password="correct horse")
    return (await accounts.RegisterAccount(request)).sign_in.key


async def assert_refused_everywhere(
    stub: SubscriptionServiceStub, key: pb.SignInKey, refusal: Refusal
) -> None:
    for call in (
        stub.AddSubscription(adding(key, "AAPL")),
        stub.AddSubscription(adding(key, "not a symbol")),
        stub.RemoveSubscription(removing(key, "AAPL")),
    ):
        error = await refusal(call)
        assert (error.code, error.reason) == (StatusCode.UNAUTHENTICATED, "SIGN_IN_INVALID")
    assert await lists(stub, key) == [pb.SubscriptionList(key=key, error_reason="SIGN_IN_INVALID")]


async def test_adding_twice_makes_one_row(
    subscriptions: SubscriptionServiceStub, key: pb.SignInKey, clock: Any
) -> None:
    since = clock.time
    first = await subscriptions.AddSubscription(adding(key, " brk-b "))
    clock.advance(timedelta(minutes=5))
    second = await subscriptions.AddSubscription(adding(key, "BRK-B"))
    assert (first.created, second.created) == (True, False)
    assert first.subscription == second.subscription
    assert first.subscription.symbol == "BRK-B"
    assert instant(first.subscription.create_time) == since
    assert await symbols(subscriptions, key) == ["BRK-B"]


async def test_additions_that_race_make_one_row(
    subscriptions: SubscriptionServiceStub, key: pb.SignInKey, rows: Rows
) -> None:
    responses = await asyncio.gather(
        *(subscriptions.AddSubscription(adding(key, "AAPL")) for _ in range(20))
    )
    assert sum(response.created for response in responses) == 1
    assert await rows("SELECT symbol FROM subscriptions") == [("AAPL",)]


async def test_an_account_follows_at_most_500_symbols(
    subscriptions: SubscriptionServiceStub, key: pb.SignInKey, refusal: Refusal
) -> None:
    for first in range(0, 498, 83):
        some = range(first, first + 83)
        await asyncio.gather(*(subscriptions.AddSubscription(adding(key, f"S{n}")) for n in some))
    outcomes = await asyncio.gather(
        *(subscriptions.AddSubscription(adding(key, f"T{n}")) for n in range(5)),
        return_exceptions=True,
    )
    assert [type(o) for o in outcomes].count(pb.AddSubscriptionResponse) == 2
    codes = {o.code() for o in outcomes if isinstance(o, AioRpcError)}
    assert codes == {StatusCode.FAILED_PRECONDITION}
    assert len(await symbols(subscriptions, key)) == 500

    error = await refusal(subscriptions.AddSubscription(adding(key, "ONE.MORE")))
    assert error.reason == "TOO_MANY_SUBSCRIPTIONS"
    assert "500" in error.message
    assert not (await subscriptions.AddSubscription(adding(key, "S1"))).created
    await subscriptions.RemoveSubscription(removing(key, "S1"))
    assert (await subscriptions.AddSubscription(adding(key, "ONE.MORE"))).created


MALFORMED = ("", " ", "A B", "-A", "A" * 33, "A" * 10_000, "ıBM", "A/B")


async def test_a_malformed_symbol_is_refused(
    subscriptions: SubscriptionServiceStub,
    key: pb.SignInKey,
    refusal: Refusal,
    subtests: pytest.Subtests,
) -> None:
    for symbol in MALFORMED:
        with subtests.test(symbol=symbol[:40]):
            for call in (
                subscriptions.AddSubscription(adding(key, symbol)),
                subscriptions.RemoveSubscription(removing(key, symbol)),
            ):
                error = await refusal(call)
                assert error.code is StatusCode.INVALID_ARGUMENT
                assert error.metadata == {"field": "symbol"}
                assert "1 to 32" in error.message
                assert len(error.message) < 200
            assert await symbols(subscriptions, key) == []


async def test_removing(
    subscriptions: SubscriptionServiceStub, key: pb.SignInKey, refusal: Refusal
) -> None:
    for symbol in ("AAPL", "MSFT"):
        await subscriptions.AddSubscription(adding(key, symbol))
    await subscriptions.RemoveSubscription(removing(key, "aapl"))
    assert await symbols(subscriptions, key) == ["MSFT"]
    error = await refusal(subscriptions.RemoveSubscription(removing(key, "AAPL")))
    assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "NOT_SUBSCRIBED")


async def test_a_batch_answers_each_key_in_order_and_oldest_first(
    accounts: AccountServiceStub,
    subscriptions: SubscriptionServiceStub,
    key: pb.SignInKey,
    clock: Any,
) -> None:
    bob = await register(accounts, "bob@x.test")
    for owner, symbol in ((key, "XOM"), (bob, "MSFT"), (key, "AAPL"), (key, "KO")):
        await subscriptions.AddSubscription(adding(owner, symbol))
        clock.advance(timedelta(seconds=1))
    unknown = pb.SignInKey(account_id=key.account_id, sign_in_id="unknown")
    foreign = pb.SignInKey(account_id=bob.account_id, sign_in_id=key.sign_in_id)
    asked = [bob, key, unknown, foreign, bob, pb.SignInKey(), *[key] * 194]
    answers = await lists(subscriptions, *asked)
    assert [answer.key for answer in answers] == asked
    assert [
        (a.error_reason, a.email, [s.symbol for s in a.subscriptions]) for a in answers[:6]
    ] == [
        ("", "bob@x.test", ["MSFT"]),
        ("", "ann@x.test", ["XOM", "AAPL", "KO"]),
        ("SIGN_IN_INVALID", "", []),
        ("SIGN_IN_INVALID", "", []),
        ("", "bob@x.test", ["MSFT"]),
        ("SIGN_IN_INVALID", "", []),
    ]
    assert all(answer == answers[1] for answer in answers[6:])


async def test_batches_at_once_are_answered_each_by_itself(
    accounts: AccountServiceStub, subscriptions: SubscriptionServiceStub, key: pb.SignInKey
) -> None:
    bob = await register(accounts, "bob@x.test")
    for owner, symbol in ((key, "XOM"), (bob, "MSFT")):
        await subscriptions.AddSubscription(adding(owner, symbol))
    unknown = pb.SignInKey(account_id=key.account_id, sign_in_id="unknown")
    batches = [[key], [bob, key], [unknown], [key, unknown, bob]] * 10
    answers = await asyncio.gather(*(lists(subscriptions, *keys) for keys in batches))
    expected = {key.sign_in_id: ["XOM"], bob.sign_in_id: ["MSFT"], "unknown": []}
    for keys, answer in zip(batches, answers, strict=True):
        assert [each.key for each in answer] == keys
        assert [[s.symbol for s in each.subscriptions] for each in answer] == [
            expected[each.sign_in_id] for each in keys
        ]


@pytest.mark.parametrize("count", [0, 201])
async def test_a_batch_holds_1_to_200_keys(
    subscriptions: SubscriptionServiceStub, key: pb.SignInKey, refusal: Refusal, count: int
) -> None:
    request = pb.BatchListSubscriptionsRequest(keys=[key] * count)
    error = await refusal(subscriptions.BatchListSubscriptions(request))
    assert (error.code, error.metadata) == (StatusCode.INVALID_ARGUMENT, {"field": "keys"})
    assert "1 to 200" in error.message


async def test_keys_that_belong_to_nobody_are_refused(
    accounts: AccountServiceStub,
    subscriptions: SubscriptionServiceStub,
    key: pb.SignInKey,
    refusal: Refusal,
) -> None:
    bob = await register(accounts, "bob@x.test")
    for account_id, sign_in_id in (
        ("", ""),
        (key.account_id, "unknown"),
        (bob.account_id, key.sign_in_id),
        (key.account_id, "\0" * 1000),
    ):
        wrong = pb.SignInKey(account_id=account_id, sign_in_id=sign_in_id)
        await assert_refused_everywhere(subscriptions, wrong, refusal)


async def test_a_revoked_sign_in_is_refused_at_once(
    accounts: AccountServiceStub,
    subscriptions: SubscriptionServiceStub,
    key: pb.SignInKey,
    refusal: Refusal,
) -> None:
    request = pb.CreateSignInRequest(email="ann@x.test", password="correct horse")
    other = (await accounts.CreateSignIn(request)).sign_in.key
    await subscriptions.AddSubscription(adding(key, "AAPL"))
    await accounts.RevokeSignIn(pb.RevokeSignInRequest(key=key))
    await assert_refused_everywhere(subscriptions, key, refusal)
    assert await symbols(subscriptions, other) == ["AAPL"]


async def test_a_sign_in_that_is_not_used_for_12_hours_expires(
    subscriptions: SubscriptionServiceStub, key: pb.SignInKey, clock: Any, refusal: Refusal
) -> None:
    clock.advance(timedelta(hours=12, microseconds=-1))
    assert await symbols(subscriptions, key) == []
    clock.advance(timedelta(hours=12))
    await assert_refused_everywhere(subscriptions, key, refusal)


async def test_a_remembered_sign_in_that_is_not_used_for_30_days_expires(
    accounts: AccountServiceStub,
    subscriptions: SubscriptionServiceStub,
    clock: Any,
    recorded: Any,
    refusal: Refusal,
) -> None:
    request = pb.RegisterAccountRequest(
        email="ann@x.test", password="correct horse", remember_me=True
    )
    sign_in = (await accounts.RegisterAccount(request)).sign_in
    assert sign_in.remembered
    assert instant(sign_in.expire_time) == clock.time + timedelta(days=30)
    for symbol in ("AAPL", "MSFT", "XOM"):  # adding counts as use
        clock.advance(timedelta(days=30, microseconds=-1))
        await subscriptions.AddSubscription(adding(sign_in.key, symbol))
        await recorded(clock.time)
    [answer] = await lists(subscriptions, sign_in.key)
    assert instant(answer.expire_time) == clock.time + timedelta(days=30)
    clock.advance(timedelta(days=30))
    await assert_refused_everywhere(subscriptions, sign_in.key, refusal)


async def test_use_is_recorded_once_a_minute(
    subscriptions: SubscriptionServiceStub, key: pb.SignInKey, clock: Any, recorded: Any
) -> None:
    began = clock.time
    clock.advance(timedelta(seconds=59))
    await lists(subscriptions, *[key] * 3)
    await recorded(began)
    clock.advance(timedelta(seconds=1))
    await lists(subscriptions, key)
    await recorded(clock.time)
    [answer] = await lists(subscriptions, key)
    assert instant(answer.expire_time) == clock.time + timedelta(hours=12)


async def test_everything_is_there_after_a_restart(start: Any, clock: Any) -> None:
    async with start() as server:
        async with calling(server, ACCOUNT_SERVICE) as channel:
            key = await register(AccountServiceStub(channel), "ann@x.test")
        async with calling(server, SUBSCRIPTION_SERVICE) as channel:
            await SubscriptionServiceStub(channel).AddSubscription(adding(key, "AAPL"))
            before = await lists(SubscriptionServiceStub(channel), key)
    async with start() as server:
        async with calling(server, SUBSCRIPTION_SERVICE) as channel:
            assert await lists(SubscriptionServiceStub(channel), key) == before
        async with calling(server, ACCOUNT_SERVICE) as channel:
            request = pb.CreateSignInRequest(email="ANN@x.test", password="correct horse")
            await AccountServiceStub(channel).CreateSignIn(request)


async def test_both_services_want_the_service_token(start: Any, refusal: Refusal) -> None:
    async with start() as server, insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for call in (
            AccountServiceStub(channel).CreateSignIn(pb.CreateSignInRequest(), timeout=5),
            SubscriptionServiceStub(channel).BatchListSubscriptions(
                pb.BatchListSubscriptionsRequest(), timeout=5
            ),
        ):
            error = await refusal(call)
            assert error.code == StatusCode.UNAUTHENTICATED
            assert error.reason not in {"SIGN_IN_INVALID", "CREDENTIALS_WRONG"}
