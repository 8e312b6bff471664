"""The real service over a real channel: cheap hashes that are counted, a clock that is set."""

import asyncio
import sqlite3
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
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
    AdministrationServiceStub,
    SubscriptionServiceStub,
)
from foretick_rpc.database import migrate
from foretick_rpc.errors import AppError, app_error
from foretick_rpc.server import RpcServer
from foretick_rpc.testing import SERVICE_TOKEN, calling
from secrets_in_logs import note
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

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        note(str(password))
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002 the library's name
        note(str(password))
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
            path = database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path)) as connection, connection:
                return connection.execute(sql).fetchall()
        postgres = await asyncpg.connect(database_url)
        try:
            return [tuple(row) for row in await postgres.fetch(sql)]
        finally:
            await postgres.close()

    return executed


@pytest.fixture
def recorded(rows: Rows) -> Callable[..., Awaitable[None]]:
    """Waits until sign-ins, by their hashes, were last used at these times.

    Uses are written down after the answer.
    """

    def time_of(value: str | datetime) -> datetime:
        return datetime.fromisoformat(f"{value}+00:00") if isinstance(value, str) else value

    async def until(*times: datetime) -> None:
        async with asyncio.timeout(10):
            while [  # noqa: ASYNC110 - nobody is told when it is done
                time_of(row[0])
                for row in await rows("SELECT last_used_time FROM sign_ins ORDER BY sign_in_hash")
            ] != list(times):
                await asyncio.sleep(0)  # lets the service's tasks go on

    return until


@pytest.fixture
def start_on(hasher: CountingHasher, clock: SetClock) -> Running:
    """Starts the service on the database of a URL."""

    @asynccontextmanager
    async def started(
        database_url: str, hasher: PasswordHasher | None = hasher, **given: Any
    ) -> AsyncIterator[RpcServer]:
        settings = SubscriptionSettings(
            service_token=SERVICE_TOKEN, listen="127.0.0.1:0", database_url=database_url, **given
        )
        await migrate(settings.database, "subscription_svc")
        async with running(settings, hasher=hasher, now=clock) as server:
            yield server

    return started


@pytest.fixture
def start(database_url: str, start_on: Running) -> Running:
    """Starts the service; more than once in a row where a test wants to see it restart."""
    return partial(start_on, database_url)


@dataclass(frozen=True)
class Stubs:
    """The three services of one process."""

    accounts: AccountServiceStub
    administration: AdministrationServiceStub
    subscriptions: SubscriptionServiceStub

    async def register(self, email: str = "ann@x.test", **more: Any) -> pb.RegisterAccountResponse:
        request = pb.RegisterAccountRequest(email=email, password="correct horse", **more)
        return await self.accounts.RegisterAccount(request)

    async def sign_in(self, email: str = "ann@x.test", **more: Any) -> pb.CreateSignInResponse:
        request = pb.CreateSignInRequest(**{"email": email, "password": "correct horse"} | more)
        return await self.accounts.CreateSignIn(request)

    async def state(self, key: pb.SignInKey) -> str:
        """Why a sign-in is not good, as every call would say; empty where it is."""
        request = pb.BatchListSubscriptionsRequest(keys=[key])
        return (await self.subscriptions.BatchListSubscriptions(request)).lists[0].error_reason

    async def log(self, key: pb.SignInKey) -> list[pb.AuditEvent]:
        request = pb.ListAuditEventsRequest(key=key, page_size=200)
        return list((await self.accounts.ListAuditEvents(request)).events)


@asynccontextmanager
async def stubs_of(server: RpcServer) -> AsyncIterator[Stubs]:
    """A channel to a process of the service, with retries of no call."""
    async with calling(server, pb.DESCRIPTOR.services_by_name["AccountService"]) as channel:
        yield Stubs(
            AccountServiceStub(channel),
            AdministrationServiceStub(channel),
            SubscriptionServiceStub(channel),
        )


@pytest.fixture
def open_on(start_on: Running) -> Callable[..., AbstractAsyncContextManager[Stubs]]:
    """Starts the service on the database of a URL, and opens a channel to it."""

    @asynccontextmanager
    async def opened(database_url: str) -> AsyncIterator[Stubs]:
        async with start_on(database_url) as server, stubs_of(server) as stubs:
            yield stubs

    return opened


@pytest.fixture
def open_stubs(start: Running) -> Callable[..., AbstractAsyncContextManager[Stubs]]:
    """Starts the service with the settings that are given, and opens a channel to it."""

    @asynccontextmanager
    async def opened(**given: Any) -> AsyncIterator[Stubs]:
        async with start(**given) as server, stubs_of(server) as stubs:
            yield stubs

    return opened


@pytest.fixture
async def stubs(server: RpcServer) -> AsyncIterator[Stubs]:
    async with stubs_of(server) as stubs:
        yield stubs


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


class SmtpPostbox:
    """As much of an SMTP server as it takes to be handed letters, on a free port of loopback."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.commands: list[str] = []
        self.greets = True
        self.refuses = False
        self.url = ""
        self.tls: ssl.SSLContext | None = None  # that STARTTLS is offered with
        self.is_private = False
        self._came = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.greets:
            writer.write(b"220 postbox\r\n")
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            writer.write(await self._answer(line, reader, writer))
            if line == "STARTTLS" and self.tls is not None:
                await writer.drain()
                try:
                    await writer.start_tls(self.tls)
                except (ssl.SSLError, ConnectionError):
                    break  # the client does not want this certificate
                self.is_private = True
            if line == "QUIT":
                break
        writer.close()

    async def _answer(
        self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        verb = line.split(maxsplit=1)[0].upper()
        if verb == "EHLO":
            offers = b"" if self.tls is None or self.is_private else b"250-STARTTLS\r\n"
            return b"250-postbox\r\n" + offers + b"250-AUTH PLAIN\r\n250 SMTPUTF8\r\n"
        if verb == "STARTTLS":
            return b"220 go on\r\n"
        if verb == "AUTH":
            return b"235 ok\r\n"
        if verb == "RCPT" and self.refuses:
            return f"550 no such user {line}\r\n".encode()
        if verb == "DATA":
            writer.write(b"354 go on\r\n")
            letter = (await reader.readuntil(b"\r\n.\r\n")).decode()
            async with self._came:
                self.letters.append(letter)
                self._came.notify_all()
        return b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n"

    async def letter(self, number: int = 0) -> str:
        """The letter of that number, as soon as it is there."""
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(lambda: len(self.letters) > number)
        return self.letters[number]


@pytest.fixture
async def postbox() -> AsyncIterator[SmtpPostbox]:
    postbox = SmtpPostbox()
    server = await asyncio.start_server(postbox.serve, "127.0.0.1", 0)
    postbox.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield postbox
    server.close()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[str], Awaitable[None]]:
    """Waits until something stands in the log."""

    async def until(text: str) -> None:
        async with asyncio.timeout(10):
            while text not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0)

    return until


@pytest.fixture
def refusal() -> Callable[[Awaitable[object]], Awaitable[AppError]]:
    """Awaits a call that must fail; what the caller is told."""

    async def refused(call: Awaitable[object]) -> AppError:
        with pytest.raises(AioRpcError) as caught:
            await call
        return app_error(caught.value)

    return refused
