"""From messages to the domain and back, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

from grpc import StatusCode

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError
from subscription_svc import refusals
from subscription_svc.accounts import Account, Accounts
from subscription_svc.sign_ins import SignIn, SignInKey
from subscription_svc.subscriptions import Subscription, SubscriptionList, Subscriptions

_CODES: dict[type[refusals.RefusalError], StatusCode] = {
    refusals.FieldInvalidError: StatusCode.INVALID_ARGUMENT,
    refusals.EmailTakenError: StatusCode.ALREADY_EXISTS,
    refusals.CredentialsWrongError: StatusCode.UNAUTHENTICATED,
    refusals.SignInInvalidError: StatusCode.UNAUTHENTICATED,
    refusals.NotSubscribedError: StatusCode.NOT_FOUND,
    refusals.TooManySubscriptionsError: StatusCode.FAILED_PRECONDITION,
}


@contextmanager
def _refusals_as_status() -> Iterator[None]:
    try:
        yield
    except refusals.RefusalError as refusal:
        metadata = {"field": refusal.field} if refusal.field else {}
        code = _CODES[type(refusal)]
        raise AppError(code, refusal.reason, str(refusal), **metadata) from refusal


def _key(message: pb.SignInKey) -> SignInKey:
    return SignInKey(message.account_id, message.sign_in_id)


def _account(account: Account) -> pb.Account:
    return pb.Account(
        account_id=account.account_id,
        email=account.email,
        create_time=timestamp(account.create_time),
    )


def _key_message(key: SignInKey) -> pb.SignInKey:
    return pb.SignInKey(account_id=key.account_id, sign_in_id=key.sign_in_id)


def _sign_in(sign_in: SignIn) -> pb.SignIn:
    return pb.SignIn(
        key=_key_message(sign_in.key),
        create_time=timestamp(sign_in.create_time),
        expire_time=timestamp(sign_in.expire_time),
    )


def _subscription(subscription: Subscription) -> pb.Subscription:
    return pb.Subscription(
        symbol=subscription.symbol, create_time=timestamp(subscription.create_time)
    )


def _list(answer: SubscriptionList) -> pb.SubscriptionList:
    return pb.SubscriptionList(
        key=_key_message(answer.key),
        error_reason=answer.error_reason,
        email=answer.email,
        subscriptions=map(_subscription, answer.subscriptions),
    )


class AccountServicer(pb_grpc.AccountServiceServicer):
    """foretick.subscription.v1.AccountService."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def RegisterAccount(
        self, request: pb.RegisterAccountRequest, _context: object
    ) -> pb.RegisterAccountResponse:
        """Makes an account and signs it in."""
        with _refusals_as_status():
            account, sign_in = await self._accounts.register(request.email, request.password)
        return pb.RegisterAccountResponse(account=_account(account), sign_in=_sign_in(sign_in))

    async def CreateSignIn(
        self, request: pb.CreateSignInRequest, _context: object
    ) -> pb.CreateSignInResponse:
        """Signs an account in by its e-mail address and password."""
        with _refusals_as_status():
            account, sign_in = await self._accounts.sign_in(request.email, request.password)
        return pb.CreateSignInResponse(account=_account(account), sign_in=_sign_in(sign_in))

    async def RevokeSignIn(
        self, request: pb.RevokeSignInRequest, _context: object
    ) -> pb.RevokeSignInResponse:
        """Ends a sign-in; ending one that has ended is no error."""
        with _refusals_as_status():
            await self._accounts.sign_out(_key(request.key))
        return pb.RevokeSignInResponse()


class SubscriptionServicer(pb_grpc.SubscriptionServiceServicer):
    """foretick.subscription.v1.SubscriptionService."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    async def AddSubscription(
        self, request: pb.AddSubscriptionRequest, _context: object
    ) -> pb.AddSubscriptionResponse:
        """Follows a symbol; following it already is no error."""
        with _refusals_as_status():
            subscription, created = await self._subscriptions.add(_key(request.key), request.symbol)
        return pb.AddSubscriptionResponse(subscription=_subscription(subscription), created=created)

    async def RemoveSubscription(
        self, request: pb.RemoveSubscriptionRequest, _context: object
    ) -> pb.RemoveSubscriptionResponse:
        """Stops following a symbol."""
        with _refusals_as_status():
            await self._subscriptions.remove(_key(request.key), request.symbol)
        return pb.RemoveSubscriptionResponse()

    async def BatchListSubscriptions(
        self, request: pb.BatchListSubscriptionsRequest, _context: object
    ) -> pb.BatchListSubscriptionsResponse:
        """The subscriptions of up to 200 sign-ins, each checked and answered by itself."""
        with _refusals_as_status():
            answers = await self._subscriptions.batch_list([_key(key) for key in request.keys])
        return pb.BatchListSubscriptionsResponse(lists=map(_list, answers))
