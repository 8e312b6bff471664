"""AccountService: from messages to the domain and back, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import timestamp
from subscription_svc.accounts import Accounts, Registration
from subscription_svc.audit import AuditEvent
from subscription_svc.events import AccountEvent, AccountWatching
from subscription_svc.messages import (
    MODES,
    account_message,
    answered,
    client_message,
    client_of,
    key_of,
    page_size,
    page_token,
    position,
    refusals_as_status,
    sign_in_message,
)
from subscription_svc.ownership import Ownership
from subscription_svc.refusals import FieldInvalidError
from subscription_svc.resets import Resets
from subscription_svc.sign_ins import Device


def _event_id(token: str) -> int | None:
    text = position(token)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise FieldInvalidError("page_token", "This is no token of a page of this list.")
    return int(text)


def _device(device: Device, asking: str) -> pb.Device:
    return pb.Device(
        device_id=device.device_id,
        create_time=timestamp(device.create_time),
        last_used_time=timestamp(device.last_used_time),
        expire_time=timestamp(device.expire_time),
        client=client_message(device.client),
        remembered=device.remembered,
        current=device.device_id == asking,
    )


def _audit_event(event: AuditEvent) -> pb.AuditEvent:
    return pb.AuditEvent(
        kind=pb.AuditKind.Value(f"AUDIT_KIND_{event.kind.name}"),
        event_time=timestamp(event.event_time),
        client=client_message(event.client),
        detail=event.detail,
    )


def _account_event(event: AccountEvent) -> pb.AccountEvent:
    return pb.AccountEvent(
        kind=pb.AccountEventKind.Value(f"ACCOUNT_EVENT_KIND_{event.kind.name}"),
        account_id=event.account_id,
        device_id=event.sign_in_hash,
    )


class AccountServicer(pb_grpc.AccountServiceServicer):
    """foretick.subscription.v1.AccountService."""

    def __init__(
        self,
        accounts: Accounts,
        ownership: Ownership,
        resets: Resets,
        watching: AccountWatching,
        *,
        mails: bool,
    ) -> None:
        self._accounts = accounts
        self._ownership = ownership
        self._resets = resets
        self._watching = watching
        self._mails = mails

    @answered
    async def GetRegistration(
        self, request: pb.GetRegistrationRequest, _context: object
    ) -> pb.GetRegistrationResponse:
        """Who can register now."""
        state = await self._accounts.registration(request.invitation_token)
        return pb.GetRegistrationResponse(
            mode=MODES[state.mode],
            allowed=state.allowed,
            first=state.first,
            invited_email=state.invited_email,
            mails=self._mails,
        )

    @answered
    async def RegisterAccount(
        self, request: pb.RegisterAccountRequest, _context: object
    ) -> pb.RegisterAccountResponse:
        """Makes an account and signs it in."""
        account, sign_in = await self._accounts.register(
            Registration(
                email=request.email,
                password=request.password,
                client=client_of(request.client),
                invitation_token=request.invitation_token,
                remember_me=request.remember_me,
            )
        )
        return pb.RegisterAccountResponse(
            account=account_message(account), sign_in=sign_in_message(sign_in)
        )

    @answered
    async def CreateSignIn(
        self, request: pb.CreateSignInRequest, _context: object
    ) -> pb.CreateSignInResponse:
        """Signs an account in by its e-mail address and password."""
        account, sign_in = await self._accounts.sign_in(
            request.email,
            request.password,
            client_of(request.client),
            remember_me=request.remember_me,
        )
        return pb.CreateSignInResponse(
            account=account_message(account), sign_in=sign_in_message(sign_in)
        )

    @answered
    async def RevokeSignIn(
        self, request: pb.RevokeSignInRequest, _context: object
    ) -> pb.RevokeSignInResponse:
        """Ends a sign-in; ending one that has ended is no error."""
        await self._accounts.sign_out(key_of(request.key), client_of(request.client))
        return pb.RevokeSignInResponse()

    @answered
    async def GetAccount(
        self, request: pb.GetAccountRequest, _context: object
    ) -> pb.GetAccountResponse:
        """The account behind a sign-in."""
        caller = await self._ownership.get(key_of(request.key))
        return pb.GetAccountResponse(
            account=account_message(caller.account), expire_time=timestamp(caller.expire_time)
        )

    @answered
    async def ListDevices(
        self, request: pb.ListDevicesRequest, _context: object
    ) -> pb.ListDevicesResponse:
        """The account's sign-ins that have not ended."""
        devices, asking = await self._ownership.devices(key_of(request.key))
        return pb.ListDevicesResponse(devices=[_device(device, asking) for device in devices])

    @answered
    async def RevokeDevice(
        self, request: pb.RevokeDeviceRequest, _context: object
    ) -> pb.RevokeDeviceResponse:
        """Ends one of the account's sign-ins."""
        await self._ownership.revoke_device(
            key_of(request.key), request.device_id, client_of(request.client)
        )
        return pb.RevokeDeviceResponse()

    @answered
    async def RevokeOtherDevices(
        self, request: pb.RevokeOtherDevicesRequest, _context: object
    ) -> pb.RevokeOtherDevicesResponse:
        """Ends all of the account's sign-ins but the one that asks."""
        count = await self._ownership.revoke_others(key_of(request.key), client_of(request.client))
        return pb.RevokeOtherDevicesResponse(revoked_count=count)

    @answered
    async def ChangeEmail(
        self, request: pb.ChangeEmailRequest, _context: object
    ) -> pb.ChangeEmailResponse:
        """Changes the e-mail address."""
        account, sign_in = await self._ownership.change_email(
            key_of(request.key), request.password, request.email, client_of(request.client)
        )
        return pb.ChangeEmailResponse(
            account=account_message(account), sign_in=sign_in_message(sign_in)
        )

    @answered
    async def ChangePassword(
        self, request: pb.ChangePasswordRequest, _context: object
    ) -> pb.ChangePasswordResponse:
        """Changes the password."""
        account, sign_in = await self._ownership.change_password(
            key_of(request.key), request.password, request.new_password, client_of(request.client)
        )
        return pb.ChangePasswordResponse(
            account=account_message(account), sign_in=sign_in_message(sign_in)
        )

    @answered
    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, _context: object
    ) -> pb.RequestPasswordResetResponse:
        """Mails a link that sets a new password."""
        await self._resets.request(request.email, client_of(request.client))
        return pb.RequestPasswordResetResponse()

    @answered
    async def ResetPassword(
        self, request: pb.ResetPasswordRequest, _context: object
    ) -> pb.ResetPasswordResponse:
        """Sets a new password by the token of a link."""
        email = await self._resets.reset(
            request.token, request.new_password, client_of(request.client)
        )
        return pb.ResetPasswordResponse(email=email)

    @answered
    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, _context: object
    ) -> pb.ListAuditEventsResponse:
        """What was done with the account, the latest first."""
        size, before = page_size(request.page_size), _event_id(request.page_token)
        found = await self._ownership.audit_events(
            key_of(request.key), before=before, limit=size + 1
        )
        page = found[:size]
        return pb.ListAuditEventsResponse(
            events=map(_audit_event, page),
            next_page_token=page_token(str(page[-1].event_id)) if len(found) > size else "",
        )

    @answered
    async def ExportAccount(
        self, request: pb.ExportAccountRequest, _context: object
    ) -> pb.ExportAccountResponse:
        """All that is kept of the account, as one JSON document."""
        document = await self._ownership.export(key_of(request.key), client_of(request.client))
        return pb.ExportAccountResponse(document=document)

    @answered
    async def DeleteAccount(
        self, request: pb.DeleteAccountRequest, _context: object
    ) -> pb.DeleteAccountResponse:
        """Deletes the account and everything in it."""
        await self._ownership.delete(
            key_of(request.key), request.password, client_of(request.client)
        )
        return pb.DeleteAccountResponse()

    async def WatchAccounts(
        self, request: pb.WatchAccountsRequest, _context: object
    ) -> AsyncIterator[pb.WatchAccountsResponse]:
        """What changes, for whoever keeps something about accounts."""
        with refusals_as_status():
            async with aclosing(self._watching.watch(request.after_version)) as news:
                async for each in news:
                    yield pb.WatchAccountsResponse(
                        version=each.version,
                        resumed=each.resumed,
                        events=map(_account_event, each.events),
                    )
