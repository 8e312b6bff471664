"""Named lists: making and changing them, and what is in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from gateway.access import require_sign_in
from gateway.backends import BACKENDS
from gateway.csrf import CSRF
from gateway.forms import query_text, read_form
from gateway.list_csv import write
from gateway.lists import LISTS, Removal
from gateway.model import SignInKey, Subscription, Subscriptions, Watchlist
from gateway.pages import html_page, json_page, see_other, wants_json
from gateway.problems import RequestError, SignedOutError
from gateway.redirects import HOME, safe_next
from gateway.undo import UNDO

T = TypeVar("T")
MOST_OF_AN_ADDRESS = 1000
_STEPS = {"up": -1, "down": 1}


async def lists_page(request: web.Request) -> web.Response:
    """GET /lists."""
    return await _lists_page(request, await require_sign_in(request))


async def create(request: web.Request) -> web.Response:
    """POST /lists."""
    key = await require_sign_in(request)
    name = (await read_form(request)).text("name")
    try:
        made = await request.app[LISTS].create(key, name)
    except RequestError as error:
        return await _lists_page(request, key, error=error, entered={"": name})
    if wants_json(request):
        return json_page(list_json(made), status=201)
    return see_other(list_url(made.list_id))


async def rename(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/rename."""
    key, list_id = await require_sign_in(request), request.match_info["list_id"]
    name = (await read_form(request)).text("name")
    try:
        renamed = await request.app[LISTS].rename(key, list_id, name)
    except RequestError as error:
        return await _lists_page(request, key, error=error, entered={list_id: name})
    return await _done(request, list_json(renamed), "/lists")


async def delete(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/delete."""
    key, list_id = await require_sign_in(request), request.match_info["list_id"]
    removal = await request.app[LISTS].delete(key, list_id)
    content = {"id": list_id, "removed": [each.symbol for each in removal.entries]}
    return await removed(request, key, removal, content, "/lists")


async def move_list(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/move: up, down or top."""
    key, list_id = await require_sign_in(request), request.match_info["list_id"]
    to = (await read_form(request)).text("to")
    lists = (await request.app[BACKENDS].subscriptions(key)).lists
    order = moved([each.list_id for each in lists], list_id, to)
    return await _reordered_lists(request, key, order)


async def reorder_lists(request: web.Request) -> web.Response:
    """POST /lists/order."""
    key = await require_sign_in(request)
    return await _reordered_lists(request, key, (await read_form(request)).text("lists").split())


async def list_page(request: web.Request) -> web.Response:
    """GET /lists/{list_id}: where its order and notes are changed."""
    return await _list_page(request, await require_sign_in(request))


async def reorder(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/order."""
    key = await require_sign_in(request)
    return await _reordered(request, key, (await read_form(request)).text("symbols").split())


async def move(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/subscriptions/{symbol}/move: up, down or top."""
    key, symbol = await require_sign_in(request), request.match_info["symbol"]
    to = (await read_form(request)).text("to")
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    inside = subscriptions.of(chosen(subscriptions, request.match_info["list_id"]))
    return await _reordered(request, key, moved([each.symbol for each in inside], symbol, to))


async def note(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/subscriptions/{symbol}/note."""
    key, symbol = await require_sign_in(request), request.match_info["symbol"]
    list_id = request.match_info["list_id"]
    text = (await read_form(request)).text("note")
    try:
        changed = await request.app[LISTS].set_note(key, list_id, symbol, text)
    except RequestError as error:
        return await _list_page(request, key, error=error, entered={symbol: text})
    return await _done(request, subscription_json(changed), f"/lists/{changed.list_id}")


async def move_to_list(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/subscriptions/{symbol}/list."""
    key, symbol = await require_sign_in(request), request.match_info["symbol"]
    list_id = request.match_info["list_id"]
    target = (await read_form(request)).text("to_list")
    if not target:
        raise RequestError(400, "LIST_MISSING", "to_list must name a list.", "to_list")
    changed = await request.app[LISTS].move(key, list_id, symbol, target)
    return await _done(request, subscription_json(changed), f"/lists/{list_id}")


async def undo(request: web.Request) -> web.Response:
    """POST /undo: bring back what a page has offered to."""
    key = await require_sign_in(request)
    form = await read_form(request)
    removal = request.app[UNDO].unseal(key, form.text("undo"))
    await request.app[LISTS].undo(key, removal)
    list_ids = [each.list_id for each in removal.entries[:1]]
    if removal.watchlist is not None:
        list_ids = [removal.watchlist.list_id]
    location = safe_next(form.text("next")) if form.text("next") else list_url(*list_ids)
    symbols = [each.symbol for each in removal.entries]
    return (
        json_page({"restored": symbols, "list": removal.watchlist and list_json(removal.watchlist)})
        if wants_json(request)
        else see_other(location)
    )


async def removed(
    request: web.Request,
    key: SignInKey,
    removal: Removal,
    content: dict[str, Any],
    location: str,
) -> web.Response:
    """Answer with what the next page needs to offer to undo it; ``content`` is for programs."""
    sealed = request.app[UNDO].seal(key, removal)
    if wants_json(request):
        return json_page({**content, "undo": sealed})
    if sealed and removal.watchlist is None and len(sealed) <= MOST_OF_AN_ADDRESS:
        joined = "&" if "?" in location else "?"
        return see_other(f"{location}{joined}{urlencode({'undo': sealed})}")
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    return html_page(
        request,
        "removed.html",
        email=subscriptions.account.email,
        account=subscriptions.account,
        csrf_token=request.app[CSRF].of_sign_in(key.sign_in_id),
        removal=removal,
        sealed=sealed,
        text=write((each.symbol, "", each.note) for each in removal.entries),
        location=location,
    )


def chosen(subscriptions: Subscriptions, list_id: str) -> Watchlist:
    """Return the list of an id, the first for an empty one; raises `RequestError` 404."""
    for each in subscriptions.lists:
        if list_id in {"", each.list_id}:
            return each
    raise RequestError(404, "WATCHLIST_NOT_FOUND", "There is no such list.", "list")


def moved(order: Sequence[str], what: str, to: str) -> list[str]:
    """Return the order with one of it a step up or down, or on top; raises `RequestError`."""
    if what not in order:
        raise RequestError(404, "NOT_IN_THE_LIST", "It is not in the list any longer.")
    at = order.index(what)
    others = [each for each in order if each != what]
    if to == "top":
        return [what, *others]
    if to not in _STEPS:
        raise RequestError(400, "FIELD_MALFORMED", "to must be up, down or top.", "to")
    others.insert(max(0, at + _STEPS[to]), what)
    return others


def list_url(list_id: str = "", **more: str) -> str:
    """Return the address of the watchlist that shows this list."""
    query = {**({"list": list_id} if list_id else {}), **more}
    return f"{HOME}?{urlencode(query)}" if query else HOME


def list_json(watchlist: Watchlist) -> dict[str, str]:
    """Return a list as programs get it."""
    return {"id": watchlist.list_id, "name": watchlist.name}


def subscription_json(entry: Subscription) -> dict[str, str]:
    """Return a symbol of a list as programs get it."""
    return {"symbol": entry.symbol, "list": entry.list_id, "note": entry.note}


@dataclass(frozen=True, slots=True)
class UndoOffer:
    """What a page can offer to bring back."""

    sealed: str
    symbols: tuple[str, ...]


def undo_offer(request: web.Request, key: SignInKey) -> UndoOffer | None:
    """Return what the page can offer to bring back, as its address says; None if nothing."""
    sealed = query_text(request, "undo")
    if not sealed:
        return None
    try:
        removal = request.app[UNDO].unseal(key, sealed)
    except RequestError:  # it was an offer, and is over
        return None
    return UndoOffer(sealed, tuple(each.symbol for each in removal.entries))


async def _lists_page(
    request: web.Request,
    key: SignInKey,
    *,
    error: RequestError | None = None,
    entered: dict[str, str] | None = None,
) -> web.Response:
    """Show all lists; an error beside the field of the list that it is about."""
    _raise_unless_shown(request, error)
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    token = request.app[CSRF].of_sign_in(key.sign_in_id)
    if wants_json(request):
        lists = [
            {**list_json(each), "count": len(subscriptions.of(each))}
            for each in subscriptions.lists
        ]
        return json_page({"lists": lists, "csrf_token": token})
    return html_page(
        request,
        "lists.html",
        status=error.status if error else 200,
        email=subscriptions.account.email,
        account=subscriptions.account,
        csrf_token=token,
        lists=[(each, len(subscriptions.of(each))) for each in subscriptions.lists],
        error=error,
        entered=entered or {},
    )


async def _list_page(
    request: web.Request,
    key: SignInKey,
    *,
    error: RequestError | None = None,
    entered: dict[str, str] | None = None,
) -> web.Response:
    """Show what is in a list; an error beside the note that it is about."""
    _raise_unless_shown(request, error)
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    watchlist = chosen(subscriptions, request.match_info["list_id"])
    token = request.app[CSRF].of_sign_in(key.sign_in_id)
    if wants_json(request):
        inside = [subscription_json(each) for each in subscriptions.of(watchlist)]
        return json_page({**list_json(watchlist), "subs": inside, "csrf_token": token})
    return html_page(
        request,
        "list.html",
        status=error.status if error else 200,
        email=subscriptions.account.email,
        account=subscriptions.account,
        csrf_token=token,
        watchlist=watchlist,
        entries=subscriptions.of(watchlist),
        others=[each for each in subscriptions.lists if each != watchlist],
        error=error,
        entered=entered or {},
    )


def _raise_unless_shown(request: web.Request, error: RequestError | None) -> None:
    """Raise what is no matter of a field; programs get each error by itself."""
    if error is not None and (
        wants_json(request)
        or isinstance(error, SignedOutError)
        or error.field not in {"name", "note"}
    ):
        raise error


async def _reordered(request: web.Request, key: SignInKey, symbols: Sequence[str]) -> web.Response:
    list_id = request.match_info["list_id"]
    order = await request.app[LISTS].reorder(key, list_id, symbols)
    return await _done(request, {"list": list_id, "symbols": order}, f"/lists/{list_id}")


async def _reordered_lists(
    request: web.Request, key: SignInKey, list_ids: Sequence[str]
) -> web.Response:
    lists = await request.app[LISTS].reorder_lists(key, list_ids)
    return await _done(request, {"lists": [list_json(each) for each in lists]}, "/lists")


async def _done(request: web.Request, content: dict[str, Any], location: str) -> web.Response:
    """Answer programs with what is now; lead people to where the form says, or its own page."""
    if wants_json(request):
        return json_page(content)
    given = (await read_form(request)).text("next")
    return see_other(safe_next(given) if given else location)
