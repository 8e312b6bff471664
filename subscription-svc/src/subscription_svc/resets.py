"""Lost passwords: links that set a new one, once."""

import secrets
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from foretick_rpc.database import Database
from subscription_svc import audit, events, schema, sign_ins
from subscription_svc.account_rows import Account, find_account, lock_account, set_password
from subscription_svc.audit import AuditKind, Entry
from subscription_svc.clients import Client
from subscription_svc.credentials import check_new_password, parse_email
from subscription_svc.letters import password_changed
from subscription_svc.mail import Letter, Mailer
from subscription_svc.passwords import Passwords
from subscription_svc.refusals import AccountNotFoundError, ResetTokenInvalidError
from subscription_svc.sign_ins import Clock, hash_of

LIFETIME = timedelta(hours=1)
HANDED_OVER = timedelta(hours=24)  # of a link that goes from hand to hand
MAX_LETTERS = 3  # to an address, within the time below
LETTERS_WITHIN = timedelta(hours=1)

_TABLE = schema.password_resets.c


def begin_reset(
    connection: Connection, account_id: str, now: datetime, lasts: timedelta = LIFETIME
) -> str:
    """Makes the token of a link."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        schema.password_resets.insert().values(
            token_hash=hash_of(token), account_id=account_id, expire_time=now + lasts
        )
    )
    return token


def forget_resets(connection: Connection, account_id: str) -> None:
    """Takes all of an account's links away."""
    connection.execute(schema.password_resets.delete().where(_TABLE.account_id == account_id))


def find_reset(connection: Connection, token: str, now: datetime) -> str:
    """Whose password the token sets. Raises ResetTokenInvalidError."""
    account_id: str | None = connection.execute(
        schema.password_resets.select()
        .with_only_columns(_TABLE.account_id)
        .where(_TABLE.token_hash == hash_of(token), _TABLE.expire_time > now)
    ).scalar_one_or_none()
    if account_id is None:
        raise ResetTokenInvalidError
    return account_id


def reset_link(public_url: str, token: str) -> str:
    """Where a token is used."""
    return f"{public_url}/reset-password?token={token}"


class Resets:
    """What AccountService does for those who have lost their password."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        mailer: Mailer,
        public_url: str,
        now: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._mailer = mailer
        self._public_url = public_url
        self._now = now

    async def request(self, email: str, client: Client) -> None:
        """Mails a link, after the answer, where there is an account; else does the same but that.

        Raises FieldInvalidError, TooManyAttemptsError.
        """
        address = parse_email(email)
        subject = audit.subject_of(address.key)

        def work(connection: Connection) -> tuple[Account | None, int]:
            now = self._now()
            audit.require_network(connection, client, now)
            account = find_account(connection, address.key)
            account_id = account.account_id if account else None
            kind = AuditKind.RESET_REQUESTED
            audit.record(connection, Entry(kind, client, now, account_id, subject))
            return account, audit.count_resets(connection, subject, now - LETTERS_WITHIN)

        account, asked = await self._database.write(work)
        if account is not None and account.disable_time is None and asked <= MAX_LETTERS:
            self._mailer.post(partial(self._letter, account))

    async def reset(self, token: str, new_password: str, client: Client) -> str:
        """Sets a new password and ends all sign-ins; the address that signs in by it.

        Raises FieldInvalidError, ResetTokenInvalidError, TooManyAttemptsError.
        """
        try:
            account = await self._database.read(lambda c: self._account(c, token, client))
            normalised = check_new_password(
                new_password, account.email_key, account.email, field="new_password"
            )
            password_hash = await self._passwords.hash(normalised)
            changed = await self._database.write(
                lambda connection: self._reset(connection, token, password_hash, client)
            )
        except ResetTokenInvalidError:
            await self._database.write(
                lambda connection: audit.record(
                    connection, Entry(AuditKind.RESET_REFUSED, client, self._now())
                )
            )
            raise
        self._mailer.post(password_changed(changed.email, client, self._now()))
        return changed.email

    def _account(self, connection: Connection, token: str, client: Client) -> Account:
        now = self._now()
        audit.require_network(connection, client, now)
        try:
            return lock_account(connection, find_reset(connection, token, now))
        except AccountNotFoundError:  # deleted in between
            raise ResetTokenInvalidError from None

    def _reset(
        self, connection: Connection, token: str, password_hash: str, client: Client
    ) -> Account:
        now = self._now()
        account = self._account(connection, token, client)
        find_reset(connection, token, now)  # again: whoever held the lock before may have used it
        set_password(connection, account.account_id, password_hash)
        forget_resets(connection, account.account_id)
        ended = sign_ins.revoke(connection, account.account_id, now)
        audit.record(connection, account.entry(AuditKind.PASSWORD_RESET, client, now))
        events.append(connection, ended, now)
        return account

    async def _letter(self, account: Account) -> Letter:
        token = await self._database.write(
            lambda connection: begin_reset(connection, account.account_id, self._now())
        )
        return Letter(
            account.email,
            "Set a new password for Foretick",
            "Somebody, you we hope, asked for a new password for your Foretick account.\n\n"
            f"Set it here within an hour: {reset_link(self._public_url, token)}\n\n"
            "If it was not you, do nothing: your password stays as it is.\n",
        )
