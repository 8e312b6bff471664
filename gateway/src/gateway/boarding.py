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
from gateway.live import Live
from gateway.model import Forecasts, Quotes
from gateway.settings import SETTINGS
from gateway.surroundings import Poll

BOARD = web.AppKey("board", Board)
POLL = web.AppKey("poll", Poll)
FRAGMENTS = web.AppKey("fragments", Fragments)
LIVE = web.AppKey("live", Live)


async def end_live(app: web.Application) -> None:
    """Let open pages go in good order; they come back to whoever serves next."""
    app[LIVE].close()


async def boarding(app: web.Application) -> AsyncIterator[None]:
    """Keep the board up to date while the application runs."""
    backends = app[BACKENDS]
    is_on = app[SETTINGS].board == "on"
    board = app[BOARD] = Board(time.monotonic)
    poll = app[POLL] = Poll(backends, board, time.monotonic)
    fragments = app[FRAGMENTS] = Fragments(aiohttp_jinja2.get_env(app), keeps=is_on)
    live = app[LIVE] = Live(board, poll, fragments, time.monotonic)
    quotes = Feed[Quotes](board, board.quotes, backends.watch_quotes, board.take_quotes)
    forecasts = Feed[Forecasts](
        board, board.forecasts, backends.watch_forecasts, board.take_forecasts
    )
    board.listeners += [poll.check_market, live.take]
    poll.listeners.append(live.look_around)
    board.wanted += [quotes.want, forecasts.want]
    running = [poll.run(), quotes.run(), forecasts.run(), live.run(), live.beat()]
    tasks = [asyncio.create_task(each) for each in running]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
