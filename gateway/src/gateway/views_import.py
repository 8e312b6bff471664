"""Importing into a list, in two steps, and exporting it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from gateway.access import require_sign_in
from gateway.backends import BACKENDS, Backends
from gateway.csrf import CSRF
from gateway.forms import Form, read_form
from gateway.gathering import attempt
from gateway.list_csv import TOO_LARGE, BadLine, Line, decode, parse, write
from gateway.lists import LISTS
from gateway.model import Quotes, SignInKey, Subscription, Subscriptions, Watchlist
from gateway.pages import html_page, json_page, wants_json
from gateway.problems import RequestError
from gateway.views_lists import chosen, list_json

PENDING = "HISTORY_PENDING"
MOST_TEXT_BYTES = 60 * 1024  # which leaves a form some room for what else it carries


@dataclass(frozen=True, slots=True)
class Candidate:
    """A good line: what its symbol is called, if prices are yet to come, if it is there already."""

    line: Line
    name: str
    pending: bool
    there: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would do."""

    candidates: list[Candidate]
    bad: list[BadLine]

    @property
    def text(self) -> str:
        """What would be followed, as the second step is sent it."""
        new = (each.line for each in self.candidates if not each.there)
        return write((each.symbol, "", each.note) for each in new)


async def import_page(request: web.Request) -> web.Response:
    """GET /lists/{list_id}/import."""
    key = await require_sign_in(request)
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    watchlist = chosen(subscriptions, request.match_info["list_id"])
    if wants_json(request):
        token = request.app[CSRF].of_sign_in(key.sign_in_id)
        return json_page({"list": list_json(watchlist), "csrf_token": token})
    return _page(request, key, subscriptions, watchlist)


async def preview(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/import: say what would be imported; nothing is stored."""
    key = await require_sign_in(request)
    form = await read_form(request)
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    watchlist = chosen(subscriptions, request.match_info["list_id"])
    try:
        text = _given(form)
        found = await _looked_up(request.app[BACKENDS], text, subscriptions.of(watchlist))
    except RequestError as error:
        if wants_json(request) or error.field is None:
            raise
        return _page(request, key, subscriptions, watchlist, error)
    if wants_json(request):
        return json_page({"list": list_json(watchlist), **_preview_json(found)})
    return _page(request, key, subscriptions, watchlist, found)


async def commit(request: web.Request) -> web.Response:
    """POST /lists/{list_id}/import/commit: check again, and follow what is good."""
    key = await require_sign_in(request)
    text = _given(await read_form(request))
    subscriptions = await request.app[BACKENDS].subscriptions(key)
    watchlist = chosen(subscriptions, request.match_info["list_id"])
    found = await _looked_up(request.app[BACKENDS], text, subscriptions.of(watchlist))
    entries = [
        Subscription(each.line.symbol, watchlist.list_id, each.line.note, 0, None)
        for each in found.candidates
    ]
    outcomes = (
        await request.app[LISTS].import_all(key, watchlist.list_id, entries) if entries else []
    )
    by_result: dict[str, list[Any]] = {"added": [], "already_there": [], "refused": []}
    for each in outcomes:
        by_result[each.result].append(each)
    if wants_json(request):
        content: dict[str, Any] = {
            "list": list_json(watchlist),
            "added": [each.symbol for each in by_result["added"]],
            "alreadyThere": [each.symbol for each in by_result["already_there"]],
            "refused": [
                {"symbol": each.symbol, "message": each.message} for each in by_result["refused"]
            ],
            "bad": [_bad_json(each) for each in found.bad],
        }
        return json_page(content)
    return html_page(
        request,
        "imported.html",
        email=subscriptions.account.email,
        account=subscriptions.account,
        csrf_token=request.app[CSRF].of_sign_in(key.sign_in_id),
        watchlist=watchlist,
        outcomes=by_result,
        bad=found.bad,
    )


async def export(request: web.Request) -> web.Response:
    """GET /lists/{list_id}/export.csv: a file, whatever is preferred."""
    key = await require_sign_in(request)
    backends = request.app[BACKENDS]
    subscriptions = await backends.subscriptions(key)
    watchlist = chosen(subscriptions, request.match_info["list_id"])
    inside = subscriptions.of(watchlist)
    quotes = await attempt(backends.quotes([each.symbol for each in inside])) if inside else None
    names = (
        {each.symbol: each.name for each in quotes.found.values() if each.name != each.symbol}
        if isinstance(quotes, Quotes)
        else {}
    )
    text = write((each.symbol, names.get(each.symbol, ""), each.note) for each in inside)
    # RFC 6266: the first for whoever can't read the second, which may be of any alphabet.
    disposition = (
        f"attachment; filename=watchlist.csv; filename*=UTF-8''{quote(watchlist.name, safe='')}.csv"
    )
    headers = {"Content-Disposition": disposition}
    return web.Response(text=text, content_type="text/csv", charset="utf-8", headers=headers)


def _given(form: Form) -> str:
    """Return the text of the file, or else of the field; raises `RequestError` 400."""
    try:
        text = decode(form.upload("file")) or form.text("text")
    except ValueError as error:
        raise RequestError(400, "IMPORT_MALFORMED", str(error), "file") from error
    if len(text.encode()) > MOST_TEXT_BYTES:  # a file in UTF-16 grows
        raise RequestError(400, "IMPORT_MALFORMED", TOO_LARGE, "file")
    return text


async def _looked_up(backends: Backends, text: str, inside: tuple[Subscription, ...]) -> Preview:
    """Read the text and ask the market for all of its symbols at once."""
    try:
        parsed = parse(text)
    except ValueError as error:
        raise RequestError(400, "IMPORT_MALFORMED", str(error), "text") from error
    there = {each.symbol for each in inside}
    found = Preview([], list(parsed.bad))
    quotes = await backends.quotes([each.symbol for each in parsed.lines]) if parsed.lines else None
    for line in parsed.lines:
        assert quotes is not None  # noqa: S101 - there are lines
        known, reason = quotes.found.get(line.symbol), quotes.missing.get(line.symbol)
        is_there = line.symbol in there
        if known or is_there or (reason and reason.reason == PENDING):
            name = known.name if known and known.name != line.symbol else ""
            pending = known is None and not is_there
            found.candidates.append(Candidate(line, name, pending, is_there))
        else:
            message = reason.message if reason else "Nothing was answered for this symbol."
            found.bad.append(BadLine(line.number, line.symbol, message))
    found.bad.sort(key=lambda each: each.number)
    return found


def _page(
    request: web.Request,
    key: SignInKey,
    subscriptions: Subscriptions,
    watchlist: Watchlist,
    shown: Preview | RequestError | None = None,
) -> web.Response:
    error = shown if isinstance(shown, RequestError) else None
    return html_page(
        request,
        "import.html",
        status=error.status if error else 200,
        email=subscriptions.account.email,
        account=subscriptions.account,
        csrf_token=request.app[CSRF].of_sign_in(key.sign_in_id),
        watchlist=watchlist,
        error=error,
        preview=shown if isinstance(shown, Preview) else None,
    )


def _preview_json(found: Preview) -> dict[str, Any]:
    return {
        "lines": [
            {
                "line": each.line.number,
                "symbol": each.line.symbol,
                "note": each.line.note,
                "name": each.name or None,
                "pending": each.pending,
                "alreadyThere": each.there,
            }
            for each in found.candidates
        ],
        "bad": [_bad_json(each) for each in found.bad],
        "text": found.text,
    }


def _bad_json(line: BadLine) -> dict[str, Any]:
    return {"line": line.number, "text": line.text, "message": line.message}
