"""Attempts are counted, by account and by address."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]


def client(number: int) -> pb.Client:
    return pb.Client(address=f"192.0.2.{number}")


async def fail(stubs: Any, refusal: Refusal, email: str, number: int = 1) -> AppError:
    return await refusal(stubs.sign_in(email, password="wrong horse", client=client(number)))


@pytest.mark.parametrize("email", ["ann@x.test", "nobody@x.test"])
async def test_ten_failures_close_an_account_that_exists_or_not_for_a_quarter_of_an_hour(
    stubs: Any, refusal: Refusal, clock: Any, hasher: Any, email: str
) -> None:
    await stubs.register()  # from nowhere that is known
    for n in range(10):
        assert (await fail(stubs, refusal, email, n)).reason == "CREDENTIALS_WRONG"
        clock.advance(timedelta(minutes=1))
    verified = hasher.verified
    error = await fail(stubs, refusal, email.upper(), 200)
    assert (error.code, error.reason) == (StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_ATTEMPTS")
    assert error.metadata == {"retry_after_seconds": "300"}
    assert error.message == "There were too many attempts. Try again in 5 min."
    assert (await refusal(stubs.sign_in(email))).reason == "TOO_MANY_ATTEMPTS"
    assert hasher.verified == verified
    clock.advance(timedelta(minutes=5))  # refused attempts have not been counted
    assert (await fail(stubs, refusal, email)).reason == "CREDENTIALS_WRONG"
    assert (await fail(stubs, refusal, email)).reason == "TOO_MANY_ATTEMPTS"


async def test_an_owner_is_not_locked_out_by_somebody_elsewhere(
    stubs: Any, refusal: Refusal
) -> None:
    await stubs.register()
    await stubs.sign_in(client=client(7))
    for _ in range(10):
        await fail(stubs, refusal, "ann@x.test", 66)
    assert (await fail(stubs, refusal, "ann@x.test", 67)).reason == "TOO_MANY_ATTEMPTS"
    await stubs.sign_in(client=client(7))
    for _ in range(10):
        assert (await fail(stubs, refusal, "ann@x.test", 7)).reason == "CREDENTIALS_WRONG"
    assert (await fail(stubs, refusal, "ann@x.test", 7)).reason == "TOO_MANY_ATTEMPTS"


async def test_fifty_failures_close_an_address_whatever_it_asks_for(
    stubs: Any, refusal: Refusal, clock: Any
) -> None:
    await stubs.register()
    for n in range(45):
        await fail(stubs, refusal, f"u{n}@x.test")
    for n in range(5):
        request = pb.RequestPasswordResetRequest(email=f"u{n}@x.test", client=client(1))
        await stubs.accounts.RequestPasswordReset(request)
    calls = (
        stubs.sign_in(client=client(1)),
        stubs.register("bob@x.test", client=client(1)),
        stubs.accounts.RequestPasswordReset(
            pb.RequestPasswordResetRequest(email="ann@x.test", client=client(1))
        ),
        stubs.accounts.ResetPassword(
            pb.ResetPasswordRequest(token="x", new_password="another horse", client=client(1))
        ),
    )
    for call in calls:
        error = await refusal(call)
        assert (error.reason, error.metadata) == (
            "TOO_MANY_ATTEMPTS",
            {"retry_after_seconds": "900"},
        )
    await stubs.sign_in(client=client(2))
    await stubs.sign_in()
    clock.advance(timedelta(minutes=15))
    await stubs.sign_in(client=client(1))


async def test_whoever_has_a_cookie_cannot_guess_the_password_either(
    stubs: Any, refusal: Refusal
) -> None:
    key = (await stubs.register()).sign_in.key
    request = pb.DeleteAccountRequest(key=key, password="wrong horse")
    for _ in range(10):
        assert (await refusal(stubs.accounts.DeleteAccount(request))).reason == "PASSWORD_WRONG"
    for call in (stubs.accounts.DeleteAccount(request), stubs.sign_in()):
        assert (await refusal(call)).reason == "TOO_MANY_ATTEMPTS"
    assert await stubs.state(key) == ""


async def test_guesses_that_come_all_at_once_are_counted_as_well(stubs: Any, hasher: Any) -> None:
    await stubs.register()
    outcomes = await asyncio.gather(
        *(stubs.sign_in(password=f"wrong horse {n}") for n in range(60)), return_exceptions=True
    )
    codes = [each.code() for each in outcomes if isinstance(each, AioRpcError)]
    assert len(codes) == 60
    # one more may pass while the tenth is being verified
    assert codes.count(StatusCode.UNAUTHENTICATED) in {10, 11}
    assert hasher.verified in {10, 11}


async def test_one_household_has_one_count_and_its_neighbour_another(
    stubs: Any, refusal: Refusal
) -> None:
    await stubs.register()
    for n in range(50):
        address = f"2001:db8:0:1::{n:x}"
        await refusal(stubs.sign_in(f"u{n}@x.test", client=pb.Client(address=address)))
    error = await refusal(stubs.sign_in(client=pb.Client(address="2001:db8:0:1:ffff::")))
    assert error.reason == "TOO_MANY_ATTEMPTS"
    await stubs.sign_in(client=pb.Client(address="2001:db8:0:2::"))


async def test_registering_tells_of_no_more_than_fifty_addresses(
    stubs: Any, refusal: Refusal
) -> None:
    await stubs.register(client=client(1))
    for _ in range(50):
        assert (await refusal(stubs.register(client=client(1)))).reason == "EMAIL_TAKEN"
    assert (await refusal(stubs.register(client=client(1)))).reason == "TOO_MANY_ATTEMPTS"
