"""Before there is a sign-in: registering, and signing in."""

from dataclasses import dataclass

from sqlalchemy import Connection

from foretick_rpc.database import Database
from subscription_svc import audit, events, invitations, sign_ins
from subscription_svc.account_rows import (
    Account,
    any_account,
    find_account,
    forget_address,
    insert_account,
    lock_verified,
    replace_password_hash,
)
from subscription_svc.audit import AuditKind, Entry
from subscription_svc.clients import Client
from subscription_svc.credentials import (
    EmailAddress,
    attempted_key,
    check_new_password,
    normalise_password,
    parse_email,
)
from subscription_svc.events import lock_versions
from subscription_svc.invitations import Leave, RegistrationMode
from subscription_svc.passwords import Passwords
from subscription_svc.refusals import (
    AccountDisabledError,
    CredentialsWrongError,
    EmailTakenError,
    FieldInvalidError,
    InvitationInvalidError,
)
from subscription_svc.sign_ins import Clock, SignIn, SignInKey
from subscription_svc.verifying import Verifier


@dataclass(frozen=True)
class Registration:
    """What somebody who registers gives."""

    email: str
    password: str
    client: Client
    invitation_token: str = ""
    remember_me: bool = False


@dataclass(frozen=True)
class RegistrationState:
    """Who can register; `invited_email` is the only address that the invitation is for."""

    mode: RegistrationMode
    allowed: bool
    first: bool
    invited_email: str


class Accounts:
    """What AccountService does for those who are not signed in, but for lost passwords."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        verifier: Verifier,
        mode: RegistrationMode,
        now: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._verifier = verifier
        self._mode = mode
        self._now = now

    async def registration(self, invitation_token: str) -> RegistrationState:
        """Who can register now, with a token if there is one."""

        def work(connection: Connection) -> RegistrationState:
            now = self._now()
            first = not any_account(connection)
            found = invitations.find(connection, invitation_token, now)
            by_mode = {
                RegistrationMode.OPEN: True,
                RegistrationMode.INVITATION: found is not None,
                RegistrationMode.CLOSED: False,
            }
            return RegistrationState(
                self._mode, first or by_mode[self._mode], first, found.email if found else ""
            )

        return await self._database.read(work)

    async def register(self, given: Registration) -> tuple[Account, SignIn]:
        """Makes an account and signs it in.

        Raises FieldInvalidError, EmailTakenError, TooManyAttemptsError, and what says that
        registration is not open to everybody.
        """
        address = parse_email(given.email)
        password = check_new_password(given.password, address.key, address.given)
        try:
            # Asked before, so that a refusal costs no hash, and again when it counts.
            await self._database.read(lambda c: self._require_leave(c, given, address))
            password_hash = await self._passwords.hash(password)

            def work(connection: Connection) -> tuple[Account, SignIn]:
                lock_versions(connection)  # so that one only is the first
                return self._register(connection, given, address, password_hash)

            return await self._database.write(work)
        except (EmailTakenError, InvitationInvalidError):
            await self._database.write(
                lambda connection: audit.record(
                    connection, Entry(AuditKind.REGISTRATION_REFUSED, given.client, self._now())
                )
            )
            raise

    async def sign_in(
        self, email: str, password: str, client: Client, *, remember_me: bool = False
    ) -> tuple[Account, SignIn]:
        """Signs in.

        Raises CredentialsWrongError after the same work whatever is wrong, TooManyAttemptsError,
        and with the right password AccountDisabledError.
        """
        normalised = normalise_password(password)
        verified = await self._verifier.by_address(attempted_key(email), normalised, client)
        new_hash = None
        if self._passwords.outdated(verified.password_hash):
            new_hash = await self._passwords.hash(normalised)

        def work(connection: Connection) -> tuple[Account, SignIn]:
            if new_hash is not None:
                replace_password_hash(connection, verified, new_hash)
            account = lock_verified(connection, verified)
            if account is None:  # another password was set since
                raise CredentialsWrongError
            if account.disable_time is not None:
                raise AccountDisabledError
            now = self._now()
            audit.record(connection, account.entry(AuditKind.SIGNED_IN, client, now))
            return account, sign_ins.begin(
                connection, account.account_id, now, client, remembered=remember_me
            )

        return await self._database.write(work)

    async def sign_out(self, key: SignInKey, client: Client) -> None:
        """Ends a sign-in; ending one that has ended is no error."""
        if not key.account_id or not key.sign_in_id:
            raise FieldInvalidError("key", "Account id and sign-in id are both needed.")

        def work(connection: Connection) -> None:
            now = self._now()
            caller = sign_ins.check(connection, [key], now).get(key)
            if caller is not None:
                account = caller.account
                ended = sign_ins.revoke(
                    connection, account.account_id, now, only=caller.sign_in_hash
                )
                audit.record(connection, account.entry(AuditKind.SIGNED_OUT, client, now))
                events.append(connection, ended, now)

        await self._database.write(work)

    def _require_leave(
        self, connection: Connection, given: Registration, address: EmailAddress
    ) -> Leave:
        now = self._now()
        audit.require_network(connection, given.client, now)
        leave = invitations.require_leave(connection, self._mode, given.invitation_token, now)
        invitations.require_meant(leave.invitation, address)
        if find_account(connection, address.key) is not None:
            raise EmailTakenError
        return leave

    def _register(
        self,
        connection: Connection,
        given: Registration,
        address: EmailAddress,
        password_hash: str,
    ) -> tuple[Account, SignIn]:
        leave = self._require_leave(connection, given, address)
        now = self._now()
        if leave.invitation is not None:
            invitations.use_up(connection, leave.invitation)
        account = insert_account(connection, address, password_hash, now, administrator=leave.first)
        forget_address(connection, address.key)
        audit.record(connection, account.entry(AuditKind.REGISTERED, given.client, now))
        return account, sign_ins.begin(
            connection, account.account_id, now, given.client, remembered=given.remember_me
        )
