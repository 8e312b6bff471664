"""AdministrationService: from messages to the domain and back, and nothing else."""

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import timestamp
from subscription_svc.administration import Administration
from subscription_svc.messages import (
    MODES,
    account_message,
    answered,
    client_of,
    invitation_message,
    key_of,
    page_size,
    page_token,
    position,
)


class AdministrationServicer(pb_grpc.AdministrationServiceServicer):
    """foretick.subscription.v1.AdministrationService."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    @answered
    async def ListAccounts(
        self, request: pb.ListAccountsRequest, _context: object
    ) -> pb.ListAccountsResponse:
        """All accounts, by e-mail address."""
        size, after = page_size(request.page_size), position(request.page_token)
        found = await self._administration.accounts(
            key_of(request.key), after=after, limit=size + 1
        )
        page = found[:size]
        return pb.ListAccountsResponse(
            accounts=[
                pb.AccountSummary(
                    account=account_message(account),
                    last_used_time=timestamp(last_used) if last_used else None,
                )
                for account, last_used in page
            ],
            next_page_token=page_token(page[-1][0].email_key) if len(found) > size else "",
            mails=self._administration.mails,
        )

    @answered
    async def SetAccountDisabled(
        self, request: pb.SetAccountDisabledRequest, _context: object
    ) -> pb.SetAccountDisabledResponse:
        """Disables or enables an account."""
        account = await self._administration.set_disabled(
            key_of(request.key), request.account_id, disabled=request.disabled
        )
        return pb.SetAccountDisabledResponse(account=account_message(account))

    @answered
    async def CreatePasswordReset(
        self, request: pb.CreatePasswordResetRequest, _context: object
    ) -> pb.CreatePasswordResetResponse:
        """Makes a link that sets somebody else's password."""
        token, ends = await self._administration.begin_reset(
            key_of(request.key), request.account_id, client_of(request.client)
        )
        return pb.CreatePasswordResetResponse(token=token, expire_time=timestamp(ends))

    @answered
    async def CreateInvitation(
        self, request: pb.CreateInvitationRequest, _context: object
    ) -> pb.CreateInvitationResponse:
        """Makes an invitation."""
        invitation, token, mailed = await self._administration.invite(
            key_of(request.key), request.email, client_of(request.client)
        )
        return pb.CreateInvitationResponse(
            invitation=invitation_message(invitation), token=token, mailed=mailed
        )

    @answered
    async def ListInvitations(
        self, request: pb.ListInvitationsRequest, _context: object
    ) -> pb.ListInvitationsResponse:
        """Invitations that can still be used."""
        found = await self._administration.list_invitations(key_of(request.key))
        return pb.ListInvitationsResponse(
            mode=MODES[self._administration.mode], invitations=map(invitation_message, found)
        )

    @answered
    async def WithdrawInvitation(
        self, request: pb.WithdrawInvitationRequest, _context: object
    ) -> pb.WithdrawInvitationResponse:
        """Withdraws an invitation."""
        await self._administration.withdraw(
            key_of(request.key), request.invitation_id, client_of(request.client)
        )
        return pb.WithdrawInvitationResponse()
