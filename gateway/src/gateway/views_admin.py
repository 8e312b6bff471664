"""The administrator's page: accounts, and who may register."""

import asyncio
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from gateway.access import require_administrator
from gateway.accounts import ADMINISTRATION
from gateway.csrf import CSRF
from gateway.forms import query_text, read_form
from gateway.model import Account, AccountSummary, Invitation, SignInKey
from gateway.pages import json_page, see_other, wants_json
from gateway.problems import RequestError
from gateway.views_account import account_json, own_page
from gateway.visitors import client_of, own_origin
from gateway.watchlist import iso


async def admin_page(request: web.Request) -> web.Response:
    """GET /admin."""
    key, account = await require_administrator(request)
    return await _page(request, key, account)


async def set_disabled(request: web.Request) -> web.Response:
    """POST /admin/accounts/{account_id}/disable and /enable."""
    key, account = await require_administrator(request)
    disables = request.match_info["change"] == "disable"
    try:
        changed = await request.app[ADMINISTRATION].set_disabled(
            key, request.match_info["account_id"], client_of(request), disabled=disables
        )
    except RequestError as error:
        return await _refused(request, key, account, error)
    if wants_json(request):
        return json_page(account_json(changed))
    return see_other(f"/admin?done={'disabled' if disables else 'enabled'}")


async def make_reset_link(request: web.Request) -> web.Response:
    """POST /admin/accounts/{account_id}/reset-link: the answer is the only one to show the link."""
    key, account = await require_administrator(request)
    account_id = request.match_info["account_id"]
    try:
        token = await request.app[ADMINISTRATION].make_reset_link(
            key, account_id, client_of(request)
        )
    except RequestError as error:
        return await _refused(request, key, account, error)
    link = f"{own_origin(request)}/reset-password?{urlencode({'token': token})}"
    if wants_json(request):
        return json_page({"link": link}, status=201)
    return await _page(request, key, account, status=201, reset_link=link)


async def invite(request: web.Request) -> web.Response:
    """POST /admin/invitations: the answer is the only one to show the link."""
    key, account = await require_administrator(request)
    email = (await read_form(request)).text("email")
    try:
        token, mailed = await request.app[ADMINISTRATION].invite(key, email, client_of(request))
    except RequestError as error:
        return await _refused(request, key, account, error, entered=email[:254])
    link = f"{own_origin(request)}/register?{urlencode({'invitation': token})}"
    if wants_json(request):
        return json_page({"link": link, "mailed": mailed}, status=201)
    return await _page(request, key, account, status=201, link=link, mailed=mailed)


async def withdraw(request: web.Request) -> web.Response:
    """POST /admin/invitations/{invitation_id}/withdraw."""
    key, account = await require_administrator(request)
    invitation_id = request.match_info["invitation_id"]
    try:
        await request.app[ADMINISTRATION].withdraw(key, invitation_id, client_of(request))
    except RequestError as error:
        return await _refused(request, key, account, error)
    if wants_json(request):
        return json_page({"invitationId": invitation_id, "withdrawn": True})
    return see_other("/admin?done=withdrawn")


async def _refused(
    request: web.Request, key: SignInKey, account: Account, error: RequestError, entered: str = ""
) -> web.Response:
    # Also what is for administrators only: they may have ceased to be one a moment ago.
    if wants_json(request) or error.status in {401, 403} or error.status >= 500:
        raise error
    return await _page(request, key, account, error=error, entered=entered)


async def _page(
    request: web.Request,
    key: SignInKey,
    account: Account,
    *,
    error: RequestError | None = None,
    status: int = 200,
    **context: Any,
) -> web.Response:
    administration = request.app[ADMINISTRATION]
    (accounts, next_page, mails), (mode, invitations) = await asyncio.gather(
        administration.accounts(key, query_text(request, "page")), administration.invitations(key)
    )
    if wants_json(request):
        return json_page(
            {
                "registration": mode,
                "accounts": [_summary_json(each) for each in accounts],
                "invitations": [_invitation_json(each) for each in invitations],
                "nextPage": next_page or None,
                "resetsAreMailed": mails,
                "csrf_token": request.app[CSRF].of_sign_in(key.sign_in_id),
            }
        )
    context = {"link": "", "reset_link": "", "mailed": False, "entered": "", **context}
    return own_page(
        request,
        "admin.html",
        key,
        account,
        error=error,
        status=status,
        accounts=accounts,
        next_page=next_page,
        mails=mails,
        registration=mode,
        invitations=invitations,
        **context,
    )


def _summary_json(summary: AccountSummary) -> dict[str, Any]:
    return {**account_json(summary.account), "lastUsed": iso(summary.used)}


def _invitation_json(invitation: Invitation) -> dict[str, Any]:
    return {
        "invitationId": invitation.invitation_id,
        "email": invitation.email or None,
        "created": iso(invitation.created),
        "expires": iso(invitation.expires),
    }
