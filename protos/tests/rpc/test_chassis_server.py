"""The rules around every call, seen from a caller's side of a real channel."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Never

import grpc
import pytest
from google.protobuf.message import Message
from grpc import StatusCode
from grpc.aio import AioRpcError, insecure_channel
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import (
    QuoteServiceServicer,
    QuoteServiceStub,
    add_QuoteServiceServicer_to_server,
)
from foretick_rpc.client import open_channel
from foretick_rpc.errors import AppError, StartupError, app_error, invalid_argument
from foretick_rpc.healthcheck import is_serving
from foretick_rpc.interceptors import Context
from foretick_rpc.logs import request_id
from foretick_rpc.ports import free_port
from foretick_rpc.server import RpcServer, RpcService
from foretick_rpc.testing import SERVICE_TOKEN, calling, listed_services, serving

QUOTES = pb.DESCRIPTOR.services_by_name["QuoteService"]


class Servicer(QuoteServiceServicer):
    """Answers as a test tells it to, and remembers what it saw."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.request_ids: list[str] = []
        self.time_left: list[float] = []
        self.calls = 0
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def _answer(self, context: Context) -> None:
        self.calls += 1
        self.request_ids.append(request_id.get())
        self.time_left.append(context.time_remaining())
        self.entered.set()
        await self.released.wait()
        if self.failures:
            raise self.failures.pop(0)

    async def GetMarket(self, request: Message, context: Context) -> pb.GetMarketResponse:
        await self._answer(context)
        return pb.GetMarketResponse(market=pb.Market(market_id="demo:7"))

    async def _not_asked(self, request: Message, context: Context) -> Never:
        raise AssertionError(f"no test asks for {request}")

    GetClock = BatchGetQuotes = GetHistory = SearchInstruments = ListUniverse = _not_asked
    WatchQuotes: Any = _not_asked
    WatchMarketSessions: Any = _not_asked


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
async def server(servicer: Servicer) -> AsyncIterator[RpcServer]:
    async with serving(quote_service(servicer), domain="quote.foretick") as rpc_server:
        yield rpc_server


@pytest.fixture
async def stub(server: RpcServer) -> AsyncIterator[QuoteServiceStub]:
    async with calling(server, QUOTES) as channel:
        yield QuoteServiceStub(channel)


def quote_service(servicer: Servicer) -> RpcService:
    return RpcService(QUOTES.full_name, partial(add_QuoteServiceServicer_to_server, servicer))


async def failure(stub: QuoteServiceStub) -> AppError:
    with pytest.raises(AioRpcError) as caught:
        await stub.GetMarket(pb.GetMarketRequest())
    return app_error(caught.value)


async def test_an_app_error_arrives_with_code_reason_message_and_metadata(
    stub: QuoteServiceStub, servicer: Servicer
) -> None:
    servicer.failures.append(invalid_argument("symbol", "1 to 32 characters"))
    error = await failure(stub)
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert error.message == "1 to 32 characters"
    assert error.metadata == {"field": "symbol"}


async def test_an_unexpected_error_tells_the_caller_its_request_id_only(
    stub: QuoteServiceStub, servicer: Servicer, caplog: pytest.LogCaptureFixture
) -> None:
    servicer.failures.append(RuntimeError("the password is swordfish"))
    request_id.set("abc123")
    error = await failure(stub)
    assert error.code is StatusCode.INTERNAL
    assert error.message == "internal error, request id abc123"
    assert "swordfish" in caplog.text


async def test_a_request_id_travels_and_one_is_made_where_there_is_none(
    stub: QuoteServiceStub, servicer: Servicer
) -> None:
    await stub.GetMarket(pb.GetMarketRequest())
    request_id.set("from-the-browser")
    await stub.GetMarket(pb.GetMarketRequest())
    assert len(servicer.request_ids[0]) == 32
    assert servicer.request_ids[1] == "from-the-browser"


async def test_every_call_has_a_deadline(stub: QuoteServiceStub, servicer: Servicer) -> None:
    await stub.GetMarket(pb.GetMarketRequest())
    await stub.GetMarket(pb.GetMarketRequest(), timeout=1.5)
    assert 4 < servicer.time_left[0] < 5.5
    assert 0 < servicer.time_left[1] < 2


async def test_reads_are_retried_while_the_service_is_unavailable(
    stub: QuoteServiceStub, servicer: Servicer
) -> None:
    servicer.failures += [AppError(StatusCode.UNAVAILABLE, "BUSY", "not now")] * 2
    response = await stub.GetMarket(pb.GetMarketRequest())
    assert response.market.market_id == "demo:7"
    assert servicer.calls == 3


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),)])
async def test_without_the_service_token_a_call_is_unauthenticated(
    server: RpcServer, servicer: Servicer, metadata: tuple[tuple[str, str], ...]
) -> None:
    async with insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(AioRpcError) as caught:
            await QuoteServiceStub(channel).GetMarket(
                pb.GetMarketRequest(), metadata=metadata, timeout=5
            )
    assert caught.value.code() is StatusCode.UNAUTHENTICATED
    assert app_error(caught.value).reason == "SERVICE_TOKEN_WRONG"
    assert servicer.calls == 0


async def test_reflection_lists_the_services_to_those_with_the_token(server: RpcServer) -> None:
    target = f"127.0.0.1:{server.port}"
    names = await asyncio.to_thread(listed_services, target, SERVICE_TOKEN)
    assert {QUOTES.full_name, "grpc.health.v1.Health"} <= names
    for token in ("", "guessed"):
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(listed_services, target, token)
        assert caught.value.code() is StatusCode.UNAUTHENTICATED


async def test_health_answers_without_a_token(server: RpcServer) -> None:
    assert await asyncio.to_thread(is_serving, f"127.0.0.1:{server.port}")
    assert not await asyncio.to_thread(is_serving, f"127.0.0.1:{free_port()}", 0.5)


async def test_a_stopping_server_finishes_what_it_began(servicer: Servicer) -> None:
    servicer.released.clear()
    server = RpcServer(
        quote_service(servicer), listen="127.0.0.1:0", service_token=SERVICE_TOKEN, domain="test"
    )
    async with server, calling(server, QUOTES) as channel:
        begun = asyncio.ensure_future(QuoteServiceStub(channel).GetMarket(pb.GetMarketRequest()))
        await servicer.entered.wait()
        leaving = asyncio.ensure_future(server.__aexit__(None, None, None))
        await asyncio.sleep(0)
        servicer.released.set()
        assert (await begun).market.market_id == "demo:7"
        await leaving


async def test_nobody_notices_that_one_of_two_servers_stops(servicer: Servicer) -> None:
    """What reaches a server too late is answered by the other, whatever moment it stops at."""
    leaving = [
        RpcServer(
            quote_service(servicer), listen="127.0.0.1:0", service_token=SERVICE_TOKEN, domain="a"
        )
        for _ in range(5)
    ]
    async with serving(quote_service(servicer)) as stays:
        for server in leaving:
            async with server:
                target = f"ipv4:127.0.0.1:{stays.port},127.0.0.1:{server.port}"
                async with open_channel(
                    target, service_token=SERVICE_TOKEN, service=QUOTES
                ) as channel:
                    stub = QuoteServiceStub(channel)
                    before, gone = servicer.calls, asyncio.Event()

                    async def ask(stub: QuoteServiceStub, gone: asyncio.Event) -> None:
                        while not gone.is_set():
                            await stub.GetMarket(pb.GetMarketRequest())

                    asking = [asyncio.create_task(ask(stub, gone)) for _ in range(20)]
                    while servicer.calls < before + 200:  # noqa: ASYNC110 - calls are counted
                        await asyncio.sleep(0)
                    await server.__aexit__(None, None, None)
                    gone.set()
                    await asyncio.gather(*asking)


async def test_a_taken_address_is_a_startup_error(server: RpcServer, servicer: Servicer) -> None:
    with pytest.raises(StartupError, match="cannot listen on"):
        async with serving(quote_service(servicer), listen=f"127.0.0.1:{server.port}"):
            raise AssertionError("two servers on one port")


async def test_a_caller_finds_a_server_that_returns(servicer: Servicer) -> None:
    port = free_port()
    async with open_channel(
        f"127.0.0.1:{port}", service_token=SERVICE_TOKEN, service=QUOTES
    ) as channel:
        stub = QuoteServiceStub(channel)
        with pytest.raises(AioRpcError) as caught:
            await stub.GetMarket(pb.GetMarketRequest())
        assert caught.value.code() is StatusCode.UNAVAILABLE
        async with serving(quote_service(servicer), listen=f"127.0.0.1:{port}"):
            response = await stub.GetMarket(pb.GetMarketRequest(), timeout=10, wait_for_ready=True)
    assert response.market.market_id == "demo:7"


SERVICE = """
import sys
from contextlib import asynccontextmanager
from foretick_rpc.commands import run_service
from foretick_rpc.server import RpcServer
from foretick_rpc.settings import RpcSettings

@asynccontextmanager
async def running(settings):
    token = settings.service_token.get_secret_value()
    server = RpcServer(listen="127.0.0.1:0", service_token=token, domain="test")
    async with server:
        yield server
    print("closed", flush=True)

sys.exit(run_service(RpcSettings, running, "a_service"))
"""


def started_service() -> tuple[subprocess.Popen[str], str]:
    """The process, and the port that it serves on."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        env={**os.environ, "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said, _, port = process.stderr.readline().rpartition(" ")
    assert said.endswith("serving on port")
    return process, port.strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_in_order(number: signal.Signals) -> None:
    process, _ = started_service()
    with process:
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "closed\n")
    assert "Traceback" not in err


async def test_a_quiet_stream_of_a_server_that_hangs_is_given_up() -> None:
    process, port = started_service()
    with process:
        try:
            target = f"127.0.0.1:{port}"
            async with open_channel(target, service_token="", service=QUOTES) as channel:
                call = channel.unary_stream(
                    "/grpc.health.v1.Health/Watch",
                    HealthCheckRequest.SerializeToString,
                    HealthCheckResponse.FromString,
                )
                watch = call(HealthCheckRequest())
                await watch.read()
                process.send_signal(signal.SIGSTOP)
                async with asyncio.timeout(30):
                    with pytest.raises(AioRpcError) as raised:
                        await watch.read()
            assert raised.value.code() is StatusCode.UNAVAILABLE
        finally:
            process.kill()


def test_all_bad_settings_are_named_at_once() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", SERVICE],
        env={**os.environ, "FORETICK_SERVICE_TOKEN": "short", "FORETICK_LOG_LEVEL": "LOUD"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert finished.returncode == 2
    assert "FORETICK_SERVICE_TOKEN: " in finished.stderr
    assert "FORETICK_LOG_LEVEL: " in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "short" not in finished.stderr.replace("shorter", "")
