"""Registering, signing in, signing out."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from argon2 import PasswordHasher
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import (
    AccountServiceStub,
    SubscriptionServiceStub,
)
from foretick_rpc.convert import instant
from foretick_rpc.errors import AppError
from foretick_rpc.testing import calling
from subscription_svc.sign_ins import LIFETIME

Rows = Callable[[str], Awaitable[list[tuple[Any, ...]]]]
Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
PASSWORD = "correct horse"
ACCOUNT_SERVICE = pb.DESCRIPTOR.services_by_name["AccountService"]


def registration(email: str = "ann@x.test", password: str = PASSWORD) -> pb.RegisterAccountRequest:
    return pb.RegisterAccountRequest(email=email, password=password)


def sign_in(email: str = "ann@x.test", password: str = PASSWORD) -> pb.CreateSignInRequest:
    return pb.CreateSignInRequest(email=email, password=password)


async def test_an_account_is_made_and_signed_in(accounts: AccountServiceStub, clock: Any) -> None:
    made = await accounts.RegisterAccount(registration(" Ann@X.test "))
    assert made.account.email == "Ann@X.test"
    assert instant(made.account.create_time) == clock.time
    assert made.sign_in.key.account_id == made.account.account_id
    assert len(made.sign_in.key.sign_in_id) >= 22  # 128 bits in base 64
    assert instant(made.sign_in.expire_time) == clock.time + LIFETIME

    again = await accounts.CreateSignIn(sign_in("aNN@x.TEST"))
    assert again.account == made.account
    assert again.sign_in.key.account_id == made.account.account_id
    assert again.sign_in.key.sign_in_id != made.sign_in.key.sign_in_id


async def test_neither_password_nor_sign_in_id_is_stored(
    accounts: AccountServiceStub, rows: Rows
) -> None:
    made = await accounts.RegisterAccount(registration())
    stored = repr([await rows(f"SELECT * FROM {t}") for t in ("accounts", "sign_ins")])  # noqa: S608 two fixed names
    assert made.account.account_id in stored
    assert "$argon2id$" in stored
    assert PASSWORD not in stored
    assert made.sign_in.key.sign_in_id not in stored


WRONG_REGISTRATIONS = {
    "no address": (registration(email=""), "email", "ann@example.org"),
    "no @": (registration(email="ann"), "email", "ann@example.org"),
    "a long address": (registration(email="a" * 250 + "@x.test"), "email", "at most 254"),
    "a short password": (registration(password="ninechars"), "password", "10 to 200"),
    "a long password": (registration(password="x" * 201), "password", "10 to 200"),
    "a huge password": (registration(password="x" * 1_000_000), "password", "10 to 200"),
    "the address": (registration(password="ANN@x.test"), "password", "must not be the e-mail"),
}


async def test_what_is_wrong_with_a_registration_is_said(
    accounts: AccountServiceStub, refusal: Refusal, rows: Rows, subtests: pytest.Subtests
) -> None:
    for name, (request, field, allowed) in WRONG_REGISTRATIONS.items():
        with subtests.test(name):
            error = await refusal(accounts.RegisterAccount(request))
            assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
            assert error.metadata == {"field": field}
            assert allowed in error.message
            assert len(error.message) < 200
            assert await rows("SELECT * FROM accounts") == []


async def test_an_address_in_any_spelling_has_one_account(
    accounts: AccountServiceStub, refusal: Refusal
) -> None:
    await accounts.RegisterAccount(registration("Ann@x.test"))
    error = await refusal(accounts.RegisterAccount(registration("ann@X.TEST")))
    assert (error.code, error.reason) == (StatusCode.ALREADY_EXISTS, "EMAIL_TAKEN")
    assert error.metadata == {"field": "email"}


async def test_registrations_that_race_make_one_account(
    accounts: AccountServiceStub, rows: Rows
) -> None:
    outcomes = await asyncio.gather(
        *(accounts.RegisterAccount(registration(e)) for e in ("ann@x.test", "Ann@x.test") * 5),
        return_exceptions=True,
    )
    made = [o for o in outcomes if isinstance(o, pb.RegisterAccountResponse)]
    refused = [o.code() for o in outcomes if isinstance(o, AioRpcError)]
    assert len(made) == 1
    assert refused == [StatusCode.ALREADY_EXISTS] * 9
    assert await rows("SELECT account_id FROM accounts") == [(made[0].account.account_id,)]
    assert len(await rows("SELECT * FROM sign_ins")) == 1


async def test_whatever_is_wrong_costs_one_verification_and_gets_one_answer(
    accounts: AccountServiceStub, refusal: Refusal, hasher: Any
) -> None:
    await accounts.RegisterAccount(registration())
    answers = set()
    for wrong in (
        sign_in(password="wrong horse"),
        sign_in(email="bob@x.test"),
        sign_in(email="bob@x.test", password=""),
        sign_in(email="no address"),
        sign_in(password="short"),
        sign_in(password=PASSWORD * 1000),
    ):
        before = hasher.verified
        error = await refusal(accounts.CreateSignIn(wrong))
        assert hasher.verified == before + 1
        answers.add((error.code, error.reason, error.message, *error.metadata))
    assert answers == {
        (
            StatusCode.UNAUTHENTICATED,
            "CREDENTIALS_WRONG",
            "The e-mail address or the password is wrong.",
        )
    }
    before = hasher.verified
    await accounts.CreateSignIn(sign_in())
    assert hasher.verified == before + 1


async def test_a_password_is_the_same_however_it_is_typed(accounts: AccountServiceStub) -> None:
    # A full-width keyboard and a decomposed accent, then neither.
    await accounts.RegisterAccount(registration(password="ｃａｆｅ\u0301 au lait"))
    await accounts.CreateSignIn(sign_in(password="caf\u00e9 au lait"))


async def test_many_sign_ins_at_once_hold_up_nothing_else(
    accounts: AccountServiceStub,
    subscriptions: SubscriptionServiceStub,
    key: pb.SignInKey,
    hasher: Any,
) -> None:
    hasher.gate.clear()
    try:
        storm = [
            asyncio.ensure_future(accounts.CreateSignIn(sign_in(), timeout=60)) for _ in range(50)
        ]
        answered = 0
        while answered < 100 or hasher.at_once < 2:
            await subscriptions.BatchListSubscriptions(pb.BatchListSubscriptionsRequest(keys=[key]))
            answered += 1
        assert not any(call.done() for call in storm)
    finally:
        hasher.gate.set()
    responses = await asyncio.gather(*storm)
    assert len({response.sign_in.key.sign_in_id for response in responses}) == 50
    assert hasher.most_at_once == 2
    assert hasher.verified == 50


async def test_the_recommended_parameters_are_used_and_older_hashes_remade(
    start: Any, rows: Rows, hasher: Any
) -> None:
    async with start() as server, calling(server, ACCOUNT_SERVICE) as channel:
        await AccountServiceStub(channel).RegisterAccount(registration())
    [(cheap,)] = await rows("SELECT password_hash FROM accounts")
    assert cheap.startswith("$argon2id$v=19$m=8,t=1,p=1$")

    async with start(hasher=None) as server, calling(server, ACCOUNT_SERVICE) as channel:
        stub = AccountServiceStub(channel)
        with pytest.raises(AioRpcError):
            await stub.CreateSignIn(sign_in(password="wrong horse"))
        assert await rows("SELECT password_hash FROM accounts") == [(cheap,)]
        await stub.CreateSignIn(sign_in())
        [(remade,)] = await rows("SELECT password_hash FROM accounts")
        assert remade.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert PasswordHasher().verify(remade, PASSWORD)
        await stub.CreateSignIn(sign_in())
        assert await rows("SELECT password_hash FROM accounts") == [(remade,)]


async def test_signing_out_twice_is_no_error_and_touches_nobody_else(
    accounts: AccountServiceStub, key: pb.SignInKey, refusal: Refusal, rows: Rows
) -> None:
    bob = (await accounts.RegisterAccount(registration("bob@x.test"))).sign_in.key
    for nobodys in (bob.account_id, "\0"):
        mixed = pb.SignInKey(account_id=nobodys, sign_in_id=key.sign_in_id)
        await accounts.RevokeSignIn(pb.RevokeSignInRequest(key=mixed))
    assert await rows("SELECT 1 FROM sign_ins WHERE revoke_time IS NOT NULL") == []
    for _ in range(2):
        await accounts.RevokeSignIn(pb.RevokeSignInRequest(key=key))
    assert await rows("SELECT account_id FROM sign_ins WHERE revoke_time IS NULL") == [
        (bob.account_id,)
    ]
    error = await refusal(accounts.RevokeSignIn(pb.RevokeSignInRequest()))
    assert (error.code, error.metadata) == (StatusCode.INVALID_ARGUMENT, {"field": "key"})


async def test_logs_of_a_failure_hold_no_secret(
    accounts: AccountServiceStub,
    refusal: Refusal,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    await accounts.RegisterAccount(registration())
    await refusal(accounts.CreateSignIn(sign_in(password="wrong horse")))
    await rows("ALTER TABLE accounts RENAME TO elsewhere")
    error = await refusal(accounts.RegisterAccount(registration("bob@x.test")))
    assert error.code == StatusCode.INTERNAL
    assert re.search('no such table: accounts|relation "accounts" does not exist', caplog.text)
    for secret in (PASSWORD, "wrong horse", "$argon2id$"):
        assert secret not in caplog.text
        assert secret not in error.message
