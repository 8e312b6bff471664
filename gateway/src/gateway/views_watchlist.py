"""The watchlist: what it shows, adding to it and removing from it."""

import asyncio
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from gateway.access import own_subscriptions, require_sign_in
from gateway.arranging import Arrangement, arranged, arrangement
from gateway.backends import BACKENDS, Backends
from gateway.boarding import BOARD, FRAGMENTS, POLL
from gateway.csrf import CSRF
from gateway.drawings import scale_end
from gateway.forms import query_text, read_form
from gateway.fragments import Drawn, Fragments, Shown
from gateway.gathering import Surroundings, gather, similar
from gateway.lists import LISTS
from gateway.model import Quotes, SignInKey, Subscriptions, Watchlist
from gateway.pages import frame, html_bytes, json_page, see_other, wants_json
from gateway.problems import RequestError, SignedOutError
from gateway.settings import SETTINGS
from gateway.views_lists import chosen, list_json, list_url, removed, undo_offer
from gateway.watchlist import (
    Row,
    fetching_json,
    market_json,
    reason_json,
    row_json,
    training_json,
)

AS_IT_IS = Arrangement()
ADDING_SECONDS = 6.0
PENDING_PAUSE_SECONDS = 0.1
# What has not come by then is pending on a page, and comes later.
PAGE_PATIENCE_SECONDS = 0.15
PROGRAM_PATIENCE_SECONDS = 2.0
_STATUS_OF_MISSING = {
    "SYMBOL_NOT_FOUND": 404,
    "HISTORY_PENDING": 503,
    "SOURCE_RATE_LIMITED": 503,
    "SOURCE_UNREACHABLE": 503,
    "SOURCE_NONSENSE": 503,
}


async def subscribe_list(request: web.Request) -> web.Response:
    """GET /subscribeList."""
    return await _watchlist(request, await require_sign_in(request), query_text(request, "list"))


async def add(request: web.Request) -> web.Response:
    """POST /subscriptions."""
    key = await require_sign_in(request)
    form = await read_form(request)
    entered, list_id = form.text("symbol"), form.text("list")
    backends = request.app[BACKENDS]
    try:
        symbol = await _known_symbol(backends, entered)
        created = await backends.add_subscription(key, symbol, list_id)
    except RequestError as error:
        return await _refused(request, key, error, entered, list_id)
    if wants_json(request):
        return json_page({"symbol": symbol, "created": created}, status=201 if created else 200)
    return see_other(list_url(list_id))


async def remove(request: web.Request) -> web.Response:
    """POST /subscriptions/{symbol}/delete."""
    key = await require_sign_in(request)
    symbol, list_id = request.match_info["symbol"], (await read_form(request)).text("list")
    try:
        removal = await request.app[LISTS].remove(key, symbol, list_id)
    except RequestError as error:
        return await _refused(request, key, error, "", list_id)
    content = {"symbol": symbol, "removed": True}
    return await removed(request, key, removal, content, list_url(list_id))


async def _known_symbol(backends: Backends, entered: str) -> str:
    """Return the symbol as the market spells it; raises `RequestError` if it can't be followed."""
    try:
        answer = await _answer_at_last(backends, entered)
    except RequestError as error:
        if error.status >= 500:
            error.message += " Nothing was stored."
        raise
    for quote in answer.found.values():
        return quote.symbol
    reason = next(iter(answer.missing.values()))
    status = _STATUS_OF_MISSING.get(reason.reason, 400)
    message = reason.message[:500] + (" Nothing was stored." if status >= 500 else "")
    refused = RequestError(status, reason.reason, message, "symbol")
    if status == 404:
        refused.suggestions = [
            {"symbol": each.symbol, "name": each.name}
            for each in await similar(backends, entered.strip())
        ]
    raise refused


async def _answer_at_last(backends: Backends, entered: str) -> Quotes:
    """Ask for the symbol's quote; where its history has to be fetched first, wait for that."""
    give_up = time.monotonic() + ADDING_SECONDS
    while True:
        answer = await backends.quotes([entered])
        is_pending = any(each.reason == "HISTORY_PENDING" for each in answer.missing.values())
        if not is_pending or time.monotonic() > give_up:
            return answer
        await asyncio.sleep(PENDING_PAUSE_SECONDS)


async def _refused(
    request: web.Request, key: SignInKey, error: RequestError, entered: str, list_id: str
) -> web.Response:
    """Show the watchlist again with the error beside the field."""
    is_outage = error.status >= 500 and error.field is None
    if isinstance(error, SignedOutError) or is_outage or error.reason == "WATCHLIST_NOT_FOUND":
        raise error
    error.field = error.field or "symbol"
    if wants_json(request):
        raise error
    return await _watchlist(request, key, list_id, error=error, entered=entered[:64])


async def _watchlist(
    request: web.Request,
    key: SignInKey,
    list_id: str,
    *,
    error: RequestError | None = None,
    entered: str = "",
) -> web.Response:
    app = request.app
    subscriptions = await own_subscriptions(request, key)
    watchlist = chosen(subscriptions, list_id)
    notes = subscriptions.notes(watchlist)
    token = app[CSRF].of_sign_in(key.sign_in_id)
    if wants_json(request):
        around, rows = await _for_programs(app, tuple(symbol for symbol, _ in notes))
        return _as_json(subscriptions, watchlist, around, rows, token)
    order, undo = AS_IT_IS, None
    if request.query_string:
        order = arrangement(query_text(request, "sort"), query_text(request, "filter"))
        undo = undo_offer(request, key)
    around, shown, since = await _for_people(app, notes, order)
    fragments = app[FRAGMENTS]
    market, notices = fragments.around(around)
    pieces: dict[str, Sequence[bytes]] = {
        "market": (market,),
        "notices": (notices,),
        "since": (since.encode(),),
    }
    if shown.rows:
        pieces["rows"] = shown.rows
    context = {
        **frame(request),
        "email": subscriptions.account.email,
        "account": subscriptions.account,
        "csrf_token": token,
        "lists": subscriptions.lists,
        "watchlist": watchlist,
        "undo": undo,
        "order": order,
        "is_empty": not notes,
        "has_rows": bool(shown.rows),
        "is_pending": shown.is_pending,
        "scale_end": scale_end(shown.reach),
        "prices_down": around.price_reason is not None,
        "forecasts_down": around.forecast_reason is not None,
        "offered": () if notes else around.offered,
        "error": error,
        "entered": entered,
    }
    return html_bytes(request, fragments.page("subscription.html", pieces, context), error)


async def _for_people(
    app: web.Application, notes: tuple[tuple[str, str], ...], order: Arrangement
) -> tuple[Surroundings, Shown, str]:
    """What a page shows at once, in its order, and which state of the board it is."""
    fragments, board = app[FRAGMENTS], app[BOARD]
    if app[SETTINGS].board == "off":
        around, rows = await gather(app[BACKENDS], tuple(symbol for symbol, _ in notes))
        return (
            around,
            _drawn(fragments, notes, arranged(rows, order, dict(notes)), fragments.draw),
            "",
        )
    now = time.monotonic()
    shown = fragments.shown(board, notes, now)
    if shown.number != board.number or shown.is_pending:
        await board.answered(shown.entries, now + PAGE_PATIENCE_SECONDS)
    await app[POLL].look(now + PAGE_PATIENCE_SECONDS)
    if order == AS_IT_IS:
        fragments.bring_up(board, shown)
    else:
        rows = arranged([board.row(entry) for entry in shown.entries], order, dict(notes))
        shown = _drawn(
            fragments, notes, rows, lambda row: fragments.drawn(board, board.entries[row.symbol])
        )
    return app[POLL].known, shown, board.token


def _drawn(
    fragments: Fragments,
    notes: tuple[tuple[str, str], ...],
    rows: Sequence[Row],
    draw: Callable[[Row], Drawn],
) -> Shown:
    """Some rows of a list, in an order of their own."""
    note_of = dict(notes)
    shown = Shown([fragments.tail(row.symbol, note_of[row.symbol]) for row in rows])
    shown.set_rows([draw(row) for row in rows])
    return shown


async def _for_programs(
    app: web.Application, symbols: tuple[str, ...]
) -> tuple[Surroundings, list[Row]]:
    """What programs get, which have no live updates and so wait longer."""
    if app[SETTINGS].board == "off":
        return await gather(app[BACKENDS], symbols)
    board = app[BOARD]
    entries = board.look(symbols)
    give_up = time.monotonic() + PROGRAM_PATIENCE_SECONDS
    await app[POLL].look(give_up)
    await board.answered(entries, give_up)
    return app[POLL].known, board.rows_for_programs(entries)


def _as_json(
    subscriptions: Subscriptions,
    watchlist: Watchlist,
    around: Surroundings,
    rows: list[Row],
    token: str,
) -> web.Response:
    notes = {each.symbol: each.note for each in subscriptions.of(watchlist)}
    return json_page(
        {
            "subs": [{**row_json(row), "note": notes[row.symbol]} for row in rows],
            "lists": [list_json(each) for each in subscriptions.lists],
            "list": watchlist.list_id,
            "market": market_json(around.market, around.market_time) if around.market else None,
            "priceReason": reason_json(around.price_reason),
            "forecastReason": reason_json(around.forecast_reason),
            "training": training_json(around.training),
            "fetching": fetching_json(around.fetching),
            "email": subscriptions.account.email,
            "csrf_token": token,
        }
    )
