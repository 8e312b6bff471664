"""What the longest list of forecasts costs; `python bench/listing.py`.

`ListForecasts` of 1,000 symbols by the service's own servicer, against a call that encodes and
sends the same reply, by interleaved rounds of one run. CPU of the answering process alone, which
is a process of its own. An edition's first list, whose messages are made then, is told besides.
"""

import asyncio
import multiprocessing
import os
import statistics
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

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


def serve(told: Connection) -> None:
    """Serve both, each on a port of its own, until told to end."""
    asyncio.run(_serve(told))


async def _serve(told: Connection) -> None:
    held = book()
    unused: Any = None  # the ledger, trainings, models and records, which no list asks
    own = PredictionServicer(held, unused, unused, unused, unused)
    bare = Sender(Messages(held).page(1, 0, SYMBOLS))  # type: ignore[abstract]  # the only one
    add = pb_grpc.add_PredictionServiceServicer_to_server
    async with (
        serving(RpcService(SERVICE.full_name, partial(add, own))) as first,
        serving(RpcService(SERVICE.full_name, partial(add, bare))) as second,
    ):
        told.send((first.port, second.port))
        await asyncio.to_thread(told.recv)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def compare(pid: int, ports: tuple[int, int]) -> tuple[list[float], list[float]]:
    """CPU seconds a call in each round: of the service, and of encoding and sending alone."""
    spent: tuple[list[float], list[float]] = ([], [])
    open_ = partial(open_channel, service_token=SERVICE_TOKEN, service=SERVICE)
    async with open_(f"127.0.0.1:{ports[0]}") as one, open_(f"127.0.0.1:{ports[1]}") as other:
        stubs = [pb_grpc.PredictionServiceStub(each) for each in (one, other)]
        replies = [await stub.ListForecasts(REQUEST) for stub in stubs]
        if replies[0] != replies[1] or len(replies[0].forecasts) != SYMBOLS:
            raise SystemExit("the two do not answer the same")
        for _ in range(ROUNDS):
            for stub, own in zip(stubs, spent, strict=True):
                before = cpu_seconds(pid)
                for _ in range(CALLS):
                    await stub.ListForecasts(REQUEST)
                own.append((cpu_seconds(pid) - before) / CALLS)
    return spent


def main() -> None:
    """Print the figures."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=serve, args=(there,))
    process.start()
    listed, sent = asyncio.run(compare(process.pid or 0, here.recv()))
    here.send(None)
    process.join()
    ratio = statistics.median(a / b for a, b in zip(listed, sent, strict=True))
    own, alone = (1e3 * statistics.median(each) for each in (listed, sent))
    print(f"ListForecasts of {SYMBOLS:,} symbols: {own:.2f} ms of CPU", end="; ")
    print(f"encoding and sending the reply alone {alone:.2f} ms", end="; ")
    print(f"ratio {ratio:.2f}, goal {GOAL}, {'met' if ratio <= GOAL else 'missed'}")
    begun = time.process_time()
    Messages(book()).page(1, 0, SYMBOLS)
    made = 1e3 * (time.process_time() - begun)
    print(f"the first list of an edition, which makes the messages: {made:.0f} ms more")


if __name__ == "__main__":
    main()
