import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prediction_svc.workers import Progress, Tell, WorkerDiedError, Workers


async def test_a_worker_that_dies_is_replaced() -> None:
    async with Workers() as workers:
        pid = await workers.run(os.getpid)
        assert pid != os.getpid()
        with pytest.raises(WorkerDiedError):
            await workers.run(os._exit, 3)
        again = await workers.run(os.getpid)
        assert again not in {pid, os.getpid()}


async def test_what_a_worker_raises_is_raised() -> None:
    async with Workers() as workers:
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 1, 0)


async def test_workers_leave_signals_to_their_parent_and_yield_the_processor() -> None:
    async with Workers() as workers:
        pid = await workers.run(os.getpid)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        assert await workers.run(os.nice, 0) == os.nice(0) + 10
        assert pid == await workers.run(os.getpid)


async def test_leaving_ends_work_under_way() -> None:
    async with Workers() as workers:
        pid = await workers.run(os.getpid)
        # More than the workers take: some are under way, some are queued.
        endless = [asyncio.create_task(workers.run(signal.pause)) for _ in range(8)]
        await asyncio.sleep(0)
    for end in await asyncio.gather(*endless, return_exceptions=True):
        assert isinstance(end, WorkerDiedError)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


PARENT = """
import asyncio, os
from prediction_svc.workers import Workers

async def main():
    async with Workers() as workers:
        print(await workers.run(os.getpid), flush=True)
        await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) != parent.pid
        parent.kill()
        # workers hold the other end of the pipe until they end
        parent.communicate(timeout=10)


def _told_job(steps: int, tell: Tell) -> tuple[int, int, int]:
    for step in range(steps):
        tell(step / steps, "counting")
    tell(1.0, "ending")
    return os.getpid(), os.nice(0), steps


def _failing_job(_tell: Tell) -> None:
    raise ZeroDivisionError("nothing to divide by")


class _OneWordError(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def _unpicklable_failure(_tell: Tell) -> None:
    raise _OneWordError("this", "that")


def _dying_job(code: int, _tell: Tell) -> None:
    os._exit(code)


def _endless_job(tell: Tell) -> None:
    tell(0.5, str(os.getpid()))
    signal.pause()


def _length_job(body: bytes, tell: Tell) -> bytes:
    tell(0.0, "doubling")
    return 2 * body


def _ignore(_progress: Progress) -> None:
    pass


async def test_each_training_has_a_process_of_its_own_that_ends() -> None:
    told: list[Progress] = []
    async with Workers() as workers:
        first, niceness, steps = await workers.train(_told_job, 50_000, told=told.append)
        second, _, _ = await workers.train(_told_job, 2, told=_ignore)
    assert len({first, second, os.getpid()}) == 3
    assert (niceness, steps) == (os.nice(0) + 10, 50_000)
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    # 50,000 steps take well under a second, so few of them are told
    assert [progress.stage for progress in told][-1] == "ending"
    assert told[0] == Progress("counting", 0.0)
    assert 2 <= len(told) < 20


async def test_what_a_training_raises_is_raised_with_its_traceback() -> None:
    async with Workers() as workers:
        with pytest.raises(ZeroDivisionError, match="nothing to divide by") as raised:
            await workers.train(_failing_job, told=_ignore)
        assert "_failing_job" in raised.value.__notes__[0]
        with pytest.raises(RuntimeError, match="_OneWordError: this and that"):
            await workers.train(_unpicklable_failure, told=_ignore)


async def test_a_training_that_dies_is_told_and_the_next_one_runs() -> None:
    async with Workers() as workers:
        with pytest.raises(WorkerDiedError):
            await workers.train(_dying_job, 3, told=_ignore)
        assert (await workers.train(_told_job, 1, told=_ignore))[2] == 1


async def test_trainings_take_and_return_more_than_a_pipe_holds() -> None:
    body = bytes(range(256)) * 4096
    async with Workers() as workers:
        assert await workers.train(_length_job, body, told=_ignore) == 2 * body


async def _training_for_ever(workers: Workers) -> tuple["asyncio.Task[None]", int]:
    told: asyncio.Queue[Progress] = asyncio.Queue()
    task = asyncio.create_task(workers.train(_endless_job, told=told.put_nowait))
    return task, int((await asyncio.wait_for(told.get(), 30)).stage)


async def test_cancelling_a_training_kills_its_process() -> None:
    async with Workers() as workers:
        task, pid = await _training_for_ever(workers)
        queued = asyncio.create_task(workers.train(_told_job, 1, told=_ignore))
        assert await workers.run(os.getpid) != pid  # the other lane goes on meanwhile
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert (await queued)[2] == 1


async def test_cancelling_does_not_wait_for_what_the_process_has_not_read() -> None:
    async with Workers() as workers:
        task = asyncio.create_task(workers.train(_length_job, bytes(1 << 25), told=_ignore))
        while workers._training is None:  # noqa: ASYNC110 - the lane has no event for it
            await asyncio.sleep(0)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        # less than a process takes to begin
        assert time.monotonic() - began < 1


async def test_leaving_ends_the_training_under_way_and_those_that_wait() -> None:
    async with Workers() as workers:
        task, pid = await _training_for_ever(workers)
        queued = asyncio.create_task(workers.train(_told_job, 1, told=_ignore))
        await asyncio.sleep(0)
    for end in await asyncio.gather(task, queued, return_exceptions=True):
        assert isinstance(end, WorkerDiedError)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
