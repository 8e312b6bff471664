"""No form is taken that another site has sent: tokens, and what browsers say of themselves."""

import base64
import hashlib
import hmac
import re
import secrets
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.access import require_sign_in
from gateway.backends import KNOWN_SIGN_INS
from gateway.forms import read_form
from gateway.model import SignInKey
from gateway.problems import RequestError
from gateway.visitors import VISITOR, WROTE_COOKIE, Visitor, cookie_name

FLOW_COOKIE = "foretick_flow"
FLOW_SECONDS = 3600
# Before sign-in there is no sign-in id, so these are bound to the flow cookie.
FLOW_PATHS = ("/login", "/register", "/forgot", "/reset-password")
# They change nothing but how this browser shows pages, for anybody, so they need no token.
OPEN_PATHS = ("/look",)
WROTE_SECONDS = 3
_FLOW_ID = re.compile(r"[0-9a-f]{32}")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class CsrfTokens:
    """Tokens of one key: HMAC-SHA256 of the sign-in id, or of the flow id before there is one."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # Every page of a sign-in has the same.
        self.of_sign_in = lru_cache(maxsize=4096)(self._of_sign_in)

    def _of_sign_in(self, sign_in_id: str) -> str:
        """Return the token for the forms of a sign-in."""
        return self._token(f"sign-in:{sign_in_id}")

    def of_flow(self, flow_id: str) -> str:
        """Return the token for the forms before sign-in."""
        return self._token(f"flow:{flow_id}")

    def _token(self, subject: str) -> str:
        digest = hmac.new(self._key, subject.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


CSRF = web.AppKey("csrf", CsrfTokens)


def flow_id(request: web.Request) -> str | None:
    """Return the flow id of the request's cookie; None if there is none that we could have set."""
    value = request.cookies.get(cookie_name(request, FLOW_COOKIE), "")
    return value if _FLOW_ID.fullmatch(value) else None


def new_flow_id() -> str:
    """Make a flow id."""
    return secrets.token_hex(16)


def set_flow(request: web.Request, response: web.Response, flow_id: str) -> None:
    """Set the flow cookie, for an hour from now."""
    name = cookie_name(request, FLOW_COOKIE)
    response.set_cookie(name, flow_id, max_age=FLOW_SECONDS, httponly=True, samesite="Lax")


@web.middleware
async def refuse_forged(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a POST pass only with the token of its sender, and not from another site."""
    if request.method in _SAFE_METHODS or request.match_info.http_exception is not None:
        return await handler(request)
    _refuse_other_sites(request)
    if request.path in OPEN_PATHS:
        return await handler(request)
    tokens = request.app[CSRF]
    if request.path in FLOW_PATHS:
        flow = flow_id(request)
        expected = tokens.of_flow(flow) if flow else None
    else:
        expected = tokens.of_sign_in((await require_sign_in(request)).sign_in_id)
    given = (await read_form(request)).text("csrf_token")
    if expected is None or not hmac.compare_digest(given.encode(), expected.encode()):
        message = (
            "The field csrf_token is missing, or belongs to a form that has expired. "
            "Open the page again and send the form from there."
        )
        raise RequestError(403, "CSRF_TOKEN_WRONG", message, "csrf_token")
    if request.path in FLOW_PATHS:
        return await handler(request)
    return await _written(request, handler, await require_sign_in(request))


async def _written(request: web.Request, handler: Handler, key: SignInKey) -> web.StreamResponse:
    """Let a request write, and let its sender read at once what it wrote."""
    try:
        response = await handler(request)
    finally:
        request.app[KNOWN_SIGN_INS].drop(key.account_id)
    # Other gateway processes hear of it within a moment.
    name = cookie_name(request, WROTE_COOKIE)
    response.set_cookie(name, "1", max_age=WROTE_SECONDS, httponly=True, samesite="Lax")
    return response


def _refuse_other_sites(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    foreign = origin is not None and not _is_ours(origin, request[VISITOR])
    # Another host of the same domain is another site, too.
    fetched_from = request.headers.get("Sec-Fetch-Site", "same-origin")
    if foreign or fetched_from not in {"same-origin", "none"}:
        raise RequestError(403, "CROSS_SITE", "This form was sent from another site.")


def _is_ours(origin: str, visitor: Visitor) -> bool:
    try:
        scheme, host, *_ = urlsplit(origin.lower())
    except ValueError:
        return False
    # Behind a proxy that is not trusted the scheme is not known here.
    return host == visitor.host and visitor.scheme in {None, scheme}
