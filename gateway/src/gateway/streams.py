"""Responses that stay open: each belongs to a sign-in, and ends with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.model import SignInKey


class OpenStreams:
    """The open responses of this process, with the sign-ins that they were opened for."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Timeout, SignInKey] = {}

    @asynccontextmanager
    async def kept(self, request: web.Request, key: SignInKey) -> AsyncIterator[None]:
        """Run the block, which writes to an open response, until it or the sign-in ends.

        Check the sign-in inside of the block: then none that ends meanwhile is missed.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._open[scope] = key
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            # Who reads slowly, or not at all, would keep the connection open.
            if request.transport is not None and request.transport.get_write_buffer_size():
                request.transport.abort()
        finally:
            self._open.pop(scope, None)

    def end(self, is_ended: Callable[[SignInKey], bool]) -> None:
        """End the streams of the sign-ins that have ended."""
        now = asyncio.get_running_loop().time()
        for scope, key in self._open.items():
            if is_ended(key) and not scope.expired():
                scope.reschedule(now)


OPEN_STREAMS = web.AppKey("open_streams", OpenStreams)
