"""Registering, signing in and out, and passwords that were forgotten."""

import logging
from typing import Any

from aiohttp import web

from gateway.access import forget_sign_in, remember_sign_in, require_sign_in, sign_in_key
from gateway.accounts import ACCOUNTS
from gateway.csrf import CSRF, flow_id, new_flow_id, set_flow
from gateway.forms import query_text, read_form
from gateway.model import SignIn
from gateway.pages import html_page, json_page, see_other, wants_json
from gateway.problems import RequestError
from gateway.redirects import HOME, safe_next
from gateway.visitors import client_of
from gateway.wording import DONE

_log = logging.getLogger("foretick.gateway")
_FIELD_OF_REASON = {
    "CREDENTIALS_WRONG": "password",
    "EMAIL_TAKEN": "email",
    "INVITATION_NEEDED": "invitation",
    "INVITATION_INVALID": "invitation",
}
_FIELD_OF_CONTRACT = {"invitation_token": "invitation", "token": None}
_LONGEST_ADDRESS = 254


async def login_page(request: web.Request) -> web.Response:
    """GET /login."""
    if await _is_here_already(request):
        return see_other(HOME)
    done = DONE.get(query_text(request, "done"))
    after = safe_next(query_text(request, "next"))
    return _form_page(request, "login.html", after=after, entered="", remember=False, done=done)


async def login(request: web.Request) -> web.Response:
    """POST /login."""
    form = await read_form(request)
    email, password = form.text("email"), form.text("password")
    after, remember = safe_next(form.text("next")), bool(form.text("remember"))
    try:
        sign_in = await request.app[ACCOUNTS].sign_in(
            email, password, client_of(request), remember=remember
        )
    except RequestError as error:
        shown = {"after": after, "entered": email[:_LONGEST_ADDRESS], "remember": remember}
        return _refused(request, "login.html", error, done=None, **shown)
    return await _signed_in(request, sign_in, after, status=200)


async def register_page(request: web.Request) -> web.Response:
    """GET /register: the form, or why there is none."""
    if await _is_here_already(request):
        return see_other(HOME)
    invitation = query_text(request, "invitation")
    registration = await request.app[ACCOUNTS].registration(invitation)
    return _form_page(
        request,
        "register.html",
        content={"registration": {"mode": registration.mode, "allowed": registration.allowed}},
        after=safe_next(query_text(request, "next")),
        entered=registration.invited_email,
        invitation=invitation,
        registration=registration,
    )


async def register(request: web.Request) -> web.Response:
    """POST /register."""
    form = await read_form(request)
    email, password = form.text("email"), form.text("password")
    after, invitation = safe_next(form.text("next")), form.text("invitation")
    try:
        sign_in = await request.app[ACCOUNTS].register(
            email, password, client_of(request), invitation=invitation, remember=False
        )
    except RequestError as error:
        shown = {
            "after": after,
            "entered": email[:_LONGEST_ADDRESS],
            "invitation": invitation[:_LONGEST_ADDRESS],
        }
        return _refused(request, "register.html", error, registration=None, **shown)
    return await _signed_in(request, sign_in, after, status=201)


async def logout(request: web.Request) -> web.Response:
    """POST /logout."""
    key = await require_sign_in(request)
    # First of all this browser forgets, also where the service can't be told.
    await forget_sign_in(request)
    try:
        await request.app[ACCOUNTS].sign_out(key, client_of(request))
    except RequestError as error:
        error.message = f"This browser is signed out, but the sign-in has not ended: {error}"
        raise
    return json_page({"signedOut": True}) if wants_json(request) else see_other("/login")


async def forgot_page(request: web.Request) -> web.Response:
    """GET /forgot: where to ask for a link that sets a new password."""
    registration = await request.app[ACCOUNTS].registration("")
    return _form_page(
        request,
        "forgot.html",
        content={"mails": registration.mails},
        entered="",
        asked=False,
        mails=registration.mails,
    )


async def forgot(request: web.Request) -> web.Response:
    """POST /forgot: the answer is the same whether the address has an account or not."""
    email = (await read_form(request)).text("email")
    try:
        await request.app[ACCOUNTS].request_reset(email, client_of(request))
    except RequestError as error:
        shown = {"entered": email[:_LONGEST_ADDRESS], "asked": False, "mails": True}
        return _refused(request, "forgot.html", error, **shown)
    if wants_json(request):
        return json_page({"asked": True})
    return html_page(request, "forgot.html", asked=True)


async def reset_page(request: web.Request) -> web.Response:
    """GET /reset-password: where the link leads."""
    return _form_page(request, "reset.html", reset_token=query_text(request, "token"))


async def reset(request: web.Request) -> web.Response:
    """POST /reset-password."""
    form = await read_form(request)
    token, new_password = form.text("token"), form.text("new_password")
    try:
        email = await request.app[ACCOUNTS].reset_password(token, new_password, client_of(request))
    except RequestError as error:
        return _refused(request, "reset.html", error, reset_token=token[:_LONGEST_ADDRESS])
    # Whoever was signed in here is not any more.
    await forget_sign_in(request)
    return json_page({"email": email}) if wants_json(request) else see_other("/login?done=reset")


async def _is_here_already(request: web.Request) -> bool:
    return await sign_in_key(request) is not None and not wants_json(request)


def _refused(
    request: web.Request, template: str, error: RequestError, **context: Any
) -> web.Response:
    """Show the form again with the error beside its field."""
    error.field = _FIELD_OF_CONTRACT.get(error.field or "", error.field)
    error.field = error.field or _FIELD_OF_REASON.get(error.reason)
    if wants_json(request) or error.status >= 500:
        raise error
    return _form_page(request, template, error=error, **context)


def _form_page(
    request: web.Request,
    template: str,
    *,
    content: dict[str, Any] | None = None,
    error: RequestError | None = None,
    **context: Any,
) -> web.Response:
    """Answer with a form of somebody who isn't signed in; as JSON its token and ``content``."""
    flow = flow_id(request) or new_flow_id()
    token = request.app[CSRF].of_flow(flow)
    if wants_json(request):
        response = json_page({"csrf_token": token, **(content or {})})
    else:
        status = error.status if error else 200
        context = {"flow_token": token, "error": error, **context}
        response = html_page(request, template, status=status, **context)
    set_flow(request, response, flow)
    return response


async def _signed_in(
    request: web.Request, sign_in: SignIn, after: str, *, status: int
) -> web.Response:
    former = await sign_in_key(request)
    if former is not None:
        try:
            await request.app[ACCOUNTS].sign_out(former, client_of(request))
        except RequestError as error:
            _log.warning("the former sign-in of this browser has not ended: %s", error)
    if wants_json(request):
        token = request.app[CSRF].of_sign_in(sign_in.key.sign_in_id)
        content = {"email": sign_in.account.email, "csrf_token": token}
        response = json_page(content, status=status)
    else:
        response = see_other(after)
    await remember_sign_in(request, response, sign_in)
    return response
