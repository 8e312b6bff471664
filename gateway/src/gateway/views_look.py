"""Choosing how pages look in this browser, and their language."""

from aiohttp import web

from gateway.forms import read_form
from gateway.languages import LANGUAGE_COOKIE, languages
from gateway.looks import LOOKS
from gateway.pages import json_page, see_other, wants_json
from gateway.problems import RequestError
from gateway.redirects import safe_next

YEAR_SECONDS = 365 * 24 * 3600


async def choose(request: web.Request) -> web.Response:
    """POST /look: keep each choice that the form has in a cookie, and go back."""
    form = await read_form(request)
    kept = {**LOOKS, "language": (LANGUAGE_COOKIE, tuple(languages()))}
    chosen = {field: value for field in kept if (value := form.text(field))}
    for field, value in chosen.items():
        _, choices = kept[field]
        if value not in choices:
            message = f"{field} must be one of {', '.join(choices)}."
            raise RequestError(400, "CHOICE_UNKNOWN", message, field)
    response = json_page(chosen) if wants_json(request) else see_other(safe_next(form.text("next")))
    for field, value in chosen.items():
        cookie, _ = kept[field]
        response.set_cookie(cookie, value, max_age=YEAR_SECONDS, httponly=True, samesite="Lax")
    return response
