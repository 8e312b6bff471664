"""Sign-ins: what one browser has after signing in. Every check of one is made here."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection, select

from subscription_svc.refusals import SignInInvalidError
from subscription_svc.schema import accounts, sign_ins

Clock = Callable[[], datetime]

LIFETIME = timedelta(days=30)  # from its last use
USE_RECORDED_EVERY = timedelta(hours=1)  # so that reading isn't writing


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


@dataclass(frozen=True)
class Caller:
    """Who is behind a key that was checked."""

    account_id: str
    email: str
    sign_in_hash: str
    last_used_time: datetime


def _hash(sign_in_id: str) -> str:
    # A plain hash is enough for 256 random bits: there is nothing to guess.
    return sha256(sign_in_id.encode()).hexdigest()


def begin(connection: Connection, account_id: str, now: datetime) -> SignIn:
    """Makes a sign-in with a new random id."""
    key = SignInKey(account_id, secrets.token_urlsafe(32))
    connection.execute(
        sign_ins.insert().values(
            sign_in_hash=_hash(key.sign_in_id),
            account_id=account_id,
            create_time=now,
            last_used_time=now,
            expire_time=now + LIFETIME,
        )
    )
    return SignIn(key, now, now + LIFETIME)


def revoke(connection: Connection, key: SignInKey, now: datetime) -> None:
    """Ends a sign-in; one that has ended or never was stays as it is."""
    if "\0" in key.account_id:  # nobody's, and PostgreSQL refuses even to compare it
        return
    connection.execute(
        sign_ins.update()
        .where(
            sign_ins.c.sign_in_hash == _hash(key.sign_in_id),
            sign_ins.c.account_id == key.account_id,
            sign_ins.c.revoke_time.is_(None),
        )
        .values(revoke_time=now)
    )


def check(
    connection: Connection, keys: Sequence[SignInKey], now: datetime
) -> dict[SignInKey, Caller]:
    """The callers behind those keys that are known, the account's own, not revoked, not expired."""
    rows = connection.execute(
        select(
            sign_ins.c.account_id,
            accounts.c.email,
            sign_ins.c.sign_in_hash,
            sign_ins.c.last_used_time,
        )
        .join(accounts)
        .where(
            sign_ins.c.sign_in_hash.in_([_hash(key.sign_in_id) for key in keys]),
            sign_ins.c.revoke_time.is_(None),
            sign_ins.c.expire_time > now,
        )
    )
    callers = {row.sign_in_hash: Caller(*row) for row in rows}
    return {
        key: caller
        for key in keys
        if (caller := callers.get(_hash(key.sign_in_id))) and caller.account_id == key.account_id
    }


def require(connection: Connection, key: SignInKey, now: datetime) -> Caller:
    """The caller behind one key, its use recorded. Raises SignInInvalidError."""
    caller = check(connection, [key], now).get(key)
    if caller is None:
        raise SignInInvalidError
    record_use(connection, due([caller], now), now)
    return caller


def due(callers: Iterable[Caller], now: datetime) -> list[Caller]:
    """Those whose use wasn't recorded within the last hour."""
    return [caller for caller in callers if caller.last_used_time <= now - USE_RECORDED_EVERY]


def record_use(connection: Connection, callers: Sequence[Caller], now: datetime) -> None:
    """Moves the expiry of sign-ins that were used; no statement where there is none.

    Rows that another transaction is changing are left to it: waiting for several of them in
    whatever order would let two batches wait for each other.
    """
    if callers:
        unclaimed = (
            select(sign_ins.c.sign_in_hash)
            .where(
                sign_ins.c.sign_in_hash.in_([caller.sign_in_hash for caller in callers]),
                sign_ins.c.last_used_time <= now - USE_RECORDED_EVERY,
                sign_ins.c.revoke_time.is_(None),
            )
            .with_for_update(skip_locked=True)
        )
        connection.execute(
            sign_ins.update()
            .where(sign_ins.c.sign_in_hash.in_(unclaimed))
            .values(last_used_time=now, expire_time=now + LIFETIME)
        )
