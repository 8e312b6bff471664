"""One's account: address and password, devices, log, export, deletion."""

import asyncio
from typing import Any

from aiohttp import web

from gateway.access import forget_sign_in, own_account, remember_sign_in, require_sign_in
from gateway.accounts import ACCOUNTS
from gateway.csrf import CSRF
from gateway.forms import query_text, read_form
from gateway.model import Account, AuditEvent, Device, SignIn, SignInKey
from gateway.pages import html_page, json_page, see_other, wants_json
from gateway.problems import RequestError, SignedOutError
from gateway.visitors import client_of
from gateway.watchlist import iso
from gateway.wording import DONE

_FIELD_OF_REASON = {"PASSWORD_WRONG": "password", "EMAIL_TAKEN": "email"}
_LONGEST_ADDRESS = 254


async def account_page(request: web.Request) -> web.Response:
    """GET /account."""
    key = await require_sign_in(request)
    account = await own_account(request, key)
    if wants_json(request):
        token = request.app[CSRF].of_sign_in(key.sign_in_id)
        return json_page({**account_json(account), "csrf_token": token})
    return own_page(request, "account.html", key, account, form="", entered="")


async def change_email(request: web.Request) -> web.Response:
    """POST /account/email."""
    key = await require_sign_in(request)
    form = await read_form(request)
    email, password = form.text("email"), form.text("password")
    accounts = request.app[ACCOUNTS]
    try:
        sign_in = await accounts.change_email(key, password, email, client_of(request))
    except RequestError as error:
        shown = {"form": "email", "entered": email[:_LONGEST_ADDRESS]}
        return await _refused(request, "account.html", key, error, **shown)
    return await _changed(request, sign_in, "email")


async def change_password(request: web.Request) -> web.Response:
    """POST /account/password."""
    key = await require_sign_in(request)
    form = await read_form(request)
    password, new_password = form.text("password"), form.text("new_password")
    accounts = request.app[ACCOUNTS]
    try:
        sign_in = await accounts.change_password(key, password, new_password, client_of(request))
    except RequestError as error:
        return await _refused(request, "account.html", key, error, form="password", entered="")
    return await _changed(request, sign_in, "password")


async def devices_page(request: web.Request) -> web.Response:
    """GET /account/devices."""
    key = await require_sign_in(request)
    account, devices = await asyncio.gather(
        own_account(request, key), request.app[ACCOUNTS].devices(key)
    )
    if wants_json(request):
        token = request.app[CSRF].of_sign_in(key.sign_in_id)
        content = {"devices": [_device_json(each) for each in devices], "csrf_token": token}
        return json_page(content)
    return own_page(request, "devices.html", key, account, devices=devices)


async def revoke_device(request: web.Request) -> web.Response:
    """POST /account/devices/{device_id}/revoke."""
    key = await require_sign_in(request)
    device_id = request.match_info["device_id"]
    await request.app[ACCOUNTS].revoke_device(key, device_id, client_of(request))
    if wants_json(request):
        return json_page({"deviceId": device_id, "revoked": True})
    return see_other("/account/devices?done=revoked")


async def revoke_other_devices(request: web.Request) -> web.Response:
    """POST /account/devices/revoke-others."""
    key = await require_sign_in(request)
    count = await request.app[ACCOUNTS].revoke_other_devices(key, client_of(request))
    if wants_json(request):
        return json_page({"revoked": count})
    return see_other("/account/devices?done=revoked-others")


async def log_page(request: web.Request) -> web.Response:
    """GET /account/log."""
    key = await require_sign_in(request)
    account, (events, next_page) = await asyncio.gather(
        own_account(request, key),
        request.app[ACCOUNTS].audit_events(key, query_text(request, "page")),
    )
    if wants_json(request):
        content = {"events": [_event_json(each) for each in events], "nextPage": next_page or None}
        return json_page(content)
    return own_page(request, "log.html", key, account, events=events, next_page=next_page)


async def export(request: web.Request) -> web.Response:
    """POST /account/export: a file, whatever is preferred."""
    key = await require_sign_in(request)
    document = await request.app[ACCOUNTS].export(key, client_of(request))
    headers = {"Content-Disposition": 'attachment; filename="foretick-account.json"'}
    return web.Response(text=document, content_type="application/json", headers=headers)


async def delete_page(request: web.Request) -> web.Response:
    """GET /account/delete."""
    key = await require_sign_in(request)
    account = await own_account(request, key)
    if wants_json(request):
        return json_page({"csrf_token": request.app[CSRF].of_sign_in(key.sign_in_id)})
    return own_page(request, "delete.html", key, account)


async def delete(request: web.Request) -> web.Response:
    """POST /account/delete."""
    key = await require_sign_in(request)
    password = (await read_form(request)).text("password")
    try:
        await request.app[ACCOUNTS].delete(key, password, client_of(request))
    except RequestError as error:
        return await _refused(request, "delete.html", key, error)
    await forget_sign_in(request)
    return json_page({"deleted": True}) if wants_json(request) else see_other("/login?done=deleted")


def own_page(
    request: web.Request,
    template: str,
    key: SignInKey,
    account: Account,
    *,
    error: RequestError | None = None,
    **context: Any,
) -> web.Response:
    """Answer with a page of the account of whoever is signed in."""
    status = context.pop("status", 200)
    return html_page(
        request,
        template,
        status=error.status if error else status,
        email=account.email,
        csrf_token=request.app[CSRF].of_sign_in(key.sign_in_id),
        account=account,
        done=None if error else DONE.get(query_text(request, "done")),
        error=error,
        **context,
    )


def account_json(account: Account) -> dict[str, Any]:
    """Return an account as programs get it."""
    return {
        "accountId": account.account_id,
        "email": account.email,
        "created": iso(account.created),
        "administrator": account.administrator,
        "disabled": iso(account.disabled),
    }


async def _refused(
    request: web.Request, template: str, key: SignInKey, error: RequestError, **context: Any
) -> web.Response:
    """Show the page again with the error beside its field."""
    error.field = error.field or _FIELD_OF_REASON.get(error.reason)
    if wants_json(request) or error.status >= 500 or isinstance(error, SignedOutError):
        raise error
    account = await own_account(request, key)
    return own_page(request, template, key, account, error=error, **context)


async def _changed(request: web.Request, sign_in: SignIn, what: str) -> web.Response:
    """Answer a change that has replaced the sign-in."""
    if wants_json(request):
        token = request.app[CSRF].of_sign_in(sign_in.key.sign_in_id)
        response = json_page({**account_json(sign_in.account), "csrf_token": token})
    else:
        response = see_other(f"/account?done={what}")
    await remember_sign_in(request, response, sign_in)
    return response


def _device_json(device: Device) -> dict[str, Any]:
    return {
        "deviceId": device.device_id,
        "created": iso(device.created),
        "lastUsed": iso(device.used),
        "expires": iso(device.expires),
        "address": device.client.address,
        "userAgent": device.client.user_agent,
        "remembered": device.remembered,
        "current": device.current,
    }


def _event_json(event: AuditEvent) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "time": iso(event.time),
        "address": event.client.address,
        "userAgent": event.client.user_agent,
        "detail": event.detail,
    }
