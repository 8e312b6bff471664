"""Where to go after signing in: never to another site."""

import re
from urllib.parse import urlencode

from aiohttp import web

HOME = "/subscribeList"
# A path of this site: one slash first, as "//host" and "/\\host" lead elsewhere; no controls.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,500}")


def safe_next(value: str) -> str:
    """Return ``value`` if it is a path of this site, else the watchlist."""
    return value if _LOCAL_PATH.fullmatch(value) else HOME


def login_url(request: web.Request) -> str:
    """Return the address of the sign-in page that leads back to the page asked for."""
    if request.method != "GET" or request.path_qs == HOME:
        return "/login"
    return f"/login?{urlencode({'next': request.path_qs})}"
