"""A fake of subscription-svc's administration, over the accounts of the other."""

import uuid
from datetime import timedelta
from typing import Any

from grpc import StatusCode

from fake_accounts import BEGAN, FakeAccounts, device_id
from fake_lists import account_id
from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError, invalid_argument


class FakeAdministration(FakeAccounts, pb_grpc.AdministrationServiceServicer):
    async def ListAccounts(self, request: Any, context: Any) -> Any:
        self.note("ListAccounts")
        self.administrator(request.key)
        response = pb.ListAccountsResponse(mails=self.mails)
        for email in sorted(self.passwords):
            response.accounts.add(account=self.account(email))
        return response

    async def SetAccountDisabled(self, request: Any, context: Any) -> Any:
        self.note("SetAccountDisabled")
        caller = self.administrator(request.key)
        email = self._owner(request.account_id)
        if email == caller and request.disabled:
            raise AppError(
                StatusCode.FAILED_PRECONDITION, "LAST_ADMINISTRATOR", "Nobody would be left."
            )
        if request.disabled:
            self.disabled.add(email)
            await self.end_all(email)
            await self.tell(pb.ACCOUNT_EVENT_KIND_ACCOUNT_DISABLED, email)
        else:
            self.disabled.discard(email)
        return pb.SetAccountDisabledResponse(account=self.account(email))

    async def CreatePasswordReset(self, request: Any, context: Any) -> Any:
        self.note("CreatePasswordReset")
        self.administrator(request.key)
        if self.mails:
            raise AppError(
                StatusCode.FAILED_PRECONDITION, "RESETS_ARE_MAILED", "Letters are set up."
            )
        email = self._owner(request.account_id)
        token = uuid.uuid4().hex
        self.reset_tokens[token] = email
        return pb.CreatePasswordResetResponse(token=token)

    async def CreateInvitation(self, request: Any, context: Any) -> Any:
        self.note("CreateInvitation")
        self.administrator(request.key)
        if request.email and "@" not in request.email:
            raise invalid_argument("email", "email must have a name, an @ and a domain.")
        token = uuid.uuid4().hex
        self.invitations[token] = request.email
        return pb.CreateInvitationResponse(
            invitation=self._invitation(token), token=token, mailed=bool(request.email)
        )

    async def ListInvitations(self, request: Any, context: Any) -> Any:
        self.note("ListInvitations")
        self.administrator(request.key)
        return pb.ListInvitationsResponse(
            mode=self.mode,  # type: ignore[arg-type]
            invitations=[self._invitation(token) for token in self.invitations],
        )

    async def WithdrawInvitation(self, request: Any, context: Any) -> Any:
        self.note("WithdrawInvitation")
        self.administrator(request.key)
        for token in list(self.invitations):
            if self._invitation(token).invitation_id == request.invitation_id:
                del self.invitations[token]
        return pb.WithdrawInvitationResponse()

    def _invitation(self, token: str) -> pb.Invitation:
        return pb.Invitation(
            invitation_id=device_id(token)[:16],
            email=self.invitations[token],
            create_time=timestamp(BEGAN),
            expire_time=timestamp(BEGAN + timedelta(days=7)),
        )

    def _owner(self, asked: str) -> str:
        found = [each for each in self.passwords if account_id(each) == asked]
        if not found:
            raise AppError(StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND", "There is no such account.")
        return found[0]
