"""GET /events: what changes on an open page."""

import asyncio

from aiohttp import HttpVersion11, web

from gateway.access import require_sign_in
from gateway.backends import BACKENDS
from gateway.boarding import BOARD, LIVE
from gateway.forms import query_text
from gateway.languages import spoken
from gateway.live import Client
from gateway.model import SignInKey
from gateway.problems import RequestError
from gateway.settings import SETTINGS
from gateway.streams import OPEN_STREAMS
from gateway.views_lists import chosen


async def events(request: web.Request) -> web.StreamResponse:
    """GET /events: what changes in ``list``, or the first, for as long as the sign-in holds."""
    app = request.app
    if app[SETTINGS].board == "off":
        raise RequestError(404, "NOT_FOUND", "There are no live updates without the board.")
    key = await require_sign_in(request)
    response = web.StreamResponse()
    response.content_type = "text/event-stream"
    # A proxy that gathers a response before it passes it on would pass on nothing.
    response.headers["X-Accel-Buffering"] = "no"
    async with app[OPEN_STREAMS].kept(request, key):
        symbols = await _shown(request, key)
        await response.prepare(request)
        # The headers go with the first bytes; what follows is written past aiohttp.
        await response.write(b":\n\n")
        response.headers.clear()  # thousands of these stay open, and this is a tenth of each
        if request.transport is None:
            return response
        client = Client(
            request.transport,
            request.version >= HttpVersion11,
            key.account_id,
            symbols,
            asyncio.get_running_loop().create_future(),
        )
        since = request.headers.get("Last-Event-ID") or request.query.get("since", "")
        with app[LIVE].joined(client, spoken(), since):
            await client.ended
    return response


async def _shown(request: web.Request, key: SignInKey) -> tuple[str, ...]:
    """The symbols of the list that the page shows, each a string that all who show it share."""
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    watchlist = chosen(subscriptions, query_text(request, "list"))
    entries = request.app[BOARD].look(each.symbol for each in subscriptions.of(watchlist))
    return tuple(each.symbol for each in entries)
