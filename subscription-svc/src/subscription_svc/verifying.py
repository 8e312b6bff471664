"""Passwords of accounts, verified with the failures before them counted."""

from sqlalchemy import Connection

from foretick_rpc.database import Database
from subscription_svc import audit
from subscription_svc.account_rows import Credentials, find_credentials
from subscription_svc.admission import Admission
from subscription_svc.audit import AuditKind, Entry
from subscription_svc.clients import Client
from subscription_svc.credentials import normalise_password
from subscription_svc.passwords import Passwords
from subscription_svc.refusals import CredentialsWrongError, PasswordWrongError, SignInInvalidError
from subscription_svc.sign_ins import Caller, Clock, SignInKey


class Verifier:
    """Verifies a password once, and writes a failure down before anybody else has a turn."""

    def __init__(
        self, database: Database, admission: Admission, passwords: Passwords, now: Clock
    ) -> None:
        self._database = database
        self._admission = admission
        self._passwords = passwords
        self._now = now

    async def by_address(self, email_key: str, password: str, client: Client) -> Credentials:
        """What signs in at an address, by a normalised password.

        Where there is none the work is the same. Raises CredentialsWrongError,
        TooManyAttemptsError.
        """
        subject = audit.subject_of(email_key)

        def look(connection: Connection) -> Credentials | None:
            audit.require_attempt(connection, subject, client, self._now())
            return find_credentials(connection, email_key)

        async with self._passwords.turn:
            found = await self._database.read(look)
            password_hash = found.password_hash if found else None
            matches = await self._passwords.matches(password_hash, password)
            if found is None or not matches:
                await self._record(AuditKind.SIGN_IN_FAILED, found, subject, client)
                raise CredentialsWrongError
        return found

    async def by_sign_in(self, key: SignInKey, password: str, client: Client) -> Credentials:
        """The credentials of somebody who is signed in, by the password as it was typed.

        Raises SignInInvalidError, PasswordWrongError, TooManyAttemptsError.
        """

        def look(connection: Connection, caller: Caller) -> Credentials | None:
            audit.require_attempt(connection, caller.account.subject, client, self._now())
            return find_credentials(connection, caller.account.email_key)

        async with self._passwords.turn:
            found = await self._admission.read(key, look)
            if found is None:  # the address was changed in between
                raise SignInInvalidError
            matches = await self._passwords.matches(
                found.password_hash, normalise_password(password)
            )
            if not matches:
                subject = found.account.subject
                await self._record(AuditKind.PASSWORD_WRONG, found, subject, client)
                raise PasswordWrongError
        return found

    async def _record(
        self, kind: AuditKind, found: Credentials | None, subject: str, client: Client
    ) -> None:
        account_id = found.account.account_id if found else None
        entry = Entry(kind, client, self._now(), account_id, subject)
        await self._database.write(lambda connection: audit.record(connection, entry))
