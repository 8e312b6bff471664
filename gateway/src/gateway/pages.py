"""Answers as HTML or JSON."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web
from markupsafe import Markup

from foretick_rpc.logs import request_id
from gateway import record_wording, wording
from gateway.assets import ASSETS, TAKES_GZIP, asset_url
from gateway.drawings import drawn_move
from gateway.languages import N_, _, languages, ngettext, spoken
from gateway.looks import look_of
from gateway.negotiation import prefers_json
from gateway.problems import RequestError
from gateway.record_model import percent_of
from gateway.redirects import HOME
from gateway.told import told

_FILTERS: dict[str, Callable[..., Any]] = {
    "price": wording.price,
    "percent": wording.percent,
    "direction": wording.direction,
    "plain": wording.plain,
    "day": wording.day,
    "instant": wording.instant,
    "date": wording.date_of,
    "device": wording.device,
    "event": wording.event,
    "time_left": wording.time_left,
    "told": told,
    "drawn_move": lambda move: f"{drawn_move(move):g}",
    "count": wording.count,
    "share": wording.share,
    "decimal": wording.decimal,
    "signed": wording.signed,
    "places": wording.percent_places,
    "simple_move": percent_of,
    "feature": record_wording.feature,
    "why_missing": record_wording.reason,
}

# Floats that JSON has no form for are a fault here, not something to send.
_dumps: Callable[[Any], str] = partial(json.dumps, allow_nan=False, ensure_ascii=False)

TITLES = {
    400: N_("That can't be done"),
    401: N_("Sign in first"),
    403: N_("Not allowed"),
    404: N_("Not found"),
    405: N_("Not possible here"),
    409: N_("Already there"),
    413: N_("Too large"),
    415: N_("Not a form"),
    429: N_("Too many requests"),
    500: N_("Something went wrong"),
    503: N_("Not available at the moment"),
    504: N_("That took too long"),
}


def setup_pages(app: web.Application) -> None:
    """Set the templates up, with the words and addresses that they use."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("gateway"),
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        filters=_FILTERS,
    )
    environment.policies["ext.i18n.trimmed"] = True
    # Templates are compiled once, for all languages: which one it is, they ask when they write.
    environment.install_gettext_callables(_, ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.globals["language"] = spoken
    environment.globals["languages"] = languages()
    environment.globals["asset"] = partial(asset_url, app[ASSETS])
    environment.globals["forecasters"] = wording.FORECASTERS
    environment.globals["states"] = wording.STATES
    environment.globals["outcomes"] = record_wording.OUTCOMES
    environment.globals["kinds"] = record_wording.KINDS
    environment.globals["baselines"] = record_wording.BASELINES
    environment.globals["registrations"] = wording.REGISTRATIONS


def wants_json(request: web.Request) -> bool:
    """Tell whether the request is better answered with JSON than with HTML."""
    return prefers_json(",".join(request.headers.getall("Accept", ())))


def json_page(content: dict[str, Any], status: int = 200) -> web.Response:
    """Answer with JSON."""
    return web.json_response(content, status=status, dumps=_dumps)


def html_page(
    request: web.Request, template: str, *, status: int = 200, **context: Any
) -> web.Response:
    """Answer with a rendered template.

    ``email`` and ``csrf_token`` make the signed-in header; ``account`` is for administrators.
    """
    context = {**frame(request), **context}
    response = aiohttp_jinja2.render_template(template, request, context, status=status)
    return _retried(response, context["error"])


def frame(request: web.Request) -> dict[str, Any]:
    """What every page shows around its content; at first, to nobody in particular."""
    return {
        "look": look_of(request.cookies),
        "here": request.path,
        # Where a form that any page has leads back to.
        "address": request.path_qs if request.method == "GET" else HOME,
        "email": None,
        "account": None,
        "csrf_token": None,
        "error": None,
    }


def html_bytes(
    request: web.Request, body: bytes, error: RequestError | None = None
) -> web.Response:
    """Answer with a page that is rendered already; compressed, in a thread, for whoever asks."""
    response = web.Response(
        body=body,
        status=error.status if error else 200,
        headers={"Content-Type": "text/html; charset=utf-8"},
        zlib_executor_size=1024,
    )
    accepted = request.headers.get("Accept-Encoding")
    if accepted and TAKES_GZIP.search(accepted):
        response.enable_compression(web.ContentCoding.gzip)
    return _retried(response, error)


def _retried(response: web.Response, error: RequestError | None) -> web.Response:
    if error is not None and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def part(request: web.Request, template: str, **context: Any) -> Markup:
    """Render a template that is a part of a page."""
    environment = aiohttp_jinja2.get_env(request.app)
    return Markup(environment.get_template(template).render(context))  # noqa: S704 - escaped there


def see_other(location: str) -> web.Response:
    """Lead the browser to another page, by GET."""
    return web.Response(status=303, headers={"Location": location})


def error_page(request: web.Request, error: RequestError) -> web.Response:
    """Answer with an error: its reason, message, field, and the id to find it in the logs."""
    if wants_json(request):
        content: dict[str, Any] = {"reason": error.reason, "message": error.message}
        if error.field:
            content["field"] = error.field
        if error.suggestions:
            content["suggestions"] = error.suggestions
        content["requestId"] = request_id.get()
        return _retried(json_page({"error": content}, status=error.status), error)
    return html_page(
        request,
        "error.html",
        status=error.status,
        title=TITLES.get(error.status, N_("That didn't work")),
        error=error,
        request_id=request_id.get(),
    )
