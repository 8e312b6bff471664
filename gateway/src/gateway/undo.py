"""What was removed, sealed, so that the next page can carry it and nobody else can make it up."""

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web
from cryptography.fernet import Fernet, InvalidToken

from gateway.lists import Removal
from gateway.model import SignInKey, Subscription, Watchlist
from gateway.problems import RequestError

SECONDS = 3600
MOST_BYTES = 48 * 1024  # of a form that carries it


class UndoSeal:
    """Seals removals for an hour, each for its account. The key is that of the form tokens."""

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        own = hmac.new(key, b"undo", hashlib.sha256).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(own))
        self._now = now

    def seal(self, key: SignInKey, removal: Removal) -> str | None:
        """Return what a form or an address can carry; None where it is too large for any."""
        watchlist = removal.watchlist
        content = {
            "account": key.account_id,
            "list": watchlist and [watchlist.list_id, watchlist.name, watchlist.position],
            "entries": [_as_list(each) for each in removal.entries],
        }
        written = json.dumps(content, ensure_ascii=False).encode()
        if len(written) > 8 * MOST_BYTES:  # which no compression makes up for, and which takes long
            return None
        sealed = self._fernet.encrypt_at_time(zlib.compress(written), int(self._now())).decode()
        return sealed if len(sealed) <= MOST_BYTES else None

    def unseal(self, key: SignInKey, sealed: str) -> Removal:
        """Return what was sealed; raises `RequestError` 400 where it is not, or no longer, good."""
        try:
            packed = self._fernet.decrypt_at_time(sealed.encode(), SECONDS, int(self._now()))
        except InvalidToken:
            raise _expired() from None
        content = json.loads(zlib.decompress(packed))  # ours: nobody else can seal
        if content["account"] != key.account_id:
            raise _expired()
        return Removal(
            tuple(_from_list(*each) for each in content["entries"]),
            Watchlist(*content["list"]) if content["list"] else None,
        )


UNDO = web.AppKey("undo", UndoSeal)


def _expired() -> RequestError:
    return RequestError(400, "UNDO_EXPIRED", "This can't be undone any longer.", "undo")


def _as_list(entry: Subscription) -> list[Any]:
    created = entry.created and entry.created.isoformat()
    return [entry.symbol, entry.list_id, entry.note, entry.position, created]


def _from_list(
    symbol: str, list_id: str, note: str, position: int, created: str | None
) -> Subscription:
    return Subscription(
        symbol, list_id, note, position, datetime.fromisoformat(created) if created else None
    )
