"""The audit log: what was done with accounts, and what failed. Attempts are counted in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, select

from subscription_svc.clients import Client
from subscription_svc.refusals import TooManyAttemptsError
from subscription_svc.schema import accounts, audit_events

_TABLE = audit_events.c

WINDOW = timedelta(minutes=15)
MAX_FAILURES = 10  # of an account, within the window
MAX_NETWORK_FAILURES = 50  # of an address: a household, or an office behind one router
MAX_DETAIL = 300
_KNOWN_FOR = timedelta(days=30)


class AuditKind(StrEnum):
    """What can be written down. The last ones belong to no account, and nobody is shown them."""

    REGISTERED = auto()
    SIGNED_IN = auto()
    SIGN_IN_FAILED = auto()
    SIGNED_OUT = auto()
    DEVICES_REVOKED = auto()
    PASSWORD_WRONG = auto()
    PASSWORD_CHANGED = auto()
    EMAIL_CHANGED = auto()
    RESET_REQUESTED = auto()
    PASSWORD_RESET = auto()
    EXPORTED = auto()
    DISABLED = auto()
    ENABLED = auto()
    MADE_ADMINISTRATOR = auto()
    INVITED = auto()
    INVITATION_WITHDRAWN = auto()
    RESET_LINK_MADE = auto()
    REGISTRATION_REFUSED = auto()
    RESET_REFUSED = auto()


_GUESSES = (AuditKind.SIGN_IN_FAILED, AuditKind.PASSWORD_WRONG)
_COUNTED = (
    *_GUESSES,
    AuditKind.RESET_REQUESTED,
    AuditKind.REGISTRATION_REFUSED,
    AuditKind.RESET_REFUSED,
)


@dataclass(frozen=True)
class Entry:
    """What is to be written down; `subject` is what it counts for, `detail` is for people."""

    kind: AuditKind
    client: Client
    event_time: datetime
    account_id: str | None = None
    subject: str = ""
    detail: str = ""


@dataclass(frozen=True)
class AuditEvent:
    """Something that was done with an account, or tried."""

    event_id: int
    kind: AuditKind
    event_time: datetime
    client: Client
    detail: str


def subject_of(email_key: str) -> str:
    """What failures are counted by, for accounts that exist and for those that don't."""
    return sha256(email_key.encode()).hexdigest()


def record(connection: Connection, entry: Entry) -> None:
    """Writes down what was done or tried. What no account has is forgotten after a day."""
    # Of an account that was deleted meanwhile it is nobody's.
    owner = select(accounts.c.account_id).where(accounts.c.account_id == entry.account_id)
    connection.execute(
        audit_events.insert().values(
            account_id=owner.scalar_subquery(),
            kind=entry.kind.value,
            event_time=entry.event_time,
            subject=entry.subject,
            network=entry.client.network,
            address=entry.client.address,
            user_agent=entry.client.user_agent,
            detail=entry.detail[:MAX_DETAIL],
        )
    )


def list_events(
    connection: Connection, account_id: str, *, before: int | None = None, limit: int | None = None
) -> Sequence[AuditEvent]:
    """What was written down about an account, the latest first, from below an event's id."""
    query = select(audit_events).where(_TABLE.account_id == account_id)
    if before is not None:
        query = query.where(_TABLE.event_id < before)
    rows = connection.execute(query.order_by(_TABLE.event_id.desc()).limit(limit))
    return [
        AuditEvent(
            row.event_id,
            AuditKind(row.kind),
            row.event_time,
            Client(row.address, row.user_agent),
            row.detail,
        )
        for row in rows
    ]


def require_attempt(connection: Connection, subject: str, client: Client, now: datetime) -> None:
    """Lets a guess at an account's password pass. Raises TooManyAttemptsError.

    Somebody else's failures don't lock the owner out: where the account was signed in from the
    same network within a month, only failures from there count.
    """
    require_network(connection, client, now)
    guesses = (_TABLE.subject == subject) & _TABLE.kind.in_(_GUESSES)
    if (wait := _wait(connection, guesses, MAX_FAILURES, WINDOW, now)) is None:
        return
    if _is_known(connection, subject, client, now):
        guesses &= _TABLE.network == client.network
        wait = _wait(connection, guesses, MAX_FAILURES, WINDOW, now)
    if wait is not None:
        raise TooManyAttemptsError(wait)


def require_network(connection: Connection, client: Client, now: datetime) -> None:
    """Lets an attempt of a client pass, whatever the account. Raises TooManyAttemptsError."""
    if client.network:
        failures = (_TABLE.network == client.network) & _TABLE.kind.in_(_COUNTED)
        wait = _wait(connection, failures, MAX_NETWORK_FAILURES, WINDOW, now)
        if wait is not None:
            raise TooManyAttemptsError(wait)


def count_resets(connection: Connection, subject: str, since: datetime) -> int:
    """How many links were asked for, for an address."""
    rows = connection.execute(
        select(_TABLE.event_id).where(
            _TABLE.subject == subject,
            _TABLE.kind == AuditKind.RESET_REQUESTED,
            _TABLE.event_time > since,
        )
    )
    return len(rows.all())


def _wait(
    connection: Connection,
    which: ColumnElement[bool],
    allowed: int,
    window: timedelta,
    now: datetime,
) -> timedelta | None:
    """How long until fewer than `allowed` are within the window; None where that is so now."""
    oldest = connection.execute(
        select(_TABLE.event_time)
        .where(which, _TABLE.event_time > now - window)
        .order_by(_TABLE.event_time.desc())
        .offset(allowed - 1)
        .limit(1)
    ).scalar_one_or_none()
    return oldest and oldest + window - now


def _is_known(connection: Connection, subject: str, client: Client, now: datetime) -> bool:
    if not client.network:
        return False
    row = connection.execute(
        select(_TABLE.event_id)
        .where(
            _TABLE.subject == subject,
            _TABLE.kind == AuditKind.SIGNED_IN,
            _TABLE.network == client.network,
            _TABLE.event_time > now - _KNOWN_FOR,
        )
        .limit(1)
    ).one_or_none()
    return row is not None
