"""The encrypted cookie that holds a sign-in: keys that rotate, and decrypted once per cookie."""

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp_session import Session
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from gateway.visitors import cookie_name

COOKIE_NAME = "foretick_sign_in"
# Of the cookie alone, and a day more than a sign-in lasts unused: subscription-svc ends that.
MAX_AGE_SECONDS = 31 * 24 * 3600
# A cookie in use is written anew so often, with a new age and by the newest key.
RENEW_SECONDS = 24 * 3600
# Set in the session where the cookie outlives the browser's window.
LASTING = "lasting"
REMEMBERED = 1024
# Longer ones are none of ours; they would only fill the memory.
_LONGEST_COOKIE = 1024


class SignInCookieStorage(EncryptedCookieStorage):
    """aiohttp-session's encrypted cookies, with `MultiFernet` and a bounded memory of cookies."""

    def __init__(self, keys: MultiFernet, *, now: Callable[[], float] = time.time) -> None:
        """``now`` is the wall clock, in seconds since the epoch."""
        super().__init__(
            Fernet(Fernet.generate_key()),  # the parent takes one key only; it is not used
            cookie_name=COOKIE_NAME,
            max_age=MAX_AGE_SECONDS,
        )
        self._keys = keys
        self._now = now
        self._remembered: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()

    async def load_session(self, request: web.Request) -> Session:
        """Read the session of a request; a cookie that is old, forged or unreadable is none."""
        cookie = request.cookies.get(cookie_name(request, COOKIE_NAME), "")
        found = self._content(cookie)
        if found is None:
            return await self.new_session()
        encrypted_at, content = found
        session = Session(None, data=content, new=False)  # type: ignore[arg-type]
        if self._now() > encrypted_at + RENEW_SECONDS:
            session.changed()
        return session

    def peek(self, request: web.Request) -> dict[str, Any] | None:
        """Read what a cookie holds that need not be written anew; None where there is no such."""
        found = self._content(request.cookies.get(cookie_name(request, COOKIE_NAME), ""))
        if found is None or self._now() > found[0] + RENEW_SECONDS:
            return None
        session = found[1].get("session")
        return session if isinstance(session, dict) else None

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Write the cookie; an empty session deletes it."""
        name = cookie_name(request, COOKIE_NAME)
        if session.empty:
            response.del_cookie(name, httponly=True, samesite="Lax")
            return
        content = json.dumps(self._get_session_data(session)).encode()
        cookie = self._keys.encrypt_at_time(content, int(self._now())).decode()
        max_age = MAX_AGE_SECONDS if session.get(LASTING) else None
        response.set_cookie(name, cookie, max_age=max_age, httponly=True, samesite="Lax")

    def _content(self, cookie: str) -> tuple[int, dict[str, Any]] | None:
        """When the cookie was encrypted, in seconds since the epoch, and what it holds."""
        now = self._now()
        if cookie in self._remembered:
            encrypted_at, content = self._remembered[cookie]
            if now > encrypted_at + MAX_AGE_SECONDS:
                del self._remembered[cookie]
                return None
            self._remembered.move_to_end(cookie)
            return encrypted_at, content
        if not cookie or len(cookie) > _LONGEST_COOKIE or not cookie.isascii():
            return None
        token = cookie.encode("ascii")
        try:
            decrypted = self._keys.decrypt_at_time(token, MAX_AGE_SECONDS, int(now))
            encrypted_at = self._keys.extract_timestamp(token)
        except InvalidToken:
            return None
        content = dict(json.loads(decrypted))
        self._remembered[cookie] = (encrypted_at, content)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return encrypted_at, content
