"""What a history of 1,260 bars costs as packed columns, and as one message per bar.

Both travel over the same kind of channel from a process of their own, and both ends are counted:
`python bench/history_columns.py` prints CPU per call and the ratio, by interleaved rounds.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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
    """Answer Columns, Bars and Cpu (this process's seconds so far) until standard input ends."""
    columns, message = some_columns(), bars_message()

    def handler(answer: Callable[[], bytes]) -> Any:
        async def behaviour(_request: bytes, _context: object) -> bytes:
            return answer()

        return grpc.unary_unary_rpc_method_handler(behaviour)

    methods = {
        "Columns": handler(partial(pack_columns, columns)),
        "Bars": handler(partial(pack_bars, message, columns)),
        "Cpu": handler(lambda: repr(time.process_time()).encode()),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", methods),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


async def measure() -> None:
    """Time both ways against a server in a process of its own; print a Markdown table."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdin  # noqa: S101 - both are pipes
    assert server.stdout  # noqa: S101
    port = int(await server.stdout.readline())
    message = bars_message()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def call(method: str) -> bytes:
            ask: Any = channel.unary_unary(f"/bench/{method}")
            answer: bytes = await ask(b"", timeout=10)
            return answer

        same = read_columns(await call("Columns"))
        other = read_bars(message, await call("Bars"))
        if any(not np.array_equal(same[name], other[name]) for name in same):
            raise SystemExit("the two ways do not say the same")
        sizes = [len(await call(method)) for method in ("Columns", "Bars")]
        rounds = []
        for _ in range(ROUNDS):
            columns = await cpu_of(call, "Columns", read_columns)
            bars = await cpu_of(call, "Bars", partial(read_bars, message))
            rounds.append((columns, bars))
    server.stdin.close()
    await server.wait()
    report(rounds, sizes)


async def cpu_of(
    call: Callable[[str], Awaitable[bytes]], method: str, read: Callable[[bytes], Columns]
) -> float:
    """CPU milliseconds of one call and of reading its answer, both processes together."""

    async def spent() -> float:
        return time.process_time() + float(await call("Cpu"))

    before = await spent()
    for _ in range(CALLS):
        read(await call(method))
    return 1000 * (await spent() - before) / CALLS


def report(rounds: list[tuple[float, float]], sizes: list[int]) -> None:
    """Print medians, spreads and the ratio."""
    ratios = [bars / columns for columns, bars in rounds]
    print("| a history of 1,260 bars as | CPU ms a call, both ends | bytes |\n|---|---|---|")
    for name, values, size in zip(
        ("packed columns", "a message per bar"), zip(*rounds, strict=True), sizes, strict=True
    ):
        print(
            f"| {name} | {statistics.median(values):.2f} "
            f"({min(values):.2f}–{max(values):.2f}) | {size:,} |"
        )
    ratio = statistics.median(ratios)
    verdict = "met" if ratio >= GOAL else "missed"
    print(
        f"\nratio {ratio:.1f} ({min(ratios):.1f}–{max(ratios):.1f}) over {ROUNDS} rounds; "
        f"goal {GOAL}: {verdict}"
    )


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1:] == ["serve"] else measure())
