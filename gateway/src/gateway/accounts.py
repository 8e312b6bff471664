"""Calls about accounts: one thin function each; every one raises `RequestError` where it fails."""

from collections.abc import AsyncIterator
from typing import TypeVar

from aiohttp import web
from grpc.aio import Channel, UnaryUnaryMultiCallable

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import (
    AccountServiceStub,
    AdministrationServiceStub,
)
from gateway import answers
from gateway.calls import READ_SECONDS, WATCH_SECONDS, answered, key_message
from gateway.model import (
    SUBSCRIPTION,
    Account,
    AccountSummary,
    AuditEvent,
    Client,
    Device,
    Invitation,
    Registration,
    SignIn,
    SignInKey,
)

Q = TypeVar("Q")
R = TypeVar("R")

PASSWORD_SECONDS = 30.0  # passwords are hashed one after another, a tenth of a second each
PAGE_SIZE = 50


class Accounts:
    """What visitors may do with accounts; ``client`` is where their request comes from."""

    def __init__(self, channel: Channel) -> None:
        self._stub = AccountServiceStub(channel)

    async def registration(self, token: str) -> Registration:
        """Ask who can register; ``token`` is of an invitation, or empty."""
        request = pb.GetRegistrationRequest(invitation_token=token)
        return answers.registration(await _ask(self._stub.GetRegistration, request))

    async def register(
        self, email: str, password: str, client: Client, *, invitation: str, remember: bool
    ) -> SignIn:
        """Make an account and sign it in."""
        request = pb.RegisterAccountRequest(
            email=email,
            password=password,
            invitation_token=invitation,
            remember_me=remember,
            client=_client(client),
        )
        response = await _ask(self._stub.RegisterAccount, request, PASSWORD_SECONDS)
        return answers.sign_in(response.sign_in, response.account)

    async def sign_in(self, email: str, password: str, client: Client, *, remember: bool) -> SignIn:
        """Sign an account in."""
        request = pb.CreateSignInRequest(
            email=email, password=password, remember_me=remember, client=_client(client)
        )
        response = await _ask(self._stub.CreateSignIn, request, PASSWORD_SECONDS)
        return answers.sign_in(response.sign_in, response.account)

    async def sign_out(self, key: SignInKey, client: Client) -> None:
        """End a sign-in."""
        request = pb.RevokeSignInRequest(key=key_message(key), client=_client(client))
        await _ask(self._stub.RevokeSignIn, request)

    async def devices(self, key: SignInKey) -> list[Device]:
        """List the account's sign-ins, the one used last first."""
        request = pb.ListDevicesRequest(key=key_message(key))
        response = await _ask(self._stub.ListDevices, request)
        return [answers.device(each) for each in response.devices]

    async def revoke_device(self, key: SignInKey, device_id: str, client: Client) -> None:
        """End one of the account's sign-ins."""
        request = pb.RevokeDeviceRequest(
            key=key_message(key), device_id=device_id, client=_client(client)
        )
        await _ask(self._stub.RevokeDevice, request)

    async def revoke_other_devices(self, key: SignInKey, client: Client) -> int:
        """End all of the account's sign-ins but this one; tells how many."""
        request = pb.RevokeOtherDevicesRequest(key=key_message(key), client=_client(client))
        return (await _ask(self._stub.RevokeOtherDevices, request)).revoked_count

    async def change_email(
        self, key: SignInKey, password: str, email: str, client: Client
    ) -> SignIn:
        """Change the e-mail address; the sign-in is replaced by the one answered."""
        request = pb.ChangeEmailRequest(
            key=key_message(key), password=password, email=email, client=_client(client)
        )
        response = await _ask(self._stub.ChangeEmail, request, PASSWORD_SECONDS)
        return answers.sign_in(response.sign_in, response.account)

    async def change_password(
        self, key: SignInKey, password: str, new_password: str, client: Client
    ) -> SignIn:
        """Change the password; the sign-in is replaced by the one answered."""
        request = pb.ChangePasswordRequest(
            key=key_message(key),
            password=password,
            new_password=new_password,
            client=_client(client),
        )
        response = await _ask(self._stub.ChangePassword, request, PASSWORD_SECONDS)
        return answers.sign_in(response.sign_in, response.account)

    async def request_reset(self, email: str, client: Client) -> None:
        """Have a link mailed that sets a new password, if the address has an account."""
        request = pb.RequestPasswordResetRequest(email=email, client=_client(client))
        await _ask(self._stub.RequestPasswordReset, request, PASSWORD_SECONDS)

    async def reset_password(self, token: str, new_password: str, client: Client) -> str:
        """Set a new password by the token of a link; the address of its account."""
        request = pb.ResetPasswordRequest(
            token=token, new_password=new_password, client=_client(client)
        )
        return (await _ask(self._stub.ResetPassword, request, PASSWORD_SECONDS)).email

    async def audit_events(self, key: SignInKey, page: str) -> tuple[list[AuditEvent], str]:
        """List a page of the account's log, latest first, and what asks for the next one."""
        request = pb.ListAuditEventsRequest(
            key=key_message(key), page_size=PAGE_SIZE, page_token=page
        )
        response = await _ask(self._stub.ListAuditEvents, request)
        return [answers.audit_event(each) for each in response.events], response.next_page_token

    async def export(self, key: SignInKey, client: Client) -> str:
        """Get all that is kept of the account, as a JSON document."""
        request = pb.ExportAccountRequest(key=key_message(key), client=_client(client))
        return (await _ask(self._stub.ExportAccount, request, PASSWORD_SECONDS)).document

    async def delete(self, key: SignInKey, password: str, client: Client) -> None:
        """Delete the account and everything in it."""
        request = pb.DeleteAccountRequest(
            key=key_message(key), password=password, client=_client(client)
        )
        await _ask(self._stub.DeleteAccount, request, PASSWORD_SECONDS)

    def watch(self, after_version: int) -> AsyncIterator[pb.WatchAccountsResponse]:
        """Watch what happens to all accounts; raises AioRpcError when that ends."""
        request = pb.WatchAccountsRequest(after_version=after_version)
        call = self._stub.WatchAccounts(request, timeout=WATCH_SECONDS, wait_for_ready=True)
        return aiter(call)


class Administration:
    """What administrators may do."""

    def __init__(self, channel: Channel) -> None:
        self._stub = AdministrationServiceStub(channel)

    async def accounts(self, key: SignInKey, page: str) -> tuple[list[AccountSummary], str, bool]:
        """List a page of the accounts, by e-mail address; what asks for the next one.

        And whether who has lost a password has a link mailed.
        """
        request = pb.ListAccountsRequest(key=key_message(key), page_size=PAGE_SIZE, page_token=page)
        response = await _ask(self._stub.ListAccounts, request)
        listed = [answers.account_summary(each) for each in response.accounts]
        return listed, response.next_page_token, response.mails

    async def set_disabled(
        self, key: SignInKey, account_id: str, client: Client, *, disabled: bool
    ) -> Account:
        """Disable an account, or enable it again."""
        request = pb.SetAccountDisabledRequest(
            key=key_message(key), account_id=account_id, disabled=disabled, client=_client(client)
        )
        return answers.account((await _ask(self._stub.SetAccountDisabled, request)).account)

    async def make_reset_link(self, key: SignInKey, account_id: str, client: Client) -> str:
        """Let somebody else's password be set once; the token of the link."""
        request = pb.CreatePasswordResetRequest(
            key=key_message(key), account_id=account_id, client=_client(client)
        )
        return (await _ask(self._stub.CreatePasswordReset, request)).token

    async def invite(self, key: SignInKey, email: str, client: Client) -> tuple[str, bool]:
        """Make an invitation; its token, and whether it is being mailed."""
        request = pb.CreateInvitationRequest(
            key=key_message(key), email=email, client=_client(client)
        )
        response = await _ask(self._stub.CreateInvitation, request)
        return response.token, response.mailed

    async def invitations(self, key: SignInKey) -> tuple[str, list[Invitation]]:
        """Who can register, and the invitations that can still be used, latest first."""
        request = pb.ListInvitationsRequest(key=key_message(key))
        response = await _ask(self._stub.ListInvitations, request)
        listed = [answers.invitation(each) for each in response.invitations]
        return answers.registration_mode(response.mode), listed

    async def withdraw(self, key: SignInKey, invitation_id: str, client: Client) -> None:
        """Withdraw an invitation."""
        request = pb.WithdrawInvitationRequest(
            key=key_message(key), invitation_id=invitation_id, client=_client(client)
        )
        await _ask(self._stub.WithdrawInvitation, request)


ACCOUNTS = web.AppKey("accounts", Accounts)
ADMINISTRATION = web.AppKey("administration", Administration)


async def _ask(
    method: UnaryUnaryMultiCallable[Q, R], request: Q, seconds: float = READ_SECONDS
) -> R:
    return await answered(SUBSCRIPTION, method(request, timeout=seconds))


def _client(client: Client) -> pb.Client:
    return pb.Client(address=client.address, user_agent=client.user_agent)
