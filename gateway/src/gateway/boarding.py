"""Sets the board up, with what feeds it and what renders it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp_jinja2
from aiohttp import web

from gateway.backends import BACKENDS
from gateway.board import Board
from gateway.feeding import Feed
from gateway.fragments import Fragments
from gateway.model import Forecasts, Quotes
from gateway.settings import SETTINGS
from gateway.surroundings import Poll

BOARD = web.AppKey("board", Board)
POLL = web.AppKey("poll", Poll)
FRAGMENTS = web.AppKey("fragments", Fragments)


async def boarding(app: web.Application) -> AsyncIterator[None]:
    """Keep the board up to date while the application runs."""
    backends = app[BACKENDS]
    is_on = app[SETTINGS].board == "on"
    board = app[BOARD] = Board(time.monotonic)
    poll = app[POLL] = Poll(backends, board, time.monotonic)
    app[FRAGMENTS] = Fragments(aiohttp_jinja2.get_env(app), keeps=is_on)
    quotes = Feed[Quotes](board, board.quotes, backends.watch_quotes, board.take_quotes)
    forecasts = Feed[Forecasts](
        board, board.forecasts, backends.watch_forecasts, board.take_forecasts
    )
    board.listeners.append(poll.check_market)
    board.wanted += [quotes.want, forecasts.want]
    tasks = [asyncio.create_task(each.run()) for each in (poll, quotes, forecasts)]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
