"""Every call on somebody's behalf passes one filter; this asks all of them, whatever they are."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
SERVICES = pb.DESCRIPTOR.services_by_name
PASSWORD = "correct horse"


def keyed_methods(*services: str) -> Iterator[tuple[str, str, Any]]:
    """Service, method and the type of its request, of those that carry one key."""
    for service in services or SERVICES:
        for method in SERVICES[service].methods:
            # ending a sign-in that has ended is no error
            if "key" in method.input_type.fields_by_name and method.name != "RevokeSignIn":
                yield service, method.name, GetMessageClass(method.input_type)


async def call(stubs: Any, service: str, method: str, request: Any) -> object:
    stub = {
        "AccountService": stubs.accounts,
        "AdministrationService": stubs.administration,
        "SubscriptionService": stubs.subscriptions,
    }[service]
    return await getattr(stub, method)(request)


def plausible(request_type: Any, key: pb.SignInKey) -> Any:
    """A request that would be let through by a filter that is none."""
    given = {
        "password": PASSWORD,
        "new_password": "another horse",
        "email": "new@x.test",
        "symbol": "AAPL",
        "list_id": key.account_id,
        "name": "Tech",
        "items": [pb.ImportItem(symbol="AAPL")],
    }
    fields = request_type.DESCRIPTOR.fields_by_name
    return request_type(key=key, **{name: value for name, value in given.items() if name in fields})


def test_there_are_calls_to_ask() -> None:
    methods = [method for _, method, _ in keyed_methods()]
    assert len(methods) == 24
    assert {"AddSubscription", "DeleteAccount", "ListAccounts"} <= set(methods)


async def test_no_call_takes_a_sign_in_that_is_not_good(
    stubs: Any, refusal: Refusal, clock: Any, subtests: Any
) -> None:
    administrator = (await stubs.register(remember_me=True)).sign_in.key
    bob = await stubs.register("bob@x.test", remember_me=True)
    revoked = (await stubs.sign_in()).sign_in.key
    await stubs.accounts.RevokeSignIn(pb.RevokeSignInRequest(key=revoked))
    expired = (await stubs.sign_in()).sign_in.key
    clock.advance(timedelta(hours=12))
    bad = {
        "none": pb.SignInKey(),
        "unknown": pb.SignInKey(account_id=administrator.account_id, sign_in_id="guessed"),
        "another's": pb.SignInKey(
            account_id=administrator.account_id, sign_in_id=bob.sign_in.key.sign_in_id
        ),
        "revoked": revoked,
        "expired": expired,
        "broken": pb.SignInKey(account_id="\0", sign_in_id="\0"),
    }
    for service, method, request_type in keyed_methods():
        for name, key in bad.items():
            with subtests.test(method=method, key=name):
                error = await refusal(call(stubs, service, method, plausible(request_type, key)))
                assert (error.code, error.reason) == (
                    StatusCode.UNAUTHENTICATED,
                    "SIGN_IN_INVALID",
                )
    assert await stubs.state(administrator) == ""
    assert await stubs.state(bob.sign_in.key) == ""


async def test_only_administrators_administrate(
    stubs: Any, refusal: Refusal, rows: Any, subtests: Any
) -> None:
    ann = await stubs.register()
    bob = (await stubs.register("bob@x.test")).sign_in.key
    asked = 0
    for service, method, request_type in keyed_methods("AdministrationService"):
        with subtests.test(method=method):
            request = plausible(request_type, bob)
            if method in {"SetAccountDisabled", "CreatePasswordReset"}:
                request.account_id = ann.account.account_id
            if method == "SetAccountDisabled":
                request.disabled = True
            error = await refusal(call(stubs, service, method, request))
            assert (error.code, error.reason) == (
                StatusCode.PERMISSION_DENIED,
                "ADMINISTRATOR_ONLY",
            )
            asked += 1
    assert asked == 6
    assert await stubs.state(ann.sign_in.key) == ""
    assert await rows("SELECT 1 FROM invitations") == []
    assert await rows("SELECT 1 FROM password_resets") == []
