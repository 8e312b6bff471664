"""The real service over a real channel: cheap hashes that are counted, a clock that is set."""

import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from argon2 import PasswordHasher
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import (
    AccountServiceStub,
    SubscriptionServiceStub,
)
from foretick_rpc.database import migrate
from foretick_rpc.errors import AppError, app_error
from foretick_rpc.server import RpcServer
from foretick_rpc.testing import SERVICE_TOKEN, calling
from subscription_svc.app import running
from subscription_svc.settings import SubscriptionSettings

Running = Callable[..., AbstractAsyncContextManager[RpcServer]]
Rows = Callable[[str], Awaitable[list[tuple[Any, ...]]]]


class CountingHasher(PasswordHasher):
    """argon2id with the cheapest parameters; verifications are counted and can be held up."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0
        self.at_once = 0
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002 the library's name
        with self._lock:
            self.verified += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            assert self.gate.wait(timeout=30), "the event loop stood still"
            return super().verify(hash, password)
        finally:
            with self._lock:
                self.at_once -= 1


class SetClock:
    """Wall time that only moves when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2024, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, by: timedelta) -> None:
        self.time += by


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def rows(database_url: str) -> Rows:
    """Runs a statement beside the service, in a transaction of its own."""

    async def executed(sql: str) -> list[tuple[Any, ...]]:
        if database_url.startswith("sqlite"):
            with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
                return connection.execute(sql).fetchall()
        postgres = await asyncpg.connect(database_url)
        try:
            return [tuple(row) for row in await postgres.fetch(sql)]
        finally:
            await postgres.close()

    return executed


@pytest.fixture
def start_on(hasher: CountingHasher, clock: SetClock) -> Running:
    """Starts the service on the database of a URL."""

    @asynccontextmanager
    async def started(
        database_url: str, hasher: PasswordHasher | None = hasher
    ) -> AsyncIterator[RpcServer]:
        settings = SubscriptionSettings(
            service_token=SERVICE_TOKEN, listen="127.0.0.1:0", database_url=database_url
        )
        await migrate(settings.database, "subscription_svc")
        async with running(settings, hasher=hasher, now=clock) as server:
            yield server

    return started


@pytest.fixture
def start(database_url: str, start_on: Running) -> Running:
    """Starts the service; more than once in a row where a test wants to see it restart."""
    return partial(start_on, database_url)


@pytest.fixture
async def server(start: Running) -> AsyncIterator[RpcServer]:
    async with start() as server:
        yield server


@pytest.fixture
async def accounts(server: RpcServer) -> AsyncIterator[AccountServiceStub]:
    async with calling(server, pb.DESCRIPTOR.services_by_name["AccountService"]) as channel:
        yield AccountServiceStub(channel)


@pytest.fixture
async def subscriptions(server: RpcServer) -> AsyncIterator[SubscriptionServiceStub]:
    async with calling(server, pb.DESCRIPTOR.services_by_name["SubscriptionService"]) as channel:
        yield SubscriptionServiceStub(channel)


@pytest.fixture
async def key(accounts: AccountServiceStub) -> pb.SignInKey:
    """The sign-in of ann@x.test."""
    response = await accounts.RegisterAccount(
        pb.RegisterAccountRequest(email="ann@x.test", password="correct horse")
    )
    return response.sign_in.key


@pytest.fixture
def refusal() -> Callable[[Awaitable[object]], Awaitable[AppError]]:
    """Awaits a call that must fail; what the caller is told."""

    async def refused(call: Awaitable[object]) -> AppError:
        with pytest.raises(AioRpcError) as caught:
            await call
        return app_error(caught.value)

    return refused
