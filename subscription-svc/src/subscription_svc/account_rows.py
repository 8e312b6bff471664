"""Accounts as the database has them: the statements."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select
from sqlalchemy.exc import IntegrityError

from subscription_svc.audit import AuditKind, Entry, subject_of
from subscription_svc.clients import Client
from subscription_svc.credentials import EmailAddress
from subscription_svc.events import lock_versions
from subscription_svc.refusals import (
    AccountNotFoundError,
    EmailTakenError,
    LastAdministratorError,
)
from subscription_svc.schema import accounts, audit_events, invitations, sign_ins

_TABLE = accounts.c


@dataclass(frozen=True)
class Account:
    """Somebody who can sign in, unless disabled."""

    account_id: str
    email: str
    email_key: str
    create_time: datetime
    administrator: bool = False
    disable_time: datetime | None = None

    @property
    def subject(self) -> str:
        """What failed attempts are counted by."""
        return subject_of(self.email_key)

    def entry(self, kind: AuditKind, client: Client, now: datetime, detail: str = "") -> Entry:
        """What its audit log says of something."""
        return Entry(kind, client, now, self.account_id, self.subject, detail)


@dataclass(frozen=True)
class Credentials:
    """What a password is verified against; the version counts changes of address and password."""

    account: Account
    password_hash: str = field(repr=False)
    version: int


COLUMNS = (
    _TABLE.account_id,
    _TABLE.email,
    _TABLE.email_key,
    _TABLE.create_time,
    _TABLE.administrator,
    _TABLE.disable_time,
)


_LOCK = (
    select(*COLUMNS)
    .where(_TABLE.account_id.in_(bindparam("accounts", expanding=True)))
    .order_by(_TABLE.account_id)  # whoever locks several does it in this order
    .with_for_update(key_share=True)
)


def account_of(row: Sequence[Any] | Row[Any]) -> Account:
    """The account of a row that begins with `COLUMNS`."""
    return Account(*row[: len(COLUMNS)])


def insert_account(
    connection: Connection,
    email: EmailAddress,
    password_hash: str,
    now: datetime,
    *,
    administrator: bool = False,
) -> Account:
    """Makes an account. Raises EmailTakenError; the database decides who was first."""
    account = Account(uuid.uuid4().hex, email.given, email.key, now, administrator)
    row = accounts.insert().values(
        account_id=account.account_id,
        email=email.given,
        email_key=email.key,
        password_hash=password_hash,
        credentials_version=1,
        create_time=now,
        administrator=administrator,
    )
    try:
        connection.execute(row)
    except IntegrityError:
        # Not chained: the database's error quotes the row, password hash included.
        raise EmailTakenError from None
    return account


def find_credentials(connection: Connection, email_key: str) -> Credentials | None:
    """What signs in at an address."""
    row = connection.execute(
        select(*COLUMNS, _TABLE.password_hash, _TABLE.credentials_version).where(
            _TABLE.email_key == email_key
        )
    ).one_or_none()
    return row and Credentials(account_of(row), row.password_hash, row.credentials_version)


def find_account(connection: Connection, email_key: str) -> Account | None:
    """The account of an address."""
    found = find_credentials(connection, email_key)
    return found.account if found else None


def any_account(connection: Connection) -> bool:
    """Whether anybody has registered."""
    return connection.execute(select(_TABLE.account_id).limit(1)).one_or_none() is not None


def has_others(connection: Connection, account: Account) -> bool:
    """Whether there are accounts beside one."""
    others = select(_TABLE.account_id).where(_TABLE.account_id != account.account_id).limit(1)
    return connection.execute(others).one_or_none() is not None


def lock_account(connection: Connection, account_id: str) -> Account:
    """The account as it is, which nobody else changes until the end of the transaction.

    Raises AccountNotFoundError.
    """
    account_id = account_id.replace("\0", "")  # PostgreSQL has none
    account = lock_accounts(connection, [account_id]).get(account_id)
    if account is None:
        raise AccountNotFoundError
    return account


def lock_accounts(connection: Connection, account_ids: Collection[str]) -> dict[str, Account]:
    """Those of the accounts that there are, which nobody else changes meanwhile.

    SQLite, where writes take turns anyway, ignores the lock. Whoever only refers to the account
    isn't held up: hence `key_share`.
    """
    rows = connection.execute(_LOCK, {"accounts": list(account_ids)})
    return {row.account_id: account_of(row) for row in rows}


def replace_password_hash(connection: Connection, verified: Credentials, new: str) -> None:
    """Puts a hash in the place of another of the same password, unless that is gone by now."""
    connection.execute(
        accounts.update()
        .where(
            _TABLE.account_id == verified.account.account_id,
            _TABLE.password_hash == verified.password_hash,
        )
        .values(password_hash=new)
    )


def lock_verified(connection: Connection, verified: Credentials) -> Account | None:
    """As `lock_account`; None where address or password were changed since."""
    try:
        account = lock_account(connection, verified.account.account_id)
    except AccountNotFoundError:
        return None
    version = connection.execute(
        select(_TABLE.credentials_version).where(_TABLE.account_id == account.account_id)
    ).scalar_one()
    return account if version == verified.version else None


def set_password(connection: Connection, account_id: str, password_hash: str) -> None:
    """Sets another password."""
    _set_credentials(connection, account_id, password_hash=password_hash)


def set_email(connection: Connection, account_id: str, email: EmailAddress) -> None:
    """Sets another address. Raises EmailTakenError."""
    try:
        _set_credentials(connection, account_id, email=email.given, email_key=email.key)
    except IntegrityError:
        raise EmailTakenError from None


def _set_credentials(connection: Connection, account_id: str, **values: str) -> None:
    version = _TABLE.credentials_version + 1
    connection.execute(
        accounts.update()
        .where(_TABLE.account_id == account_id)
        .values(credentials_version=version, **values)
    )


def forget_address(connection: Connection, email_key: str) -> None:
    """Deletes what names an address without being an account's: it gets or had an account."""
    for table, names in (
        (
            audit_events,
            (audit_events.c.subject == subject_of(email_key)) & audit_events.c.account_id.is_(None),
        ),
        (invitations, invitations.c.email_key == email_key),
    ):
        connection.execute(table.delete().where(names))


def set_standing(
    connection: Connection, account_id: str, *, administrator: bool, disable_time: datetime | None
) -> None:
    """Sets what an account may do."""
    connection.execute(
        accounts.update()
        .where(_TABLE.account_id == account_id)
        .values(administrator=administrator, disable_time=disable_time)
    )


def require_other_administrator(connection: Connection, account: Account) -> None:
    """Raises LastAdministratorError where nobody else would be left to administrate others.

    Two who leave at once take turns.
    """
    if not account.administrator:
        return
    lock_versions(connection)
    others = _TABLE.account_id != account.account_id
    able = _TABLE.administrator & _TABLE.disable_time.is_(None)
    if connection.execute(select(_TABLE.account_id).where(others & able).limit(1)).first() is None:
        raise LastAdministratorError


def list_accounts(
    connection: Connection, *, after: str = "", limit: int | None = None
) -> Sequence[tuple[Account, datetime | None]]:
    """Accounts in order of the keys of their addresses, and when each was last used."""
    page = (
        select(*COLUMNS)
        .where(_TABLE.email_key > after)
        .order_by(_TABLE.email_key)
        .limit(limit)
        .subquery()
    )
    last_used = (
        select(func.max(sign_ins.c.last_used_time))
        .where(sign_ins.c.account_id == page.c.account_id)
        .scalar_subquery()
    )
    rows = connection.execute(select(page, last_used.label("used")).order_by(page.c.email_key))
    return [(account_of(row), row.used) for row in rows]
