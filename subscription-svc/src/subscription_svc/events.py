"""What whoever keeps something about accounts must be told, in the order of its versions."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto
from functools import cache, partial

from sqlalchemy import BigInteger, Connection, Executable, bindparam, func, select

from foretick_rpc.database import Database, insert_of
from foretick_rpc.errors import DatabaseUnavailableError
from subscription_svc.schema import account_events, account_versions

POLL_SECONDS = 0.25  # for what other replicas, and commands, have written
_MOST_AT_ONCE = 1000


class EventKind(StrEnum):
    """What can happen to an account."""

    SIGN_IN_REVOKED = auto()
    ACCOUNT_DISABLED = auto()
    ACCOUNT_DELETED = auto()
    SUBSCRIPTIONS_CHANGED = auto()
    ACCOUNT_CHANGED = auto()


@dataclass(frozen=True)
class AccountEvent:
    """Something that happened to an account, or to one of its sign-ins."""

    kind: EventKind
    account_id: str
    sign_in_hash: str = ""


@dataclass(frozen=True)
class News:
    """What a watcher was not told yet; `resumed` is of its first news alone."""

    version: int
    resumed: bool
    events: Sequence[AccountEvent]


class WatchingEnded(Exception):  # noqa: N818 - a state, not a fault
    """The service is stopping, and nothing is watched any longer."""


def lock_versions(connection: Connection, by: int = 0) -> int:
    """The latest version, `by` added; nobody else gets it before this transaction ends.

    Whatever rows of an account a transaction locks, it locks before this.
    """
    statement = _lock_versions(connection.dialect.name)
    version: int = connection.execute(statement, {"by": by}).scalar_one()
    return version


@cache
def _lock_versions(dialect: str) -> Executable:
    by = bindparam("by", type_=BigInteger)
    return (
        insert_of(dialect, account_versions)
        .values(row=1, version=by)
        .on_conflict_do_update(
            index_elements=["row"], set_={"version": account_versions.c.version + by}
        )
        .returning(account_versions.c.version)
    )


def append(connection: Connection, events: Sequence[AccountEvent], now: datetime) -> None:
    """Writes events down, each with a version of its own."""
    if not events:
        return
    first = lock_versions(connection, len(events)) - len(events) + 1
    rows = [
        {
            "version": first + n,
            "event_time": now,
            "kind": event.kind.value,
            "account_id": event.account_id,
            "sign_in_hash": event.sign_in_hash,
        }
        for n, event in enumerate(events)
    ]
    # One alone takes half the way through the driver that a list of one does.
    connection.execute(account_events.insert(), rows if len(rows) > 1 else rows[0])


def latest_version(connection: Connection) -> int:
    """The version of the latest event; 0 before the first."""
    return connection.execute(select(account_versions.c.version)).scalar_one_or_none() or 0


def read_since(connection: Connection, after: int) -> tuple[int, Sequence[AccountEvent]]:
    """Events above a version, at most a thousand, and the version of the last of them."""
    table = account_events.c
    rows = connection.execute(
        select(account_events)
        .where(table.version > after)
        .order_by(table.version)
        .limit(_MOST_AT_ONCE)
    ).all()
    events = [AccountEvent(EventKind(r.kind), r.account_id, r.sign_in_hash) for r in rows]
    return (rows[-1].version if rows else after), events


def read_start(connection: Connection, after: int) -> News:
    """From where on somebody who knows all up to `after` can be told, and whether that is there."""
    oldest, latest = connection.execute(
        select(
            select(func.min(account_events.c.version)).scalar_subquery(),
            select(account_versions.c.version).scalar_subquery(),
        )
    ).one()
    latest = latest or 0
    is_kept = oldest is not None and oldest <= after + 1
    resumed = 0 < after <= latest and (after == latest or is_kept)
    return News(after if resumed else latest, resumed, ())


class AccountWatching:
    """Tells any number of watchers what happens, wherever it is written."""

    def __init__(self, database: Database, poll_seconds: float = POLL_SECONDS) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._watchers = 0
        self._watched = asyncio.Event()
        self._changed = asyncio.Event()
        self._version = 0
        self._ended = False

    def end(self) -> None:
        """Ends all watching, so that a stop need not wait for it."""
        self._ended = True
        self._changed.set()

    async def run(self) -> None:
        """Looks for new versions as long as anybody watches; until cancelled."""
        while True:
            await self._watched.wait()
            try:
                version = await self._database.read(latest_version)
            except DatabaseUnavailableError:
                pass  # the database's own log says so, and watchers will ask again
            else:
                if version != self._version:
                    self._version = version
                    self._changed.set()
                    self._changed = asyncio.Event()
            await asyncio.sleep(self._poll_seconds)

    async def watch(self, after: int) -> AsyncGenerator[News, None]:
        """At once from where on, then what happens. Raises WatchingEnded."""
        self._watchers += 1
        self._watched.set()
        try:
            start = await self._database.read(partial(read_start, after=after))
            yield start
            known = start.version
            while not self._ended:
                changed = self._changed  # taken first: what happens meanwhile ends the wait at once
                known, events = await self._database.read(partial(read_since, after=known))
                if events:
                    yield News(known, False, events)
                else:
                    await changed.wait()
            raise WatchingEnded
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()
