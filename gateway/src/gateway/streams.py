"""Responses that stay open: each belongs to a sign-in, and ends with it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.model import SignInKey

# Then a browser comes back by itself, is checked anew, and its sign-in counts as used.
LONGEST_SECONDS = 900.0


class OpenStreams:
    """The open responses of this process, with the account and device that each was opened for."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Timeout, tuple[str, str]] = {}

    @asynccontextmanager
    async def kept(self, request: web.Request, key: SignInKey) -> AsyncIterator[None]:
        """Run the block, which writes to an open response, until it or the sign-in ends.

        Check the sign-in inside of the block: then none that ends meanwhile is missed.
        """
        scope = asyncio.timeout(LONGEST_SECONDS)
        # What subscription-svc names a device by, since the id itself is a secret.
        device_id = hashlib.sha256(key.sign_in_id.encode()).hexdigest()
        try:
            async with scope:
                self._open[scope] = key.account_id, device_id
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            # Who reads slowly, or not at all, would keep the connection open.
            if request.transport is not None and request.transport.get_write_buffer_size():
                request.transport.abort()
        finally:
            self._open.pop(scope, None)

    def end(self, account_id: str, device_id: str) -> None:
        """End the streams of a device, or of all devices of the account where it is empty."""
        for scope, (account, device) in self._open.items():
            if account == account_id and device_id in {"", device}:
                _end(scope)

    def end_all(self) -> None:
        """End all streams."""
        for scope in self._open:
            _end(scope)


def _end(scope: asyncio.Timeout) -> None:
    if not scope.expired():
        scope.reschedule(0)


OPEN_STREAMS = web.AppKey("open_streams", OpenStreams)
