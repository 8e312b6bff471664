"""A fake of subscription-svc: accounts and sign-ins in memory, by the contract's rules."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from grpc import StatusCode

from fake_lists import FakeLists, account_id
from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError, invalid_argument

BEGAN = datetime(2019, 12, 1, 8, 30, tzinfo=UTC)
CREDENTIALS_WRONG = "The e-mail address or the password is wrong."


def device_id(sign_in_id: str) -> str:
    return hashlib.sha256(sign_in_id.encode()).hexdigest()


@dataclass
class FakeAccounts(FakeLists, pb_grpc.AccountServiceServicer):
    passwords: dict[str, str] = field(default_factory=dict)
    sign_ins: dict[str, str] = field(default_factory=dict)  # e-mail address by sign-in id
    clients: dict[str, Any] = field(default_factory=dict)  # by sign-in id
    remembered: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    mode: int = pb.REGISTRATION_MODE_OPEN
    invitations: dict[str, str] = field(default_factory=dict)  # e-mail address by token
    reset_tokens: dict[str, str] = field(default_factory=dict)
    mails: bool = True
    log: list[tuple[str, int, Any]] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[pb.AccountEvent] = field(default_factory=list)
    first_known: int = 0
    happened: asyncio.Condition = field(default_factory=asyncio.Condition)
    watched_from: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_answer.set()

    # Who is who.

    def account(self, email: str) -> pb.Account:
        first = next(iter(self.passwords))
        return pb.Account(
            account_id=account_id(email),
            email=email,
            create_time=timestamp(BEGAN),
            administrator=email == first,
            disable_time=timestamp(BEGAN) if email in self.disabled else None,
        )

    def caller(self, key: Any) -> str:
        email = self.sign_ins.get(key.sign_in_id)
        if email is None or account_id(email) != key.account_id:
            raise AppError(StatusCode.UNAUTHENTICATED, "SIGN_IN_INVALID", "Sign in again.")
        return email

    def checked(self, key: Any, password: str) -> str:
        email = self.caller(key)
        if self.passwords[email] != password:
            raise AppError(
                StatusCode.PERMISSION_DENIED, "PASSWORD_WRONG", "This is not your password."
            )
        return email

    def administrator(self, key: Any) -> str:
        email = self.caller(key)
        if not self.account(email).administrator:
            raise AppError(StatusCode.PERMISSION_DENIED, "ADMINISTRATOR_ONLY", "Not for you.")
        return email

    async def tell(self, kind: int, email: str, device: str = "") -> None:
        async with self.happened:
            event = pb.AccountEvent(
                kind=kind,  # type: ignore[arg-type]
                account_id=account_id(email),
                device_id=device,
            )
            self.events.append(event)
            self.happened.notify_all()

    async def end(self, sign_in_id: str) -> None:
        email = self.sign_ins.pop(sign_in_id, None)
        if email is not None:
            await self.tell(pb.ACCOUNT_EVENT_KIND_SIGN_IN_REVOKED, email, device_id(sign_in_id))

    async def end_all(self, email: str, but: str = "") -> int:
        ending = [key for key, owner in self.sign_ins.items() if owner == email and key != but]
        for sign_in_id in ending:
            await self.end(sign_in_id)
        return len(ending)

    def begin(self, email: str, client: Any, *, remember: bool = False) -> dict[str, Any]:
        sign_in_id = uuid.uuid4().hex
        self.sign_ins[sign_in_id] = email
        self.clients[sign_in_id] = client
        if remember:
            self.remembered.add(sign_in_id)
        self.log.append((email, pb.AUDIT_KIND_SIGNED_IN, client))
        key = pb.SignInKey(account_id=account_id(email), sign_in_id=sign_in_id)
        sign_in = pb.SignIn(key=key, device_id=device_id(sign_in_id), remembered=remember)
        return {"account": self.account(email), "sign_in": sign_in}

    def check_new(self, email: str, password: str, field_name: str = "password") -> None:
        if "@" not in email or len(email) > 254:
            raise invalid_argument("email", "email must have a name, an @ and a domain.")
        if not 10 <= len(password) <= 200:
            raise invalid_argument(field_name, f"{field_name} must have 10 to 200 characters.")

    # AccountService.

    async def GetRegistration(self, request: Any, context: Any) -> Any:
        self.note("GetRegistration")
        invited = self.invitations.get(request.invitation_token)
        allowed = self.mode == pb.REGISTRATION_MODE_OPEN or not self.passwords
        return pb.GetRegistrationResponse(
            mode=self.mode,  # type: ignore[arg-type]
            allowed=allowed or invited is not None,
            first=not self.passwords,
            invited_email=invited or "",
            mails=self.mails,
        )

    async def RegisterAccount(self, request: Any, context: Any) -> Any:
        self.note("RegisterAccount")
        if self.passwords and self.mode == pb.REGISTRATION_MODE_INVITATION:
            if not request.invitation_token:
                raise AppError(
                    StatusCode.PERMISSION_DENIED, "INVITATION_NEEDED", "An invitation is needed."
                )
            if request.invitation_token not in self.invitations:
                raise AppError(
                    StatusCode.NOT_FOUND, "INVITATION_INVALID", "This invitation is not good."
                )
        self.check_new(request.email, request.password)
        if request.email in self.passwords:
            raise AppError(
                StatusCode.ALREADY_EXISTS, "EMAIL_TAKEN", "This address has an account already."
            )
        self.invitations.pop(request.invitation_token, None)
        self.passwords[request.email] = request.password
        self.followed.setdefault(request.email, [])
        return pb.RegisterAccountResponse(**self.begin(request.email, request.client))

    async def CreateSignIn(self, request: Any, context: Any) -> Any:
        self.note("CreateSignIn")
        self.was_asked.set()
        await self.may_answer.wait()
        if self.passwords.get(request.email) != request.password:
            raise AppError(StatusCode.UNAUTHENTICATED, "CREDENTIALS_WRONG", CREDENTIALS_WRONG)
        if request.email in self.disabled:
            raise AppError(
                StatusCode.PERMISSION_DENIED, "ACCOUNT_DISABLED", "This account is disabled."
            )
        return pb.CreateSignInResponse(
            **self.begin(request.email, request.client, remember=request.remember_me)
        )

    async def RevokeSignIn(self, request: Any, context: Any) -> Any:
        self.note("RevokeSignIn")
        await self.end(request.key.sign_in_id)
        return pb.RevokeSignInResponse()

    async def ListDevices(self, request: Any, context: Any) -> Any:
        self.note("ListDevices")
        email = self.caller(request.key)
        response = pb.ListDevicesResponse()
        for sign_in_id, owner in self.sign_ins.items():
            if owner == email:
                response.devices.add(
                    device_id=device_id(sign_in_id),
                    create_time=timestamp(BEGAN),
                    last_used_time=timestamp(BEGAN + timedelta(hours=1)),
                    client=self.clients[sign_in_id],
                    remembered=sign_in_id in self.remembered,
                    current=sign_in_id == request.key.sign_in_id,
                )
        return response

    async def RevokeDevice(self, request: Any, context: Any) -> Any:
        self.note("RevokeDevice")
        email = self.caller(request.key)
        for sign_in_id, owner in list(self.sign_ins.items()):
            if owner == email and device_id(sign_in_id) == request.device_id:
                await self.end(sign_in_id)
                return pb.RevokeDeviceResponse()
        raise AppError(StatusCode.NOT_FOUND, "DEVICE_NOT_FOUND", "You have no such device.")

    async def RevokeOtherDevices(self, request: Any, context: Any) -> Any:
        self.note("RevokeOtherDevices")
        count = await self.end_all(self.caller(request.key), but=request.key.sign_in_id)
        return pb.RevokeOtherDevicesResponse(revoked_count=count)

    async def ChangeEmail(self, request: Any, context: Any) -> Any:
        self.note("ChangeEmail")
        email = self.checked(request.key, request.password)
        self.check_new(request.email, request.password)
        if request.email in self.passwords:
            raise AppError(
                StatusCode.ALREADY_EXISTS, "EMAIL_TAKEN", "This address has an account already."
            )
        await self.end_all(email)
        self.passwords[request.email] = self.passwords.pop(email)
        self.followed[request.email] = self.followed.pop(email)
        return pb.ChangeEmailResponse(**self.begin(request.email, request.client))

    async def ChangePassword(self, request: Any, context: Any) -> Any:
        self.note("ChangePassword")
        email = self.checked(request.key, request.password)
        self.check_new(email, request.new_password, "new_password")
        remember = request.key.sign_in_id in self.remembered
        await self.end_all(email)
        self.passwords[email] = request.new_password
        return pb.ChangePasswordResponse(**self.begin(email, request.client, remember=remember))

    async def RequestPasswordReset(self, request: Any, context: Any) -> Any:
        self.note("RequestPasswordReset")
        if request.email in self.passwords:
            self.reset_tokens[uuid.uuid4().hex] = request.email
        return pb.RequestPasswordResetResponse()

    async def ResetPassword(self, request: Any, context: Any) -> Any:
        self.note("ResetPassword")
        email = self.reset_tokens.get(request.token)
        if email is None:
            raise AppError(StatusCode.NOT_FOUND, "RESET_TOKEN_INVALID", "This link is not good.")
        self.check_new(email, request.new_password, "new_password")
        del self.reset_tokens[request.token]
        self.passwords[email] = request.new_password
        await self.end_all(email)
        return pb.ResetPasswordResponse(email=email)

    async def ListAuditEvents(self, request: Any, context: Any) -> Any:
        self.note("ListAuditEvents")
        email = self.caller(request.key)
        mine = [line for line in reversed(self.log) if line[0] == email]
        start = int(request.page_token or 0) if request.page_token.isdecimal() else 0
        response = pb.ListAuditEventsResponse()
        for _, kind, client in mine[start : start + request.page_size]:
            response.events.add(kind=kind, event_time=timestamp(BEGAN), client=client)
        if start + request.page_size < len(mine):
            response.next_page_token = str(start + request.page_size)
        return response

    async def ExportAccount(self, request: Any, context: Any) -> Any:
        self.note("ExportAccount")
        email = self.caller(request.key)
        document = {"account": {"email": email}, "subscriptions": self.followed[email]}
        return pb.ExportAccountResponse(document=json.dumps(document))

    async def DeleteAccount(self, request: Any, context: Any) -> Any:
        self.note("DeleteAccount")
        email = self.checked(request.key, request.password)
        await self.end_all(email)
        del self.passwords[email], self.followed[email]
        await self.tell(pb.ACCOUNT_EVENT_KIND_ACCOUNT_DELETED, email)
        return pb.DeleteAccountResponse()

    async def WatchAccounts(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.watched_from.append(request.after_version)
        resumed = request.after_version > 0 and self.first_known <= request.after_version
        version = request.after_version if resumed else 1 + len(self.events)
        yield pb.WatchAccountsResponse(version=version, resumed=resumed)
        while True:
            async with self.happened:
                await self.happened.wait_for(lambda: version < 1 + len(self.events))  # noqa: B023
                events = self.events[version - 1 :]
                version += len(events)
            yield pb.WatchAccountsResponse(version=version, events=events)
