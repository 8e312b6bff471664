"""Finding what to follow, by part of a symbol or of a name."""

from aiohttp import web

from gateway.access import own_account, require_sign_in
from gateway.backends import BACKENDS
from gateway.csrf import CSRF
from gateway.forms import query_text
from gateway.gathering import attempt
from gateway.model import Reason
from gateway.pages import html_page, json_page, wants_json

FOUND = 8


async def search(request: web.Request) -> web.Response:
    """GET /search: the best matches for `q`, as a page, JSON, or a listbox below a field.

    The field that asks while one types is that of a symbol, and htmx sends it under its own name.
    """
    key = await require_sign_in(request)
    query = (query_text(request, "q") or query_text(request, "symbol")).strip()
    backends = request.app[BACKENDS]
    answer = await attempt(backends.search(query, FOUND)) if query else []
    reason = answer if isinstance(answer, Reason) else None
    found = [] if isinstance(answer, Reason) else answer
    if request.headers.get("HX-Request"):
        return html_page(request, "_found.html", found=found, query=query, reason=reason)
    token = request.app[CSRF].of_sign_in(key.sign_in_id)
    if wants_json(request):
        return json_page(
            {
                "found": [{"symbol": each.symbol, "name": each.name} for each in found],
                "reason": reason and {"reason": reason.reason, "message": reason.message},
                "csrf_token": token,
            }
        )
    account = await own_account(request, key)
    return html_page(
        request,
        "search.html",
        email=account.email,
        account=account,
        csrf_token=token,
        query=query,
        found=found,
        reason=reason,
    )
