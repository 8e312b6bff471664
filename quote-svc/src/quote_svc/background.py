"""Work that goes on beside what is asked for."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError

_log = logging.getLogger("foretick.quote")


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """`work` goes on while this is entered."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeated(
    step: Callable[[], Awaitable[float]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Do `step` again and again, each time after the seconds that it returned."""
    while True:
        try:
            wait = await step()
        except (DatabaseUnavailableError, LeaseLostError):
            wait = 1.0  # both are in their own logs already
        except Exception:  # noqa: BLE001 - logged; whatever a step raises, the next may pass
            _log.exception("a step of the background failed")
            wait = 5.0
        await sleep(wait)
