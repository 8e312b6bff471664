"""What administrators do."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from subscription_svc import audit, events, invitations, resets, sign_ins
from subscription_svc.account_rows import (
    Account,
    list_accounts,
    lock_account,
    require_other_administrator,
    set_standing,
)
from subscription_svc.admission import Admission
from subscription_svc.audit import AuditKind
from subscription_svc.clients import Client
from subscription_svc.credentials import parse_email
from subscription_svc.events import AccountEvent, EventKind
from subscription_svc.invitations import Invitation, RegistrationMode, invitation_link
from subscription_svc.mail import Letter, Mailer
from subscription_svc.refusals import (
    FieldInvalidError,
    RegistrationClosedError,
    ResetsAreMailedError,
)
from subscription_svc.sign_ins import Caller, Clock, SignInKey


def change_standing(
    connection: Connection, account_id: str, now: datetime, *, disabled: bool
) -> Account:
    """Disables an account, which ends its sign-ins, or enables it; twice is no error.

    Raises AccountNotFoundError, LastAdministratorError.
    """
    account = lock_account(connection, account_id)
    if disabled == (account.disable_time is not None):
        return account
    told = AccountEvent(EventKind.ACCOUNT_CHANGED, account_id)
    if disabled:
        sign_ins.revoke(connection, account_id, now)
        require_other_administrator(connection, account)
        told = AccountEvent(EventKind.ACCOUNT_DISABLED, account_id)
    set_standing(
        connection,
        account_id,
        administrator=account.administrator,
        disable_time=now if disabled else None,
    )
    # Where the administrator sits is nothing for the log of somebody else.
    kind = AuditKind.DISABLED if disabled else AuditKind.ENABLED
    audit.record(connection, account.entry(kind, Client(), now))
    events.append(connection, [told], now)
    return lock_account(connection, account_id)


class Administration:
    """What AdministrationService does. Raises SignInInvalidError, AdministratorOnlyError."""

    def __init__(
        self,
        admission: Admission,
        mailer: Mailer,
        mode: RegistrationMode,
        public_url: str,
        now: Clock,
    ) -> None:
        self._admission = admission
        self._mailer = mailer
        self.mode = mode
        self._public_url = public_url
        self._now = now

    async def accounts(
        self, key: SignInKey, *, after: str, limit: int
    ) -> Sequence[tuple[Account, datetime | None]]:
        """Accounts by address, from behind a key on, and when each was last used."""
        return await self._admission.read(
            key,
            lambda connection, _: list_accounts(connection, after=after, limit=limit),
            administrator=True,
        )

    async def set_disabled(self, key: SignInKey, account_id: str, *, disabled: bool) -> Account:
        """See `change_standing`."""
        return await self._admission.write(
            key,
            lambda connection, _: change_standing(
                connection, account_id, self._now(), disabled=disabled
            ),
            administrator=True,
        )

    async def invite(
        self, key: SignInKey, email: str, client: Client
    ) -> tuple[Invitation, str, bool]:
        """An invitation, its token, and whether it is being mailed.

        Raises FieldInvalidError, RegistrationClosedError.
        """
        address = parse_email(email) if email.strip() else None

        def work(connection: Connection, caller: Caller) -> tuple[Invitation, str]:
            if self.mode is RegistrationMode.CLOSED:
                raise RegistrationClosedError
            audit.record(connection, caller.account.entry(AuditKind.INVITED, client, self._now()))
            return invitations.create(connection, caller.account.account_id, address, self._now())

        invitation, token = await self._admission.write(key, work, administrator=True)
        mailed = address is not None and self._mailer.is_set_up
        if mailed:
            link = invitation_link(self._public_url, token)

            async def letter() -> Letter:
                return Letter(
                    invitation.email,
                    "An invitation to Foretick",
                    "You are invited to Foretick, a stock watchlist that keeps score of its "
                    f"forecasts.\n\nRegister here within a week: {link}\n",
                )

            self._mailer.post(letter)
        return invitation, token, mailed

    @property
    def mails(self) -> bool:
        """Whether owners can have a link mailed."""
        return self._mailer.is_set_up

    async def begin_reset(
        self, key: SignInKey, account_id: str, client: Client
    ) -> tuple[str, datetime]:
        """The token of a link that sets somebody else's password, and when it ends.

        One's own takes the password. Raises FieldInvalidError, AccountNotFoundError,
        ResetsAreMailedError.
        """

        def work(connection: Connection, caller: Caller) -> tuple[str, datetime]:
            if self.mails:
                raise ResetsAreMailedError
            now, own = self._now(), caller.account
            if account_id == own.account_id:
                raise FieldInvalidError("account_id", "Change your own password by the old one.")
            account = lock_account(connection, account_id)
            # Where the administrator sits is nothing for the log of somebody else.
            by = Client()
            asked = account.entry(AuditKind.RESET_REQUESTED, by, now, "by an administrator")
            audit.record(connection, asked)
            audit.record(connection, own.entry(AuditKind.RESET_LINK_MADE, client, now))
            token = resets.begin_reset(connection, account_id, now, resets.HANDED_OVER)
            return token, now + resets.HANDED_OVER

        return await self._admission.write(key, work, administrator=True)

    async def list_invitations(self, key: SignInKey) -> Sequence[Invitation]:
        """Invitations that can still be used."""
        return await self._admission.read(
            key,
            lambda connection, _: invitations.list_usable(connection, self._now()),
            administrator=True,
        )

    async def withdraw(self, key: SignInKey, invitation_id: str, client: Client) -> None:
        """Takes an invitation away; one that is gone is no error."""

        def work(connection: Connection, caller: Caller) -> None:
            if invitations.withdraw(connection, invitation_id):
                kind = AuditKind.INVITATION_WITHDRAWN
                audit.record(connection, caller.account.entry(kind, client, self._now()))

        await self._admission.write(key, work, administrator=True)
