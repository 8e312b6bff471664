"""What the longest list of forecasts costs, beside encoding and sending the same reply.

`ListForecasts` of 1,000 symbols by the service's own servicer, against a call that sends a reply
that is there. CPU of the answering process alone, which is one of its own: `python -m
bench.listing`. An edition's first list, whose messages are made then, is told besides.
"""

import asyncio
import sys
import time
from functools import partial
from typing import Any

from bench.processes import cpu_seconds, line_of, started
from bench.reporting import Entry, at_most, entry, ratios
from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1 import prediction_pb2_grpc as pb_grpc
from foretick_rpc.client import open_channel
from foretick_rpc.server import RpcService
from foretick_rpc.testing import SERVICE_TOKEN, serving
from prediction_svc.book import Book, Edition
from prediction_svc.messages import Messages
from prediction_svc.servicer import PredictionServicer
from prediction_svc.testing import issued_of

SYMBOLS, CALLS, ROUNDS = 1000, 300, 9
GOAL = 1.3
SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
REQUEST = pb.ListForecastsRequest(page_size=SYMBOLS)


class Sender(pb_grpc.PredictionServiceServicer):
    """Sends a reply that is there."""

    def __init__(self, reply: pb.ListForecastsResponse) -> None:
        self._reply = reply

    async def ListForecasts(  # noqa: N802 - the contract's name
        self, _request: object, _context: object
    ) -> pb.ListForecastsResponse:
        """The reply."""
        return self._reply


def book() -> Book:
    """An edition of so many symbols."""
    forecasts = {f"S{number:03}": issued_of(f"S{number:03}") for number in range(SYMBOLS)}
    held = Book()
    held.turn_to(Edition("bench", frozenset(forecasts), {1: forecasts}, {}), 1)
    return held


async def serve() -> None:
    """Serve both until standard input ends; the two ports are printed."""
    held = book()
    unused: Any = None  # the ledger, trainings, models and records, which no list asks
    own = PredictionServicer(held, unused, unused, unused, unused)
    bare = Sender(Messages(held).page(1, 0, SYMBOLS))  # type: ignore[abstract]  # the only one
    add = pb_grpc.add_PredictionServiceServicer_to_server
    async with (
        serving(RpcService(SERVICE.full_name, partial(add, own))) as first,
        serving(RpcService(SERVICE.full_name, partial(add, bare))) as second,
    ):
        print(first.port, second.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def compare(pid: int, ports: list[str]) -> tuple[list[float], list[float]]:
    """CPU seconds a call in each round: of the service, and of encoding and sending alone."""
    spent: tuple[list[float], list[float]] = ([], [])
    open_ = partial(open_channel, service_token=SERVICE_TOKEN, service=SERVICE)
    async with open_(f"127.0.0.1:{ports[0]}") as one, open_(f"127.0.0.1:{ports[1]}") as other:
        stubs = [pb_grpc.PredictionServiceStub(each) for each in (one, other)]
        replies = [await stub.ListForecasts(REQUEST) for stub in stubs]
        if replies[0] != replies[1] or len(replies[0].forecasts) != SYMBOLS:
            raise RuntimeError("the two do not answer the same")
        for _ in range(ROUNDS):
            for stub, own in zip(stubs, spent, strict=True):
                before = cpu_seconds(pid)
                for _ in range(CALLS):
                    await stub.ListForecasts(REQUEST)
                own.append((cpu_seconds(pid) - before) / CALLS)
    return spent


def measure() -> list[Entry]:
    """By interleaved rounds."""
    with started("bench.listing") as server:
        listed, sent = asyncio.run(compare(server.pid, line_of(server).split()))
    begun = time.process_time()
    Messages(book()).page(1, 0, SYMBOLS)
    made = 1000 * (time.process_time() - begun)
    over = ratios(listed, sent)
    own, alone = ([1000 * each for each in spent] for spent in (listed, sent))
    what = f"ListForecasts of {SYMBOLS:,} symbols"
    return [
        entry("listing", f"{what}, CPU over sending alone", over, "×", at_most(GOAL)),
        entry("listing", f"{what}, CPU", own, "ms"),
        entry("listing", "encoding and sending the reply alone, CPU", alone, "ms"),
        entry("listing", "the first list of an edition, CPU more", [made], "ms"),
    ]


if __name__ == "__main__":
    asyncio.run(serve())
