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

COOKIE_NAME = "foretick_sign_in"
MAX_AGE_SECONDS = 30 * 24 * 3600
REMEMBERED = 1024
# Longer ones are none of ours; they would only fill the memory.
_LONGEST_COOKIE = 1024


class SignInCookieStorage(EncryptedCookieStorage):
    """aiohttp-session's encrypted cookies, with `MultiFernet` and a bounded memory of cookies."""

    def __init__(self, keys: MultiFernet, *, now: Callable[[], float] = time.time) -> None:
        """``now`` is the wall clock, in seconds since the epoch."""
        super().__init__(
            Fernet(Fernet.generate_key()),  # replaced below: the parent takes one key only
            cookie_name=COOKIE_NAME,
            max_age=MAX_AGE_SECONDS,
            httponly=True,
            samesite="Lax",
        )
        self._fernet = keys  # type: ignore[assignment]
        self._keys = keys
        self._now = now
        self._remembered: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()

    async def load_session(self, request: web.Request) -> Session:
        """Read the session of a request; a cookie that is old, forged or unreadable is none."""
        content = self._content(self.load_cookie(request) or "")
        if content is None:
            return await self.new_session()
        return Session(None, data=content, new=False, max_age=self.max_age)  # type: ignore[arg-type]

    def _content(self, cookie: str) -> dict[str, Any] | None:
        now = self._now()
        if cookie in self._remembered:
            encrypted_at, content = self._remembered[cookie]
            if now > encrypted_at + MAX_AGE_SECONDS:
                del self._remembered[cookie]
                return None
            self._remembered.move_to_end(cookie)
            return content
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
        return content
