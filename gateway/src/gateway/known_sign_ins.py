"""What sign-ins were last answered, for as long as somebody watches whether it still holds."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.model import SignInKey, Subscriptions

# So long the row that a sign-in is need not know of its use: it is true to about a minute.
LONGEST_SECONDS = 30.0
REMEMBERED = 4096


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Known:
    subscriptions: Subscriptions
    device_id: str
    until: float


class KnownSignIns:
    """Lists by sign-in. Nothing is known unless events of accounts are heard, all of them.

    ``monotonic`` is in seconds; ``wall`` is the time that sign-ins expire in.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = _now,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._known: OrderedDict[SignInKey, _Known] = OrderedDict()
        self._of_account: dict[str, set[SignInKey]] = {}
        self._heard = False
        self.moment = 0
        """Counts what has happened; see `keep`."""

    def hear(self) -> None:
        """From now on events are heard, and none is missed."""
        self._heard = True

    def lose(self) -> None:
        """Events may be missed from now on."""
        self._heard = False
        self.moment += 1
        self._known.clear()
        self._of_account.clear()

    def drop(self, account_id: str, device_id: str = "") -> None:
        """Something happened to a sign-in, or to all of the account where there is no device."""
        self.moment += 1
        for key in list(self._of_account.get(account_id, ())):
            if device_id in ("", self._known[key].device_id):
                self._forget(key)

    def get(self, key: SignInKey) -> Subscriptions | None:
        """What is known; None where it must be asked."""
        known = self._known.get(key)
        if known is None:
            return None
        if self._monotonic() >= known.until:
            self._forget(key)
            return None
        return known.subscriptions

    def keep(
        self, key: SignInKey, subscriptions: Subscriptions, expires: datetime, moment: int
    ) -> None:
        """Keep an answer that was asked for at ``moment``, unless something happened since."""
        left = min((expires - self._wall()).total_seconds(), LONGEST_SECONDS)
        if not self._heard or moment != self.moment or left <= 0:
            return
        self._forget(key)
        device_id = hashlib.sha256(key.sign_in_id.encode()).hexdigest()
        self._known[key] = _Known(subscriptions, device_id, self._monotonic() + left)
        self._of_account.setdefault(key.account_id, set()).add(key)
        if len(self._known) > REMEMBERED:
            self._forget(next(iter(self._known)))

    def _forget(self, key: SignInKey) -> None:
        if self._known.pop(key, None) is not None:
            keys = self._of_account[key.account_id]
            keys.discard(key)
            if not keys:
                del self._of_account[key.account_id]
