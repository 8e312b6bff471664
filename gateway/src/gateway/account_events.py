"""What happens to accounts, told by subscription-svc: what depends on it ends or is asked anew."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from gateway.accounts import ACCOUNTS
from gateway.backends import KNOWN_SIGN_INS
from gateway.boarding import LIVE
from gateway.streams import OPEN_STREAMS

_log = logging.getLogger("foretick.gateway")

PAUSE_SECONDS = 0.2
_ENDINGS = (
    pb.ACCOUNT_EVENT_KIND_SIGN_IN_REVOKED,
    pb.ACCOUNT_EVENT_KIND_ACCOUNT_DISABLED,
    pb.ACCOUNT_EVENT_KIND_ACCOUNT_DELETED,
)
# What ends a watch in good order: its own deadline, and a replica that stops.
_EXPECTED = (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE, StatusCode.CANCELLED)


async def account_events(app: web.Application) -> AsyncIterator[None]:
    """Watch while the application runs."""
    watch = asyncio.create_task(_Watch(app).run())
    yield
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch


class _Watch:
    """Ends what belongs to sign-ins that end, and goes on from where it was cut off."""

    def __init__(self, app: web.Application) -> None:
        self._accounts = app[ACCOUNTS]
        self._streams = app[OPEN_STREAMS]
        self._known = app[KNOWN_SIGN_INS]
        self._live = app[LIVE]
        self._version = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._until_cut_off()
            except AioRpcError as error:
                if error.code() not in _EXPECTED:
                    _log.warning("cannot watch accounts: %s %s", error.code().name, error.details())
            self._known.lose()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _until_cut_off(self) -> None:
        is_first = True
        async for message in self._accounts.watch(self._version):
            if is_first and not message.resumed:
                # Nobody knows what has ended meanwhile; whoever may go on comes back by itself.
                self._streams.end_all()
            if is_first:
                self._known.hear()
            is_first = False
            for event in message.events:
                self._known.drop(event.account_id, event.device_id)
                if event.kind in _ENDINGS:
                    self._streams.end(event.account_id, event.device_id)
                elif event.kind == pb.ACCOUNT_EVENT_KIND_SUBSCRIPTIONS_CHANGED:
                    self._live.list_changed(event.account_id)
            self._version = message.version
