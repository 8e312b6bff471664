"""Registering, signing in and signing out."""

import logging

from aiohttp import web

from gateway.access import forget_sign_in, remember_sign_in, require_sign_in, sign_in_key
from gateway.backends import BACKENDS
from gateway.csrf import CSRF, flow_id, new_flow_id, set_flow
from gateway.forms import Form, read_form
from gateway.model import SignIn
from gateway.pages import html_page, json_page, see_other, wants_json
from gateway.problems import RequestError
from gateway.redirects import HOME, safe_next

_log = logging.getLogger("foretick.gateway")
_FIELD_OF_REASON = {"CREDENTIALS_WRONG": "password", "EMAIL_TAKEN": "email"}


async def register_page(request: web.Request) -> web.Response:
    """GET /register."""
    return await _empty_form(request, "register.html")


async def login_page(request: web.Request) -> web.Response:
    """GET /login."""
    return await _empty_form(request, "login.html")


async def register(request: web.Request) -> web.Response:
    """POST /register."""
    form = await read_form(request)
    email, password = form.text("email"), form.text("password")
    try:
        sign_in = await request.app[BACKENDS].register(email, password)
    except RequestError as error:
        return _refused(request, "register.html", form, error)
    return await _signed_in(request, form, sign_in, status=201)


async def login(request: web.Request) -> web.Response:
    """POST /login."""
    form = await read_form(request)
    email, password = form.text("email"), form.text("password")
    try:
        sign_in = await request.app[BACKENDS].sign_in(email, password)
    except RequestError as error:
        return _refused(request, "login.html", form, error)
    return await _signed_in(request, form, sign_in, status=200)


async def logout(request: web.Request) -> web.Response:
    """POST /logout."""
    key = await require_sign_in(request)
    # First of all this browser forgets, also where the service can't be told.
    await forget_sign_in(request)
    try:
        await request.app[BACKENDS].revoke_sign_in(key)
    except RequestError as error:
        error.message = f"This browser is signed out, but the sign-in has not ended: {error}"
        raise
    return json_page({"signedOut": True}) if wants_json(request) else see_other("/login")


async def _empty_form(request: web.Request, template: str) -> web.Response:
    if await sign_in_key(request) and not wants_json(request):
        return see_other(HOME)
    return _form_page(request, template, after=request.query.get("next", ""))


def _refused(request: web.Request, template: str, form: Form, error: RequestError) -> web.Response:
    """Show the form again with the error beside its field."""
    error.field = error.field or _FIELD_OF_REASON.get(error.reason)
    if wants_json(request) or error.status >= 500:
        raise error
    return _form_page(
        request, template, after=form.text("next"), entered=form.text("email")[:254], error=error
    )


def _form_page(
    request: web.Request,
    template: str,
    *,
    after: str,
    entered: str = "",
    error: RequestError | None = None,
) -> web.Response:
    tokens = request.app[CSRF]
    flow = flow_id(request) or new_flow_id()
    token = tokens.of_flow(flow)
    if wants_json(request):
        response = json_page({"csrf_token": token})
    else:
        response = html_page(
            request,
            template,
            status=error.status if error else 200,
            flow_token=token,
            after=safe_next(after),
            entered=entered,
            error=error,
        )
    set_flow(request, response, flow)
    return response


async def _signed_in(
    request: web.Request, form: Form, sign_in: SignIn, *, status: int
) -> web.Response:
    former = await sign_in_key(request)
    if former is not None:
        try:
            await request.app[BACKENDS].revoke_sign_in(former)
        except RequestError as error:
            _log.warning("the former sign-in of this browser has not ended: %s", error)
    if wants_json(request):
        token = request.app[CSRF].of_sign_in(sign_in.key.sign_in_id)
        response = json_page({"email": sign_in.email, "csrf_token": token}, status=status)
    else:
        response = see_other(safe_next(form.text("next")))
    await remember_sign_in(request, response, sign_in.key)
    return response
