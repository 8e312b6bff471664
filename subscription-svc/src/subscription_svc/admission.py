"""The one filter: every call on somebody's behalf is checked here, and its use written down."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from foretick_rpc.database import Database
from foretick_rpc.errors import DatabaseUnavailableError
from subscription_svc import sign_ins
from subscription_svc.refusals import AdministratorOnlyError, SignInInvalidError
from subscription_svc.sign_ins import Caller, Clock, SignInKey

T = TypeVar("T")
Work = Callable[[Connection, Caller], T]


def require(
    connection: Connection, key: SignInKey, now: datetime, *, administrator: bool = False
) -> Caller:
    """The caller behind one key. Raises SignInInvalidError, AdministratorOnlyError."""
    caller = sign_ins.check(connection, [key], now).get(key)
    if caller is None:
        raise SignInInvalidError
    if administrator and not caller.account.administrator:
        raise AdministratorOnlyError
    return caller


class Admission:
    """Lets work pass in the transaction in which its caller was checked."""

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self._now = now
        self._used: set[str] = set()
        self._noted = asyncio.Event()

    async def read(self, key: SignInKey, work: Work[T], *, administrator: bool = False) -> T:
        """Run `work`, which only reads. Raises what `require` does."""
        caller, done = await self._database.read(self._checked(key, work, administrator))
        self._note([caller])
        return done

    async def write(self, key: SignInKey, work: Work[T], *, administrator: bool = False) -> T:
        """Run `work`, and commit it. Raises what `require` does."""
        caller, done = await self._database.write(self._checked(key, work, administrator))
        self._note([caller])
        return done

    async def read_many(
        self, keys: Sequence[SignInKey], work: Callable[[Connection, Sequence[Caller]], T]
    ) -> tuple[Mapping[SignInKey, Caller], T]:
        """Those of many callers that may pass, and what `work` reads for them."""
        now = self._now()

        def checked(connection: Connection) -> tuple[Mapping[SignInKey, Caller], T]:
            callers = sign_ins.check(connection, keys, now)
            return callers, work(connection, list(callers.values()))

        callers, done = await self._database.read(checked)
        self._note(callers.values())
        return callers, done

    async def write_many(
        self, keys: Sequence[SignInKey], work: Callable[[Connection, Mapping[SignInKey, Caller]], T]
    ) -> T:
        """Run `work` for those of many callers that may pass, and commit it."""
        now = self._now()

        def checked(connection: Connection) -> tuple[Mapping[SignInKey, Caller], T]:
            callers = sign_ins.check(connection, keys, now)
            return callers, work(connection, callers)

        callers, done = await self._database.write(checked)
        self._note(callers.values())
        return done

    async def run(self) -> None:
        """Write uses down until cancelled: what comes during one write goes in the next."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            used, self._used = self._used, set()
            # The database's own log says that it is away; the next use is noted again.
            with suppress(DatabaseUnavailableError):
                await self._database.write(
                    partial(sign_ins.record_use, hashes=used, now=self._now())
                )

    def _checked(
        self, key: SignInKey, work: Work[T], administrator: bool
    ) -> Callable[[Connection], tuple[Caller, T]]:
        def checked(connection: Connection) -> tuple[Caller, T]:
            caller = require(connection, key, self._now(), administrator=administrator)
            return caller, work(connection, caller)

        return checked

    def _note(self, callers: Iterable[Caller]) -> None:
        if used := sign_ins.due(callers, self._now()):
            self._used.update(used)
            self._noted.set()
