"""What a history of 1,260 bars costs as packed columns, and as one message per bar.

Both travel over the same kind of channel from a process of their own, and both ends are counted.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bench.processes import cpu_seconds, line_of, started
from bench.reporting import Entry, at_least, entry, ratios
from foretick.quote.v1 import quote_pb2 as pb

BARS = 1260
CALLS = 100
ROUNDS = 7
GOAL = 3.5
INTEGERS = ("session_days", "close_seconds")
PRICES = ("opens", "highs", "lows", "closes", "volumes", "dividends", "split_factors")
Columns = dict[str, np.ndarray[Any, Any]]


def bars_message() -> Any:
    """The message type that has a message for each bar; the contracts have no such thing."""
    file = descriptor_pb2.FileDescriptorProto(
        name="bars.proto", package="foretick.bench", syntax="proto3"
    )
    bar = file.message_type.add(name="Bar")
    field = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate((*INTEGERS, *PRICES), start=1):
        kind = field.TYPE_INT64 if name in INTEGERS else field.TYPE_DOUBLE
        bar.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    file.message_type.add(name="Bars").field.add(
        name="bars",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".foretick.bench.Bar",
        label=field.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("foretick.bench.Bars"))


def some_columns() -> Columns:
    """Five years of a random walk."""
    stream = np.random.default_rng(1)
    closes = 100 * np.exp(np.cumsum(stream.normal(0, 0.01, BARS)))
    days = np.arange(18_000, 18_000 + BARS)
    columns: Columns = {"session_days": days, "close_seconds": days * 86_400 + 75_600}
    columns |= {name: closes * (1 + place / 1000) for place, name in enumerate(PRICES)}
    return columns


def pack_columns(columns: Columns) -> bytes:
    """As the service answers."""
    return pb.GetHistoryResponse(**columns).SerializeToString()  # type: ignore[arg-type]


def pack_bars(message: Any, columns: Columns) -> bytes:
    """The same, a message for each bar."""
    names = tuple(columns)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    answer = message()
    for row in rows:
        answer.bars.add(**dict(zip(names, row, strict=True)))
    packed: bytes = answer.SerializeToString()
    return packed


def read_columns(packed: bytes) -> Columns:
    """As prediction-svc reads."""
    answer = pb.GetHistoryResponse.FromString(packed)
    return {name: np.array(getattr(answer, name)) for name in (*INTEGERS, *PRICES)}


def read_bars(message: Any, packed: bytes) -> Columns:
    """The same, from a message for each bar."""
    bars = message.FromString(packed).bars
    return {name: np.array([getattr(bar, name) for bar in bars]) for name in (*INTEGERS, *PRICES)}


async def serve() -> None:
    """Answer Columns and Bars until standard input ends."""
    columns, message = some_columns(), bars_message()

    def handler(answer: Callable[[], bytes]) -> Any:
        async def behaviour(_request: bytes, _context: object) -> bytes:
            return answer()

        return grpc.unary_unary_rpc_method_handler(behaviour)

    methods = {
        "Columns": handler(partial(pack_columns, columns)),
        "Bars": handler(partial(pack_bars, message, columns)),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", methods),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


def measure() -> list[Entry]:
    """CPU of a call by both ways, both ends counted, by interleaved rounds."""
    with started("bench.history_columns") as server:
        return asyncio.run(_measure(int(line_of(server)), server.pid))


async def _measure(port: int, server: int) -> list[Entry]:
    message = bars_message()
    pids = (server, os.getpid())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def call(method: str) -> bytes:
            ask: Any = channel.unary_unary(f"/bench/{method}")
            answer: bytes = await ask(b"", timeout=10)
            return answer

        same = read_columns(await call("Columns"))
        other = read_bars(message, await call("Bars"))
        if any(not np.array_equal(same[name], other[name]) for name in same):
            raise RuntimeError("the two ways do not say the same")
        sizes = [len(await call(method)) for method in ("Columns", "Bars")]
        columns, bars = [], []
        for _ in range(ROUNDS):
            columns.append(await _cpu_of(call, "Columns", read_columns, pids))
            bars.append(await _cpu_of(call, "Bars", partial(read_bars, message), pids))
    return [
        entry(
            "history",
            "1,260 bars, CPU of a message per bar over packed columns",
            ratios(bars, columns),
            "×",
            at_least(GOAL),
        ),
        entry("history", "packed columns, CPU of both ends", columns, "ms"),
        entry("history", "a message per bar, CPU of both ends", bars, "ms"),
        entry("history", "packed columns", sizes[:1], "bytes"),
        entry("history", "a message per bar", sizes[1:], "bytes"),
    ]


async def _cpu_of(
    call: Callable[[str], Awaitable[bytes]],
    method: str,
    read: Callable[[bytes], Columns],
    pids: tuple[int, ...],
) -> float:
    """CPU milliseconds of one call and of reading its answer."""
    before = cpu_seconds(*pids)
    for _ in range(CALLS):
        read(await call(method))
    return 1000 * (cpu_seconds(*pids) - before) / CALLS


if __name__ == "__main__":
    asyncio.run(serve())
