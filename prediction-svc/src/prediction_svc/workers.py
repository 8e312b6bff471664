"""Processes for heavy work, so that the serving process stays quick and small.

Two lanes of one spawned process each: *forecasting*, whose process lives on and keeps what it has
read, and *training*, whose process ends with each job, so that its memory is given back.
"""

import asyncio
import logging
import multiprocessing
import os
import pickle
import signal
import struct
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, ParamSpec, Self, TypeVar, TypeVarTuple

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Tell = Callable[[float, str], None]
"""How a job tells how far it is: what is done of it, 0 to 1, and what is being done."""

TELL_SECONDS = 0.25
_SIZE = struct.Struct("!Q")
_SPAWN = multiprocessing.get_context("spawn")  # fork and gRPC do not mix
_log = logging.getLogger("foretick.workers")


class WorkerDiedError(Exception):
    """A worker process ended in the middle of its work; the next call starts a new one."""


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    stage: str
    fraction: float
    """0 to 1."""


class Workers:
    """Both lanes; an asynchronous context manager that ends their processes on leaving."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._lane = asyncio.Lock()
        self._training: SpawnProcess | None = None
        self._left = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left = True
        if self._training is not None:
            self._training.kill()
        if self._pool is not None:
            await asyncio.to_thread(_end, self._pool)
            self._pool = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in the forecasting lane. Raises what it raises, or WorkerDiedError."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, _SPAWN, _start_worker)
        pool = self._pool
        try:
            work = partial(function, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(pool, work)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # nobody cancelled the caller: its work was queued when the pool ended
            raise WorkerDiedError("the workers ended") from error
        except BrokenProcessPool as error:
            if self._pool is pool:
                self._pool = None
                _log.warning("a worker process died; starting new ones")
                await asyncio.to_thread(_end, pool)
            raise WorkerDiedError("a worker process died") from error

    async def train(
        self,
        function: Callable[[*Ts, Tell], T],
        *args: *Ts,
        told: Callable[[Progress], None],
    ) -> T:
        """Run `function(*args, tell)` in the training lane, after what was asked of it before.

        What the job tells is handed to `told` on the event loop, a few times a second at most.
        Raises what the job raises, or WorkerDiedError. Cancelled, the process is killed.
        """
        async with self._lane:
            if self._left:
                raise WorkerDiedError("the workers ended")
            source, sink = _SPAWN.Pipe(duplex=False)
            orders, order = _SPAWN.Pipe(duplex=False)
            stream = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                partial(asyncio.StreamReaderProtocol, stream), source
            )
            process = _SPAWN.Process(target=_run_job, args=(orders, sink), daemon=True)
            process.start()
            orders.close()
            sink.close()  # the process has its own, so the pipe ends when it does
            self._training = process
            try:
                await _send_order(order, (function, args))
                result: T = await _result(stream, told)
                return result
            finally:
                self._training = None
                await _reap(process, stream)
                transport.close()


async def _send_order(order: Connection, work: object) -> None:
    """Begin to send what to do; big arguments are written while the new process reads them."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, order)
    transport.write(pickle.dumps(work, pickle.HIGHEST_PROTOCOL))
    transport.close()


async def _result(stream: asyncio.StreamReader, told: Callable[[Progress], None]) -> Any:
    while True:
        try:
            (size,) = _SIZE.unpack(await stream.readexactly(_SIZE.size))
            message = pickle.loads(await stream.readexactly(size))  # noqa: S301 - our own process
        except asyncio.IncompleteReadError as error:
            raise WorkerDiedError("the training process died") from error
        if isinstance(message, Progress):
            told(message)
        elif isinstance(message, BaseException):
            raise message
        else:
            (result,) = message
            return result


async def _reap(process: SpawnProcess, stream: asyncio.StreamReader) -> None:
    """End the process. The pipe ends after its memory is given back, so joining takes no time."""
    process.kill()
    while await stream.read(1 << 16):
        pass
    process.join()
    process.close()


def _run_job(orders: Connection, sink: Connection) -> None:
    _start_worker()
    try:
        with os.fdopen(orders.fileno(), "rb", closefd=False) as order:
            function, args = pickle.load(order)  # noqa: S301 - our parent's
        result = function(*args, _Teller(sink))
    except Exception as error:  # noqa: BLE001 - raised again where the job was asked for
        error.add_note("".join(traceback.format_exception(error)).rstrip())
        _send(sink, _portable(error))
    else:
        _send(sink, (result,))
    os._exit(0)  # nothing is left to do, and libraries take their time


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - whatever it is that cannot be pickled, its words can
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Teller:
    """Tells each new stage, and how far it is from time to time."""

    def __init__(self, sink: Connection) -> None:
        self._sink = sink
        self._stage = ""
        self._next = 0.0

    def __call__(self, fraction: float, stage: str) -> None:
        now = time.monotonic()
        if stage == self._stage and now < self._next:
            return
        self._stage, self._next = stage, now + TELL_SECONDS
        _send(self._sink, Progress(stage, fraction))


def _send(sink: Connection, message: object) -> None:
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    rest = memoryview(_SIZE.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(sink.fileno(), rest) :]


def _end(pool: ProcessPoolExecutor) -> None:
    # public from Python 3.14 on, as kill_workers()
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def _start_worker() -> None:
    os.nice(10)
    # a signal to the process group is the parent's to answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
