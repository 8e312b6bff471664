"""Between the contract's messages and the domain's values, for all servicers."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from grpc import StatusCode

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError
from subscription_svc import refusals
from subscription_svc.account_rows import Account
from subscription_svc.clients import Client, parse_client
from subscription_svc.events import WatchingEnded
from subscription_svc.invitations import Invitation, RegistrationMode
from subscription_svc.sign_ins import SignIn, SignInKey

MODES = {
    RegistrationMode.OPEN: pb.REGISTRATION_MODE_OPEN,
    RegistrationMode.INVITATION: pb.REGISTRATION_MODE_INVITATION,
    RegistrationMode.CLOSED: pb.REGISTRATION_MODE_CLOSED,
}
_DEFAULT_PAGE, _MOST_PAGE = 50, 200
_CODES: dict[type[refusals.RefusalError], StatusCode] = {
    refusals.FieldInvalidError: StatusCode.INVALID_ARGUMENT,
    refusals.TooManyAttemptsError: StatusCode.RESOURCE_EXHAUSTED,
    refusals.EmailTakenError: StatusCode.ALREADY_EXISTS,
    refusals.CredentialsWrongError: StatusCode.UNAUTHENTICATED,
    refusals.SignInInvalidError: StatusCode.UNAUTHENTICATED,
    refusals.PasswordWrongError: StatusCode.PERMISSION_DENIED,
    refusals.AccountDisabledError: StatusCode.PERMISSION_DENIED,
    refusals.AdministratorOnlyError: StatusCode.PERMISSION_DENIED,
    refusals.RegistrationClosedError: StatusCode.PERMISSION_DENIED,
    refusals.InvitationNeededError: StatusCode.PERMISSION_DENIED,
    refusals.InvitationInvalidError: StatusCode.NOT_FOUND,
    refusals.ResetTokenInvalidError: StatusCode.NOT_FOUND,
    refusals.AccountNotFoundError: StatusCode.NOT_FOUND,
    refusals.DeviceNotFoundError: StatusCode.NOT_FOUND,
    refusals.NotSubscribedError: StatusCode.NOT_FOUND,
    refusals.WatchlistNotFoundError: StatusCode.NOT_FOUND,
    refusals.WatchlistNameTakenError: StatusCode.ALREADY_EXISTS,
    refusals.WatchlistExistsError: StatusCode.ALREADY_EXISTS,
    refusals.AlreadySubscribedError: StatusCode.ALREADY_EXISTS,
    refusals.LastAdministratorError: StatusCode.FAILED_PRECONDITION,
    refusals.LastWatchlistError: StatusCode.FAILED_PRECONDITION,
    refusals.TooManyWatchlistsError: StatusCode.FAILED_PRECONDITION,
    refusals.ResetsAreMailedError: StatusCode.FAILED_PRECONDITION,
    refusals.TooManySubscriptionsError: StatusCode.FAILED_PRECONDITION,
}

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def refusals_as_status() -> Iterator[None]:
    """Says what the domain refuses as the contract does."""
    try:
        yield
    except refusals.RefusalError as refusal:
        code = _CODES[type(refusal)]
        raise AppError(code, refusal.reason, str(refusal), **refusal.metadata) from refusal
    except WatchingEnded as error:
        message = "the service is stopping; ask again"
        raise AppError(StatusCode.UNAVAILABLE, "SERVICE_STOPPING", message) from error


def answered(call: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """A unary call, refused as `refusals_as_status` says."""

    @wraps(call)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        with refusals_as_status():
            return await call(*args, **kwargs)

    return answer


def key_of(message: pb.SignInKey) -> SignInKey:
    """On whose behalf a call is made."""
    return SignInKey(message.account_id, message.sign_in_id)


def client_of(message: pb.Client) -> Client:
    """Where a call comes from. Raises FieldInvalidError."""
    return parse_client(message.address, message.user_agent)


def page_size(asked: int) -> int:
    """How many a page may have. Raises FieldInvalidError."""
    if not 0 <= asked <= _MOST_PAGE:
        raise refusals.FieldInvalidError(
            "page_size", f"1 to {_MOST_PAGE} can be asked for at once, not {asked}."
        )
    return asked or _DEFAULT_PAGE


def page_token(position: str) -> str:
    """Where a list goes on, in a form that nobody takes apart."""
    return base64.urlsafe_b64encode(position.encode()).decode()


def position(token: str) -> str:
    """What was made a token. Raises FieldInvalidError."""
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = "\0"
    if "\0" in text:
        raise refusals.FieldInvalidError("page_token", "This is no token of a page of this list.")
    return text


def client_message(client: Client) -> pb.Client:
    """Where something came from."""
    return pb.Client(address=client.address, user_agent=client.user_agent)


def account_message(account: Account) -> pb.Account:
    """An account."""
    return pb.Account(
        account_id=account.account_id,
        email=account.email,
        create_time=timestamp(account.create_time),
        administrator=account.administrator,
        disable_time=timestamp(account.disable_time) if account.disable_time else None,
    )


def key_message(key: SignInKey) -> pb.SignInKey:
    """A key, as it was given."""
    return pb.SignInKey(account_id=key.account_id, sign_in_id=key.sign_in_id)


def sign_in_message(sign_in: SignIn) -> pb.SignIn:
    """A sign-in that has just begun."""
    return pb.SignIn(
        key=key_message(sign_in.key),
        create_time=timestamp(sign_in.create_time),
        expire_time=timestamp(sign_in.expire_time),
        device_id=sign_in.device_id,
        remembered=sign_in.remembered,
    )


def invitation_message(invitation: Invitation) -> pb.Invitation:
    """An invitation, without its token."""
    return pb.Invitation(
        invitation_id=invitation.invitation_id,
        email=invitation.email,
        create_time=timestamp(invitation.create_time),
        expire_time=timestamp(invitation.expire_time),
    )
