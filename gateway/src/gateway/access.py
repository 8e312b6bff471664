"""Who may do what: the one place that decides it."""

import enum
import re
from functools import lru_cache

import aiohttp_security
import aiohttp_session
from aiohttp import web
from aiohttp_security.abc import AbstractAuthorizationPolicy
from aiohttp_session import get_session, new_session

from gateway.backends import BACKENDS
from gateway.model import Account, SignIn, SignInKey, Subscriptions
from gateway.problems import RequestError, SignedOutError
from gateway.settings import SETTINGS
from gateway.sign_in_cookie import LASTING, SignInCookieStorage
from gateway.visitors import has_just_written

# An identity is "<account id>:<sign-in id>".
_IDENTITY = re.compile(r"([A-Za-z0-9_-]{1,64}):([A-Za-z0-9_-]{1,64})")
SESSION_KEY = "identity"


class Permission(enum.Enum):
    """What a sign-in can allow."""

    OWN = "own"  # one's watchlist, and one's account
    ADMINISTER = "administer"


class AccessPolicy(AbstractAuthorizationPolicy):
    """Whoever is signed in may use their own; administrators may administer.

    subscription-svc checks the sign-in, and who is an administrator, in every call once more.
    """

    async def authorized_userid(self, identity: str) -> str | None:
        """Return the identity itself if it is well formed; a malformed one is anonymous."""
        return identity if _key(identity) else None

    async def permits(
        self, identity: str | None, permission: str | enum.Enum, context: object = None
    ) -> bool:
        """Tell whether the identity has the permission; ``context`` is its account, if known."""
        key = _key(identity)
        if key is None:
            return False
        if permission is Permission.ADMINISTER:
            return (
                isinstance(context, Account)
                and context.account_id == key.account_id
                and context.administrator
            )
        return permission is Permission.OWN


def setup_access(app: web.Application) -> None:
    """Put the policies in place."""
    identity = aiohttp_security.SessionIdentityPolicy(SESSION_KEY)
    aiohttp_security.setup(app, identity, AccessPolicy())


async def sign_in_key(request: web.Request) -> SignInKey | None:
    """Return the sign-in that the request's cookie claims, if any."""
    storage = request.get(aiohttp_session.STORAGE_KEY)
    if storage is None:
        return None  # no sessions are set up, so nobody has one
    if isinstance(storage, SignInCookieStorage) and aiohttp_session.SESSION_KEY not in request:
        # Most requests change nothing in their session, and need none.
        content = storage.peek(request)
        if content is not None:
            return _key(content.get(SESSION_KEY))
    return _key((await get_session(request)).get(SESSION_KEY))


async def require_sign_in(request: web.Request) -> SignInKey:
    """Return the sign-in of whoever uses their own; raises `SignedOutError` if there is none."""
    key = await sign_in_key(request)
    if key is None:
        raise SignedOutError
    return key


async def require_reader(request: web.Request) -> SignInKey | None:
    """Return the sign-in of whoever reads the record; None for others, where all may read it.

    Raises `SignedOutError` where they may not.
    """
    if request.app[SETTINGS].public_record:
        return await sign_in_key(request)
    return await require_sign_in(request)


async def require_administrator(request: web.Request) -> tuple[SignInKey, Account]:
    """Return sign-in and account of an administrator; raises `RequestError` 403 for others."""
    key = await require_sign_in(request)
    account = await request.app[BACKENDS].account(key)
    if not await aiohttp_security.permits(request, Permission.ADMINISTER, account):
        raise RequestError(403, "ADMINISTRATOR_ONLY", "This page is for administrators.")
    return key, account


async def own_subscriptions(request: web.Request, key: SignInKey) -> Subscriptions:
    """Get the lists and the account of whoever looks at a page; raises `SignedOutError`.

    What is known of them will do, but right after something was written they are asked for.
    """
    return await request.app[BACKENDS].subscriptions(key, fresh=has_just_written(request))


async def own_account(request: web.Request, key: SignInKey) -> Account:
    """Get the account alone, as `own_subscriptions`."""
    return (await own_subscriptions(request, key)).account


async def remember_sign_in(request: web.Request, response: web.Response, sign_in: SignIn) -> None:
    """Put a fresh sign-in into the cookie; nothing of the former content stays."""
    session = await new_session(request)
    identity = f"{sign_in.key.account_id}:{sign_in.key.sign_in_id}"
    await aiohttp_security.remember(request, response, identity)
    if sign_in.remembered:
        session[LASTING] = True


async def forget_sign_in(request: web.Request) -> None:
    """Empty the cookie."""
    session = await get_session(request)
    if not session.empty or not session.new:
        session.invalidate()


def _key(identity: object) -> SignInKey | None:
    return _parsed(identity) if isinstance(identity, str) else None


@lru_cache(maxsize=4096)
def _parsed(identity: str) -> SignInKey | None:
    match = _IDENTITY.fullmatch(identity)
    return SignInKey(match[1], match[2]) if match else None
