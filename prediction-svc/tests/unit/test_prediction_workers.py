import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prediction_svc.workers import WorkerDiedError, Workers


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
        assert pid in {await workers.run(os.getpid) for _ in range(4)}


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
