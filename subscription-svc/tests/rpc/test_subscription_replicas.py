"""Two replicas of the service over one PostgreSQL database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import (
    AccountServiceStub,
    SubscriptionServiceStub,
)
from foretick_rpc.errors import AppError
from foretick_rpc.testing import calling

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
REPLICAS = 2


@dataclass(frozen=True)
class Replica:
    accounts: AccountServiceStub
    subscriptions: SubscriptionServiceStub

    async def register(self, email: str = "ann@x.test") -> pb.SignInKey:
        request = pb.RegisterAccountRequest(email=email, password="correct horse")
        return (await self.accounts.RegisterAccount(request)).sign_in.key

    async def sign_in(self) -> pb.SignInKey:
        request = pb.CreateSignInRequest(email="ann@x.test", password="correct horse")
        return (await self.accounts.CreateSignIn(request)).sign_in.key

    async def sign_out(self, key: pb.SignInKey) -> None:
        await self.accounts.RevokeSignIn(pb.RevokeSignInRequest(key=key))

    async def add(self, key: pb.SignInKey, symbol: str) -> bool:
        request = pb.AddSubscriptionRequest(key=key, symbol=symbol)
        return (await self.subscriptions.AddSubscription(request)).created

    async def remove(self, key: pb.SignInKey, symbol: str) -> None:
        request = pb.RemoveSubscriptionRequest(key=key, symbol=symbol)
        await self.subscriptions.RemoveSubscription(request)

    async def lists(self, *keys: pb.SignInKey) -> list[pb.SubscriptionList]:
        request = pb.BatchListSubscriptionsRequest(keys=keys)
        return list((await self.subscriptions.BatchListSubscriptions(request)).lists)

    async def symbols(self, key: pb.SignInKey) -> list[str]:
        [answer] = await self.lists(key)
        assert answer.error_reason == ""
        return [subscription.symbol for subscription in answer.subscriptions]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Only PostgreSQL serves more than one process."""
    return postgres_url


@pytest.fixture
async def replicas(start: Any) -> AsyncIterator[list[Replica]]:
    services = pb.DESCRIPTOR.services_by_name
    async with AsyncExitStack() as stack:
        started = []
        for _ in range(REPLICAS):
            server = await stack.enter_async_context(start())
            channels = [
                await stack.enter_async_context(calling(server, services[name]))
                for name in ("AccountService", "SubscriptionService")
            ]
            started.append(
                Replica(AccountServiceStub(channels[0]), SubscriptionServiceStub(channels[1]))
            )
        yield started


async def test_what_one_replica_did_the_other_knows_at_once(
    replicas: list[Replica], refusal: Refusal
) -> None:
    one, other = replicas
    key = await one.register()
    assert await other.symbols(key) == []
    assert await other.add(key, "AAPL")
    assert await one.symbols(key) == ["AAPL"]
    assert not await one.add(key, "AAPL")
    second = await other.sign_in()
    assert await one.symbols(second) == ["AAPL"]
    await other.sign_out(key)
    assert (await refusal(one.add(key, "MSFT"))).reason == "SIGN_IN_INVALID"
    assert [answer.error_reason for answer in await one.lists(key, second)] == [
        "SIGN_IN_INVALID",
        "",
    ]


async def test_an_address_that_is_registered_twice_at_once_has_one_account(
    replicas: list[Replica], rows: Any
) -> None:
    for n in range(10):
        address = f"u{n}@x.test"
        outcomes = await asyncio.gather(
            *(replica.register(address) for replica in replicas), return_exceptions=True
        )
        [made] = [outcome for outcome in outcomes if isinstance(outcome, pb.SignInKey)]
        [refused] = [outcome for outcome in outcomes if isinstance(outcome, AioRpcError)]
        assert refused.code() is StatusCode.ALREADY_EXISTS
        assert [await replica.symbols(made) for replica in replicas] == [[], []]
    assert await rows("SELECT count(*) FROM accounts") == [(10,)]
    assert await rows("SELECT count(*) FROM sign_ins") == [(10,)]


async def test_the_limit_holds_whichever_replica_is_asked(
    replicas: list[Replica], rows: Any
) -> None:
    key = await replicas[0].register()
    other = await replicas[1].sign_in()
    for first in range(0, 495, 99):
        some = range(first, first + 99)
        await asyncio.gather(*(replicas[n % 2].add(key, f"S{n}") for n in some))
    outcomes = await asyncio.gather(
        *(replicas[n % 2].add((key, other)[n // 2 % 2], f"T{n}") for n in range(20)),
        return_exceptions=True,
    )
    assert outcomes.count(True) == 5
    refused = [outcome.code() for outcome in outcomes if isinstance(outcome, AioRpcError)]
    assert refused == [StatusCode.FAILED_PRECONDITION] * 15
    assert await rows("SELECT count(*) FROM subscriptions") == [(500,)]


async def test_adding_and_removing_the_same_symbol_at_once_fails_no_addition(
    replicas: list[Replica],
) -> None:
    key = await replicas[0].register()
    for _ in range(20):
        outcomes = await asyncio.gather(
            *(replica.add(key, "AAPL") for replica in replicas),
            *(replica.remove(key, "AAPL") for replica in replicas),
            return_exceptions=True,
        )
        assert all(isinstance(added, bool) for added in outcomes[:REPLICAS])
        refused = [outcome for outcome in outcomes if isinstance(outcome, AioRpcError)]
        assert {error.code() for error in refused} <= {StatusCode.NOT_FOUND}


async def test_use_that_replicas_record_at_once_is_recorded_for_all(
    replicas: list[Replica], clock: Any, recorded: Any
) -> None:
    keys = [await replicas[0].register(f"u{n}@x.test") for n in range(40)]
    for _ in range(5):
        clock.advance(timedelta(hours=1))
        answers = await asyncio.gather(
            *(replicas[n % 2].lists(*keys[:: 1 - 2 * (n % 2)]) for n in range(8))
        )
        assert {answer.error_reason for lists in answers for answer in lists} == {""}
        await recorded(*[clock.time] * len(keys))


async def test_recording_use_waits_for_nobody(
    replicas: list[Replica], clock: Any, recorded: Any, postgres_url: str
) -> None:
    keys = [await replicas[0].register(f"u{n}@x.test") for n in range(3)]
    began = clock.time
    clock.advance(timedelta(hours=1))
    other = await asyncpg.connect(postgres_url)
    try:
        async with other.transaction():
            await other.execute("SELECT 1 FROM sign_ins ORDER BY sign_in_hash LIMIT 1 FOR UPDATE")
            answers = await replicas[0].lists(*keys)
            assert [answer.error_reason for answer in answers] == ["", "", ""]
            await recorded(began, clock.time, clock.time)
    finally:
        await other.close()
    await replicas[1].lists(*keys)
    await recorded(*[clock.time] * len(keys))


async def test_a_sign_in_that_is_revoked_while_it_is_used_stays_revoked(
    replicas: list[Replica], clock: Any, rows: Any
) -> None:
    one, other = replicas
    await one.register()
    for _ in range(10):
        key = await one.sign_in()
        clock.advance(timedelta(hours=2))
        await asyncio.gather(one.lists(key), other.lists(key), other.sign_out(key))
        for replica in replicas:
            [answer] = await replica.lists(key)
            assert answer.error_reason == "SIGN_IN_INVALID"
    assert await rows("SELECT count(*) FROM sign_ins WHERE revoke_time IS NULL") == [(1,)]


async def test_an_old_hash_that_both_replicas_replace_still_opens(
    start: Any, replicas: list[Replica], rows: Any
) -> None:
    await replicas[0].register()
    services = pb.DESCRIPTOR.services_by_name
    async with AsyncExitStack() as stack:
        stubs = []
        for _ in range(REPLICAS):
            server = await stack.enter_async_context(start(hasher=None))
            channel = await stack.enter_async_context(calling(server, services["AccountService"]))
            stubs.append(AccountServiceStub(channel))
        request = pb.CreateSignInRequest(email="ann@x.test", password="correct horse")
        await asyncio.gather(*(stub.CreateSignIn(request) for stub in stubs * 2))
        [(remade,)] = await rows("SELECT password_hash FROM accounts")
        assert remade.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        await stubs[0].CreateSignIn(request)
        assert await rows("SELECT password_hash FROM accounts") == [(remade,)]


async def test_without_the_database_calls_fail_until_it_is_back(
    replicas: list[Replica], refusal: Refusal, postgres_server: Any
) -> None:
    one, other = replicas
    key = await one.register()
    await other.add(key, "AAPL")
    await asyncio.to_thread(postgres_server.stop)
    try:
        for call in (one.add(key, "MSFT"), other.lists(key), one.sign_in()):
            error = await refusal(call)
            assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    finally:
        await asyncio.to_thread(postgres_server.start)
    for replica in replicas:
        assert await replica.symbols(key) == ["AAPL"]
    assert await one.add(key, "MSFT")
