"""Who can register: the mode that the operator has set, and invitations."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, select

from subscription_svc import schema
from subscription_svc.account_rows import any_account
from subscription_svc.credentials import EmailAddress
from subscription_svc.refusals import (
    InvitationInvalidError,
    InvitationNeededError,
    RegistrationClosedError,
)
from subscription_svc.sign_ins import hash_of

LIFETIME = timedelta(days=7)
MAX_LISTED = 200

_TABLE = schema.invitations.c


class RegistrationMode(StrEnum):
    """Who can register once there is an account; the first can always be made."""

    OPEN = "open"
    INVITATION = "invitation"
    CLOSED = "closed"


@dataclass(frozen=True)
class Invitation:
    """Leave to register. It is named by the hash of its token, which is kept nowhere."""

    invitation_id: str
    email: str
    email_key: str
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True)
class Leave:
    """Whether somebody may register now: `first` of all, or by an invitation where one is good."""

    first: bool
    invitation: Invitation | None


def require_leave(
    connection: Connection, mode: RegistrationMode, token: str, now: datetime
) -> Leave:
    """Raises RegistrationClosedError, InvitationNeededError, InvitationInvalidError."""
    if not any_account(connection):
        return Leave(True, None)
    if mode is RegistrationMode.CLOSED:
        raise RegistrationClosedError
    invitation = find(connection, token, now) if token else None
    if mode is RegistrationMode.INVITATION and invitation is None:
        raise InvitationInvalidError if token else InvitationNeededError
    return Leave(False, invitation)


def require_meant(invitation: Invitation | None, email: EmailAddress) -> None:
    """Raises InvitationInvalidError where the invitation is for another address."""
    if invitation is not None and invitation.email_key not in {"", email.key}:
        raise InvitationInvalidError


def create(
    connection: Connection, inviter_id: str | None, email: EmailAddress | None, now: datetime
) -> tuple[Invitation, str]:
    """Makes an invitation, and its token."""
    token = secrets.token_urlsafe(32)
    invitation = Invitation(
        hash_of(token),
        email.given if email else "",
        email.key if email else "",
        now,
        now + LIFETIME,
    )
    connection.execute(
        schema.invitations.insert().values(
            token_hash=invitation.invitation_id,
            account_id=inviter_id,
            email=invitation.email,
            email_key=invitation.email_key,
            create_time=now,
            expire_time=invitation.expire_time,
        )
    )
    return invitation, token


def find(connection: Connection, token: str, now: datetime) -> Invitation | None:
    """The invitation of a token, while it is good."""
    row = connection.execute(
        select(schema.invitations).where(
            _TABLE.token_hash == hash_of(token), _TABLE.expire_time > now
        )
    ).one_or_none()
    return _invitation(row) if row else None


def use_up(connection: Connection, invitation: Invitation) -> None:
    """Takes an invitation away. Raises InvitationInvalidError where somebody was faster."""
    if not _delete(connection, invitation.invitation_id):
        raise InvitationInvalidError


def withdraw(connection: Connection, invitation_id: str) -> bool:
    """Takes an invitation away; False where it was gone already."""
    return _delete(connection, invitation_id.replace("\0", ""))  # PostgreSQL has none


def list_usable(
    connection: Connection, now: datetime, *, inviter_id: str | None = None
) -> Sequence[Invitation]:
    """Invitations that are good, the latest first; everybody's, or one account's."""
    query = select(schema.invitations).where(_TABLE.expire_time > now)
    if inviter_id is not None:
        query = query.where(_TABLE.account_id == inviter_id)
    rows = connection.execute(query.order_by(_TABLE.create_time.desc()).limit(MAX_LISTED))
    return [_invitation(row) for row in rows]


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(row.token_hash, row.email, row.email_key, row.create_time, row.expire_time)


def _delete(connection: Connection, invitation_id: str) -> bool:
    deleted = connection.execute(
        schema.invitations.delete().where(_TABLE.token_hash == invitation_id)
    )
    return deleted.rowcount > 0


def invitation_link(public_url: str, token: str) -> str:
    """Where a token is used."""
    return f"{public_url}/register?invitation={token}"
