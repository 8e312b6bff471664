"""argon2id, away from the event loop."""

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

WORKERS = 2  # each hash being made takes 64 MiB


class Passwords:
    """Hashes and verifies in a small pool of its own, so that other threads' work goes on.

    Making one costs a hash: the dummy that is verified where there is no account, with the same
    parameters, so that an unknown address takes as long as a wrong password.
    """

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self._dummy_hash = hasher.hash(secrets.token_urlsafe(32))
        # On Linux the niceness is the thread's own: many sign-ins at once slow only one another.
        self._pool = ThreadPoolExecutor(WORKERS, "argon2", initializer=partial(os.nice, 10))
        # Whoever verifies holds it from counting the failures so far to writing down the next:
        # however many come at once, no more pass uncounted than verify at once.
        self.turn = asyncio.Semaphore(WORKERS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The encoded hash of a normalised password, parameters included."""
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._hasher.hash, password
        )

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether a normalised password is the one that was hashed; never where there is none."""
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._verify, password_hash, password
        )

    def outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._dummy_hash, password)
        except VerifyMismatchError:
            return False
        return password_hash is not None
