"""Accounts: registering, signing in and out."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from foretick_rpc.database import Database
from subscription_svc import schema, sign_ins
from subscription_svc.credentials import (
    EmailAddress,
    check_new_password,
    normalise_password,
    parse_email,
)
from subscription_svc.passwords import Passwords
from subscription_svc.refusals import CredentialsWrongError, EmailTakenError, FieldInvalidError
from subscription_svc.sign_ins import Clock, SignIn, SignInKey


@dataclass(frozen=True)
class Account:
    """Somebody who can sign in."""

    account_id: str
    email: str
    create_time: datetime


def insert_account(
    connection: Connection, email: EmailAddress, password_hash: str, now: datetime
) -> Account:
    """Makes an account. Raises EmailTakenError; the database decides who was first."""
    account = Account(uuid.uuid4().hex, email.given, now)
    row = schema.accounts.insert().values(
        account_id=account.account_id,
        email=email.given,
        email_key=email.key,
        password_hash=password_hash,
        create_time=now,
    )
    try:
        connection.execute(row)
    except IntegrityError:
        # Not chained: the database's error quotes the row, password hash included.
        raise EmailTakenError from None
    return account


def find_account(connection: Connection, email_key: str) -> tuple[Account, str] | None:
    """The account of an address, and its password hash."""
    table = schema.accounts.c
    row = connection.execute(
        select(table.account_id, table.email, table.create_time, table.password_hash).where(
            table.email_key == email_key
        )
    ).one_or_none()
    return row and (Account(row.account_id, row.email, row.create_time), row.password_hash)


def replace_password_hash(connection: Connection, account: Account, old: str, new: str) -> None:
    """Puts a hash in the place of another of the same password, unless that is gone by now."""
    connection.execute(
        schema.accounts.update()
        .where(
            schema.accounts.c.account_id == account.account_id,
            schema.accounts.c.password_hash == old,
        )
        .values(password_hash=new)
    )


class Accounts:
    """What AccountService does."""

    def __init__(self, database: Database, passwords: Passwords, now: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._now = now

    async def register(self, email: str, password: str) -> tuple[Account, SignIn]:
        """Makes an account and signs it in. Raises FieldInvalidError, EmailTakenError."""
        address = parse_email(email)
        password_hash = await self._passwords.hash(check_new_password(password, address))

        def work(connection: Connection) -> tuple[Account, SignIn]:
            now = self._now()
            account = insert_account(connection, address, password_hash, now)
            return account, sign_ins.begin(connection, account.account_id, now)

        return await self._database.write(work)

    async def sign_in(self, email: str, password: str) -> tuple[Account, SignIn]:
        """Signs in. Raises CredentialsWrongError, after the same work whatever is wrong."""
        found = await self._find(email)
        account, password_hash = found or (None, None)
        normalised = normalise_password(password)
        matches = await self._passwords.matches(password_hash, normalised)
        if account is None or password_hash is None or not matches:
            raise CredentialsWrongError
        new_hash = None
        if self._passwords.outdated(password_hash):
            new_hash = await self._passwords.hash(normalised)

        def work(connection: Connection) -> SignIn:
            if new_hash is not None:
                replace_password_hash(connection, account, password_hash, new_hash)
            return sign_ins.begin(connection, account.account_id, self._now())

        return account, await self._database.write(work)

    async def sign_out(self, key: SignInKey) -> None:
        """Ends a sign-in; ending one that has ended is no error."""
        if not key.account_id or not key.sign_in_id:
            raise FieldInvalidError("key", "Account id and sign-in id are both needed.")
        await self._database.write(lambda connection: sign_ins.revoke(connection, key, self._now()))

    async def _find(self, email: str) -> tuple[Account, str] | None:
        try:
            address = parse_email(email)
        except FieldInvalidError:
            return None  # no account can have it
        return await self._database.read(lambda connection: find_account(connection, address.key))
