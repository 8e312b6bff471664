"""Processes for heavy work, so that the serving process stays quick and small."""

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

WORKERS = 2  # one trains while the other forecasts
_log = logging.getLogger("foretick.workers")


class WorkerDiedError(Exception):
    """A worker process ended in the middle of its work; the next call starts new ones."""


class Workers:
    """Up to two spawned processes; an asynchronous context manager that ends them on leaving."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await asyncio.to_thread(_end, self._pool)
            self._pool = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in a worker. Raises what it raises, or WorkerDiedError."""
        if self._pool is None:
            # fork and gRPC do not mix
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(WORKERS, context, _start_worker)
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
