"""Waiting for what comes by itself."""

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.02


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it holds; raises TimeoutError where it never does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await check():  # noqa: ASYNC110 - what comes is told by another process
            await asyncio.sleep(PAUSE_SECONDS)
