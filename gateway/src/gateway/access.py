"""Who may do what: the one place that decides it."""

import enum
import re

import aiohttp_security
from aiohttp import web
from aiohttp_security.abc import AbstractAuthorizationPolicy
from aiohttp_session import get_session, new_session

from gateway.model import SignInKey
from gateway.problems import SignedOutError

# An identity is "<account id>:<sign-in id>".
_IDENTITY = re.compile(r"([A-Za-z0-9_-]{1,64}):([A-Za-z0-9_-]{1,64})")
SESSION_KEY = "identity"


class Permission(enum.Enum):
    """What a sign-in can allow."""

    WATCHLIST = "watchlist"


class AccessPolicy(AbstractAuthorizationPolicy):
    """Whoever is signed in may use their own watchlist; subscription-svc checks the sign-in."""

    async def authorized_userid(self, identity: str) -> str | None:
        """Return the identity itself if it is well formed; a malformed one is anonymous."""
        return identity if _key(identity) else None

    async def permits(
        self, identity: str | None, permission: str | enum.Enum, _context: object = None
    ) -> bool:
        """Tell whether the identity has the permission."""
        return _key(identity) is not None and permission is Permission.WATCHLIST


def setup_access(app: web.Application) -> None:
    """Put the policies in place."""
    identity = aiohttp_security.SessionIdentityPolicy(SESSION_KEY)
    aiohttp_security.setup(app, identity, AccessPolicy())


async def sign_in_key(request: web.Request) -> SignInKey | None:
    """Return the sign-in that the request's cookie claims, if any."""
    return _key(await aiohttp_security.authorized_userid(request))


async def require_sign_in(request: web.Request) -> SignInKey:
    """Return the sign-in that a watchlist route needs; raises `SignedOutError` if there is none."""
    key = await sign_in_key(request)
    if key is None or not await aiohttp_security.permits(request, Permission.WATCHLIST):
        raise SignedOutError
    return key


async def remember_sign_in(request: web.Request, response: web.Response, key: SignInKey) -> None:
    """Put a fresh sign-in into the cookie; nothing of the former content stays."""
    await new_session(request)
    identity = f"{key.account_id}:{key.sign_in_id}"
    await aiohttp_security.remember(request, response, identity)


async def forget_sign_in(request: web.Request) -> None:
    """Empty the cookie."""
    session = await get_session(request)
    if not session.empty or not session.new:
        session.invalidate()


def _key(identity: object) -> SignInKey | None:
    match = _IDENTITY.fullmatch(identity) if isinstance(identity, str) else None
    return SignInKey(match[1], match[2]) if match else None
