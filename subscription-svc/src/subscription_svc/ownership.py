"""What somebody who is signed in can see and change of their own account."""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from subscription_svc import audit, events, invitations, schema, sign_ins, subscription_rows
from subscription_svc.account_rows import (
    Account,
    Credentials,
    forget_address,
    has_others,
    lock_account,
    lock_verified,
    require_other_administrator,
    set_email,
    set_password,
)
from subscription_svc.admission import Admission
from subscription_svc.audit import AuditEvent, AuditKind
from subscription_svc.clients import Client
from subscription_svc.credentials import check_new_password, parse_email
from subscription_svc.events import AccountEvent, EventKind
from subscription_svc.letters import email_changed, password_changed
from subscription_svc.mail import Mailer
from subscription_svc.passwords import Passwords
from subscription_svc.refusals import SignInInvalidError
from subscription_svc.resets import forget_resets
from subscription_svc.sign_ins import Caller, Clock, Device, SignIn, SignInKey
from subscription_svc.verifying import Verifier


class Ownership:
    """What AccountService does for those who are signed in. Raises SignInInvalidError."""

    def __init__(
        self,
        admission: Admission,
        passwords: Passwords,
        verifier: Verifier,
        mailer: Mailer,
        now: Clock,
    ) -> None:
        self._admission = admission
        self._mailer = mailer
        self._passwords = passwords
        self._verifier = verifier
        self._now = now

    async def get(self, key: SignInKey) -> Caller:
        """The account, and its sign-in."""
        return await self._admission.read(key, lambda _, caller: caller)

    async def devices(self, key: SignInKey) -> tuple[list[Device], str]:
        """The sign-ins that have not ended, and the id of the one that asks."""

        def work(connection: Connection, caller: Caller) -> tuple[list[Device], str]:
            devices = sign_ins.list_devices(
                connection, caller.account.account_id, live_at=self._now()
            )
            return devices, caller.sign_in_hash

        return await self._admission.read(key, work)

    async def revoke_device(self, key: SignInKey, device_id: str, client: Client) -> None:
        """Ends one sign-in; twice is no error. Raises DeviceNotFoundError."""

        def work(connection: Connection, caller: Caller) -> None:
            sign_ins.require_own(connection, caller.account.account_id, device_id)
            self._revoke(connection, caller, client, only=device_id)

        await self._admission.write(key, work)

    async def revoke_others(self, key: SignInKey, client: Client) -> int:
        """Ends all sign-ins but the one that asks; how many they were."""
        return await self._admission.write(
            key,
            lambda connection, caller: self._revoke(
                connection, caller, client, but=caller.sign_in_hash
            ),
        )

    async def change_email(
        self, key: SignInKey, password: str, email: str, client: Client
    ) -> tuple[Account, SignIn]:
        """Sets another address; all sign-ins end, and a new one begins.

        Raises FieldInvalidError, PasswordWrongError, EmailTakenError.
        """
        address = parse_email(email)
        verified = await self._verifier.by_sign_in(key, password, client)

        def work(connection: Connection, caller: Caller) -> tuple[Account, SignIn]:
            _hold(connection, caller, verified)
            set_email(connection, caller.account.account_id, address)
            for email_key in (caller.account.email_key, address.key):
                forget_address(connection, email_key)
            detail = f"{caller.account.email} → {address.given}"[:300]
            return self._renewed(connection, caller, client, AuditKind.EMAIL_CHANGED, detail)

        changed = await self._admission.write(key, work)
        self._mailer.post(email_changed(verified.account.email, client, self._now()))
        return changed

    async def change_password(
        self, key: SignInKey, password: str, new_password: str, client: Client
    ) -> tuple[Account, SignIn]:
        """Sets another password; all sign-ins end, and a new one begins.

        Raises FieldInvalidError, PasswordWrongError.
        """
        account = (await self.get(key)).account
        normalised = check_new_password(
            new_password, account.email_key, account.email, field="new_password"
        )
        verified = await self._verifier.by_sign_in(key, password, client)
        password_hash = await self._passwords.hash(normalised)

        def work(connection: Connection, caller: Caller) -> tuple[Account, SignIn]:
            _hold(connection, caller, verified)
            set_password(connection, caller.account.account_id, password_hash)
            return self._renewed(connection, caller, client, AuditKind.PASSWORD_CHANGED)

        changed = await self._admission.write(key, work)
        self._mailer.post(password_changed(account.email, client, self._now()))
        return changed

    async def audit_events(
        self, key: SignInKey, *, before: int | None, limit: int
    ) -> Sequence[AuditEvent]:
        """What was done with the account, the latest first."""
        return await self._admission.read(
            key,
            lambda connection, caller: audit.list_events(
                connection, caller.account.account_id, before=before, limit=limit
            ),
        )

    async def export(self, key: SignInKey, client: Client) -> str:
        """All that is kept of the account, as JSON."""

        def work(connection: Connection, caller: Caller) -> str:
            audit.record(connection, caller.account.entry(AuditKind.EXPORTED, client, self._now()))
            return json.dumps(
                _everything(connection, caller.account, self._now()), ensure_ascii=False, indent=1
            )

        return await self._admission.write(key, work)

    async def delete(self, key: SignInKey, password: str, client: Client) -> None:
        """Deletes the account and all that is kept of it.

        Raises PasswordWrongError, LastAdministratorError.
        """
        verified = await self._verifier.by_sign_in(key, password, client)

        def work(connection: Connection, caller: Caller) -> None:
            _hold(connection, caller, verified)
            _delete(connection, caller.account, self._now())

        await self._admission.write(key, work)

    def _revoke(
        self,
        connection: Connection,
        caller: Caller,
        client: Client,
        *,
        only: str | None = None,
        but: str | None = None,
    ) -> int:
        now = self._now()
        ended = sign_ins.revoke(connection, caller.account.account_id, now, only=only, but=but)
        if ended:
            detail = "one" if only else f"all others: {len(ended)}"
            audit.record(
                connection, caller.account.entry(AuditKind.DEVICES_REVOKED, client, now, detail)
            )
        events.append(connection, ended, now)
        return len(ended)

    def _renewed(
        self,
        connection: Connection,
        caller: Caller,
        client: Client,
        kind: AuditKind,
        detail: str = "",
    ) -> tuple[Account, SignIn]:
        """What follows a change of what signs in: everything that could act before cannot now."""
        now = self._now()
        account = lock_account(connection, caller.account.account_id)  # as it is now
        forget_resets(connection, account.account_id)
        told = sign_ins.revoke(connection, account.account_id, now)
        told.append(AccountEvent(EventKind.ACCOUNT_CHANGED, account.account_id))
        audit.record(connection, account.entry(kind, client, now, detail))
        sign_in = sign_ins.begin(
            connection, account.account_id, now, client, remembered=caller.remembered
        )
        events.append(connection, told, now)
        return account, sign_in


def _hold(connection: Connection, caller: Caller, verified: Credentials) -> Account:
    """Raises SignInInvalidError where what was verified was changed since, which ended it."""
    account = lock_verified(connection, verified)
    if account is None or account.account_id != caller.account.account_id:
        raise SignInInvalidError
    return account


def _delete(connection: Connection, account: Account, now: datetime) -> None:
    # Rows of sign-ins are locked before the versions, as everybody does it.
    sign_ins.revoke(connection, account.account_id, now)
    if has_others(connection, account):
        require_other_administrator(connection, account)
    told = AccountEvent(EventKind.ACCOUNT_DELETED, account.account_id)
    events.append(connection, [told], now)
    forget_address(connection, account.email_key)
    # All else that is the account's goes with it.
    connection.execute(
        schema.accounts.delete().where(schema.accounts.c.account_id == account.account_id)
    )


def _everything(connection: Connection, account: Account, now: datetime) -> dict[str, object]:
    account_id = account.account_id
    devices = sign_ins.list_devices(connection, account_id)
    followed = subscription_rows.list_all(connection, {account_id})[account_id]
    invited = invitations.list_usable(connection, now, inviter_id=account_id)
    return {
        "account": {
            "account_id": account_id,
            "email": account.email,
            "create_time": account.create_time.isoformat(),
            "administrator": account.administrator,
        },
        "sign_ins": [_device(device) for device in devices],
        "audit_log": [_audit_event(event) for event in audit.list_events(connection, account_id)],
        "watchlists": [
            {"list_id": each.list_id, "name": each.name} for each in followed.watchlists
        ],
        "subscriptions": [
            {
                "list_id": each.list_id,
                "symbol": each.symbol,
                "note": each.note,
                "create_time": each.create_time.isoformat(),
            }
            for each in followed.subscriptions
        ],
        "invitations": [
            {
                "email": each.email,
                "create_time": each.create_time.isoformat(),
                "expire_time": each.expire_time.isoformat(),
            }
            for each in invited
        ],
    }


def _device(device: Device) -> dict[str, object]:
    return {
        "device_id": device.device_id,
        "create_time": device.create_time.isoformat(),
        "last_used_time": device.last_used_time.isoformat(),
        "expire_time": device.expire_time.isoformat(),
        "revoke_time": device.revoke_time and device.revoke_time.isoformat(),
        "remembered": device.remembered,
        "address": device.client.address,
        "user_agent": device.client.user_agent,
    }


def _audit_event(event: AuditEvent) -> dict[str, object]:
    return {
        "kind": event.kind.value,
        "event_time": event.event_time.isoformat(),
        "address": event.client.address,
        "user_agent": event.client.user_agent,
        "detail": event.detail,
    }
