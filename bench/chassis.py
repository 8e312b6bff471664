"""Measure 8: what the rules around every call cost, beside a bare grpc.aio call."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc

from bench.processes import cpu_seconds, line_of, started
from bench.reporting import Entry, at_most, entry, ratios
from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1 import quote_pb2_grpc as pb_grpc
from foretick_rpc.client import open_channel
from foretick_rpc.server import RpcServer, RpcService

ROUNDS = 7
CALLS = 1600
AT_ONCE = 16
TOKEN = "of-a-benchmark-only"  # noqa: S105 - opens nothing else
SERVICE = pb.DESCRIPTOR.services_by_name["QuoteService"]
READ_SECONDS = 2.0
Call = Callable[[], Any]


class _Market(pb_grpc.QuoteServiceServicer):
    async def GetMarket(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return pb.GetMarketResponse(market=pb.Market(market_id="bench", display_name="none"))


def _add(server: grpc.aio.Server) -> None:
    # The other methods answer UNIMPLEMENTED, which the types do not know.
    pb_grpc.add_QuoteServiceServicer_to_server(_Market(), server)  # type: ignore[abstract]


async def serve() -> None:
    """Serve both ways until standard input ends; the two ports are printed."""
    bare = grpc.aio.server()
    _add(bare)
    port = bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    service = RpcService(SERVICE.full_name, _add)
    async with RpcServer(
        service, listen="127.0.0.1:0", service_token=TOKEN, domain="bench", drain_seconds=0
    ) as chassis:
        print(port, chassis.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await bare.stop(None)


async def _spent(call: Call, *pids: int) -> float:
    """CPU microseconds of both ends for a call, with so many under way at once."""

    async def some() -> None:
        for _ in range(CALLS // AT_ONCE):
            await call()

    before = cpu_seconds(*pids)
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return 1e6 * (cpu_seconds(*pids) - before) / CALLS


async def calls(bare_port: int, port: int, server_pid: int) -> None:
    """Make calls both ways; print what a pair of rounds cost in a line each."""
    request = pb.GetMarketRequest()
    async with AsyncExitStack() as stack:
        channels = (
            grpc.aio.insecure_channel(f"127.0.0.1:{bare_port}"),
            open_channel(f"127.0.0.1:{port}", service_token=TOKEN, service=SERVICE),
        )
        bare, ruled = [
            pb_grpc.QuoteServiceStub(await stack.enter_async_context(each)) for each in channels
        ]
        pids = (server_pid, os.getpid())
        for _ in range(ROUNDS + 1):
            without = await _spent(lambda: bare.GetMarket(request), *pids)
            within = await _spent(lambda: ruled.GetMarket(request, timeout=READ_SECONDS), *pids)
            print(without, within, flush=True)


def measure() -> list[Entry]:
    """CPU of both ends by interleaved rounds, each end a process of its own."""
    rounds = []
    with started("bench.chassis", "serve") as server:
        ports = line_of(server).split()
        with started("bench.chassis", "call", *ports, str(server.pid)) as client:
            for _ in range(ROUNDS + 1):
                rounds.append([float(each) for each in line_of(client).split()])
    bare, ruled = zip(*rounds[1:], strict=True)  # the first one warms up
    more = [100 * (ratio - 1) for ratio in ratios(ruled, bare)]
    return [
        entry("8", "chassis over a bare grpc.aio call, CPU of both ends", more, "%", at_most(25)),
        entry("8", "a bare grpc.aio call, CPU of both ends", bare, "µs"),
        entry("8", "a call within the chassis, CPU of both ends", ruled, "µs"),
    ]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        asyncio.run(calls(*map(int, sys.argv[2:5])))
