"""Sign-ins: what one browser has after signing in. The statements."""

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    case,
    literal,
    select,
)

from subscription_svc.account_rows import COLUMNS, Account, account_of
from subscription_svc.clients import Client
from subscription_svc.events import AccountEvent, EventKind
from subscription_svc.refusals import DeviceNotFoundError
from subscription_svc.schema import UtcTime, accounts, sign_ins

Clock = Callable[[], datetime]

# From the last use.
LIFETIME = timedelta(hours=12)
REMEMBERED_LIFETIME = timedelta(days=30)
USE_RECORDED_EVERY = timedelta(minutes=1)  # so that reading isn't writing
MAX_DEVICES = 200  # in a list

_TABLE = sign_ins.c


@dataclass(frozen=True)
class SignInKey:
    """On whose behalf a call is made. The id is a secret and stays out of logs."""

    account_id: str
    sign_in_id: str = field(repr=False)


@dataclass(frozen=True)
class SignIn:
    """A sign-in that has just begun."""

    key: SignInKey
    create_time: datetime
    expire_time: datetime
    remembered: bool

    @property
    def device_id(self) -> str:
        """What names it to others."""
        return hash_of(self.key.sign_in_id)


@dataclass(frozen=True)
class Caller:
    """Who is behind a key that was checked."""

    account: Account
    sign_in_hash: str
    last_used_time: datetime
    expire_time: datetime
    remembered: bool


@dataclass(frozen=True)
class Device:
    """A sign-in in a list."""

    device_id: str
    create_time: datetime
    last_used_time: datetime
    expire_time: datetime
    revoke_time: datetime | None
    client: Client
    remembered: bool


def hash_of(secret: str) -> str:
    """What is kept of a sign-in id or a link's token: SHA-256, hex."""
    # A plain hash is enough for 256 random bits: there is nothing to guess.
    return sha256(secret.encode()).hexdigest()


def lifetime(*, remembered: bool) -> timedelta:
    """How long a sign-in lasts from its last use."""
    return REMEMBERED_LIFETIME if remembered else LIFETIME


def begin(
    connection: Connection,
    account_id: str,
    now: datetime,
    client: Client = Client(),  # noqa: B008 - frozen, and the same for all who say nothing
    *,
    remembered: bool = False,
) -> SignIn:
    """Makes a sign-in with a new random id."""
    key = SignInKey(account_id, secrets.token_urlsafe(32))
    expire_time = now + lifetime(remembered=remembered)
    connection.execute(
        sign_ins.insert().values(
            sign_in_hash=hash_of(key.sign_in_id),
            account_id=account_id,
            create_time=now,
            last_used_time=now,
            expire_time=expire_time,
            remembered=remembered,
            address=client.address,
            user_agent=client.user_agent,
        )
    )
    return SignIn(key, now, expire_time, remembered)


def check(
    connection: Connection, keys: Sequence[SignInKey], now: datetime
) -> dict[SignInKey, Caller]:
    """The callers behind those keys that are known, the account's own, not revoked, not expired."""
    hashes = {key: hash_of(key.sign_in_id) for key in keys}
    rows = connection.execute(_CHECK, {"hashes": list(hashes.values()), "now": now})
    callers = {
        row.sign_in_hash: Caller(account_of(row), *row[len(COLUMNS) :])  # in the select's order
        for row in rows
    }
    return {
        key: caller
        for key in keys
        if (caller := callers.get(hashes[key])) and caller.account.account_id == key.account_id
    }


def revoke(
    connection: Connection,
    account_id: str,
    now: datetime,
    *,
    only: str | None = None,
    but: str | None = None,
) -> list[AccountEvent]:
    """Ends an account's sign-ins, or one of them, or all but one; what must be told of it."""
    which = (_TABLE.account_id == account_id) & _live(now)
    if only is not None:
        which &= _TABLE.sign_in_hash == only
    if but is not None:
        which &= _TABLE.sign_in_hash != but
    ended = connection.execute(
        sign_ins.update().where(which).values(revoke_time=now).returning(_TABLE.sign_in_hash)
    )
    return [AccountEvent(EventKind.SIGN_IN_REVOKED, account_id, each) for each in ended.scalars()]


def require_own(connection: Connection, account_id: str, device_id: str) -> None:
    """Raises DeviceNotFoundError where the account never had that sign-in."""
    owned = select(_TABLE.account_id).where(
        _TABLE.sign_in_hash == hash_of_device(device_id), _TABLE.account_id == account_id
    )
    if connection.execute(owned).one_or_none() is None:
        raise DeviceNotFoundError


def hash_of_device(device_id: str) -> str:
    """The stored form of a device's id; empty, which nothing has, for what cannot be one."""
    return device_id if len(device_id) == 64 and device_id.isalnum() else ""


def list_devices(
    connection: Connection, account_id: str, *, live_at: datetime | None = None
) -> list[Device]:
    """An account's sign-ins, the one used last first: those that live, or all that are kept."""
    query = select(sign_ins).where(_TABLE.account_id == account_id)
    if live_at is not None:
        query = query.where(_live(live_at)).limit(MAX_DEVICES)
    rows = connection.execute(
        query.order_by(_TABLE.last_used_time.desc(), _TABLE.create_time.desc())
    )
    return [
        Device(
            row.sign_in_hash,
            row.create_time,
            row.last_used_time,
            row.expire_time,
            row.revoke_time,
            Client(row.address, row.user_agent),
            row.remembered,
        )
        for row in rows
    ]


def due(callers: Iterable[Caller], now: datetime) -> list[str]:
    """The hashes of those whose use wasn't recorded within the last minute."""
    return [c.sign_in_hash for c in callers if c.last_used_time <= now - USE_RECORDED_EVERY]


def record_use(connection: Connection, hashes: Collection[str], now: datetime) -> None:
    """Moves the expiry of sign-ins that were used.

    Rows that another transaction is changing are left to it: waiting for several of them in
    whatever order would let two batches wait for each other.
    """
    unclaimed = (
        select(_TABLE.sign_in_hash)
        .where(
            _TABLE.sign_in_hash.in_(hashes),
            _TABLE.last_used_time <= now - USE_RECORDED_EVERY,
            _live(now),
        )
        .with_for_update(skip_locked=True)
    )
    expire_time = case(
        (_TABLE.remembered, literal(now + REMEMBERED_LIFETIME, UtcTime())),
        else_=literal(now + LIFETIME, UtcTime()),
    )
    connection.execute(
        sign_ins.update()
        .where(_TABLE.sign_in_hash.in_(unclaimed))
        .values(last_used_time=now, expire_time=expire_time)
    )


def _live(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    return _TABLE.revoke_time.is_(None) & (_TABLE.expire_time > now)


# Every call asks it, and making it took longer than SQLite took to answer it.
_CHECK = (
    select(
        *COLUMNS,
        _TABLE.sign_in_hash,
        _TABLE.last_used_time,
        _TABLE.expire_time,
        _TABLE.remembered,
    )
    .join(accounts)
    .where(
        _TABLE.sign_in_hash.in_(bindparam("hashes", expanding=True)),
        _live(bindparam("now", type_=UtcTime())),
        accounts.c.disable_time.is_(None),
    )
)
