"""Who can register, and who is the administrator."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]


def asked(token: str = "") -> pb.GetRegistrationRequest:
    return pb.GetRegistrationRequest(invitation_token=token)


async def invite(stubs: Any, key: pb.SignInKey, email: str = "") -> pb.CreateInvitationResponse:
    request = pb.CreateInvitationRequest(key=key, email=email)
    answer: pb.CreateInvitationResponse = await stubs.administration.CreateInvitation(request)
    return answer


async def test_the_first_account_is_the_administrator(stubs: Any) -> None:
    before = await stubs.accounts.GetRegistration(asked())
    assert (before.mode, before.allowed, before.first) == (pb.REGISTRATION_MODE_OPEN, True, True)
    assert (await stubs.register()).account.administrator
    assert not (await stubs.register("bob@x.test")).account.administrator
    after = await stubs.accounts.GetRegistration(asked())
    assert (after.allowed, after.first, after.mails) == (True, False, False)


async def test_registrations_that_race_for_the_first_make_one_administrator(
    stubs: Any, rows: Any
) -> None:
    made = await asyncio.gather(*(stubs.register(f"u{n}@x.test") for n in range(10)))
    assert [each.account.administrator for each in made].count(True) == 1
    assert len(await rows("SELECT 1 FROM accounts WHERE administrator")) == 1


async def test_replicas_that_race_for_the_first_make_one_administrator(
    postgres_url: str, start_on: Any, open_on: Any
) -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(open_on(postgres_url)) for _ in range(2)]
        made = await asyncio.gather(*(replicas[n % 2].register(f"u{n}@x.test") for n in range(10)))
    assert [each.account.administrator for each in made].count(True) == 1


async def test_where_registration_is_closed_only_the_first_gets_in(
    open_stubs: Any, refusal: Refusal, hasher: Any
) -> None:
    async with open_stubs(registration="closed") as stubs:
        assert (await stubs.accounts.GetRegistration(asked())).allowed
        key = (await stubs.register()).sign_in.key
        state = await stubs.accounts.GetRegistration(asked())
        assert (state.mode, state.allowed) == (pb.REGISTRATION_MODE_CLOSED, False)
        error = await refusal(stubs.register("bob@x.test"))
        assert (error.code, error.reason) == (StatusCode.PERMISSION_DENIED, "REGISTRATION_CLOSED")
        error = await refusal(invite(stubs, key))
        assert (error.code, error.reason) == (StatusCode.PERMISSION_DENIED, "REGISTRATION_CLOSED")


async def test_an_invitation_makes_one_account(
    open_stubs: Any, refusal: Refusal, rows: Any
) -> None:
    async with open_stubs(registration="invitation") as stubs:
        key = (await stubs.register()).sign_in.key
        assert not (await stubs.accounts.GetRegistration(asked())).allowed
        error = await refusal(stubs.register("bob@x.test"))
        assert (error.code, error.reason) == (StatusCode.PERMISSION_DENIED, "INVITATION_NEEDED")
        made = await invite(stubs, key)
        assert not made.mailed
        assert made.token not in repr(await rows("SELECT * FROM invitations"))
        assert (await stubs.accounts.GetRegistration(asked(made.token))).allowed
        outcomes = await asyncio.gather(
            *(stubs.register(f"u{n}@x.test", invitation_token=made.token) for n in range(5)),
            return_exceptions=True,
        )
        [one] = [each for each in outcomes if isinstance(each, pb.RegisterAccountResponse)]
        assert not one.account.administrator
        refused = [each.code() for each in outcomes if isinstance(each, AioRpcError)]
        assert refused == [StatusCode.NOT_FOUND] * 4
        assert not (await stubs.accounts.GetRegistration(asked(made.token))).allowed
        assert await rows("SELECT 1 FROM invitations") == []


async def test_an_invitation_can_be_for_one_address_is_listed_withdrawn_and_ends(
    open_stubs: Any, refusal: Refusal, clock: Any
) -> None:
    async with open_stubs(registration="invitation") as stubs:
        key = (await stubs.register(remember_me=True)).sign_in.key
        bobs = await invite(stubs, key, " Bob@x.test")
        state = await stubs.accounts.GetRegistration(asked(bobs.token))
        assert (state.allowed, state.invited_email) == (True, "Bob@x.test")
        error = await refusal(stubs.register("eve@x.test", invitation_token=bobs.token))
        assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "INVITATION_INVALID")
        clock.advance(timedelta(seconds=1))
        anybodys = await invite(stubs, key)
        listing = pb.ListInvitationsRequest(key=key)
        listed = await stubs.administration.ListInvitations(listing)
        assert listed.mode == pb.REGISTRATION_MODE_INVITATION
        assert list(listed.invitations) == [anybodys.invitation, bobs.invitation]
        withdrawal = pb.WithdrawInvitationRequest(
            key=key, invitation_id=anybodys.invitation.invitation_id
        )
        for _ in range(2):
            await stubs.administration.WithdrawInvitation(withdrawal)
        listed = await stubs.administration.ListInvitations(listing)
        assert list(listed.invitations) == [bobs.invitation]
        clock.advance(timedelta(days=7))
        for made in (bobs, anybodys):
            assert not (await stubs.accounts.GetRegistration(asked(made.token))).allowed
            call = stubs.register("bob@x.test", invitation_token=made.token)
            assert (await refusal(call)).reason == "INVITATION_INVALID"
        listed = await stubs.administration.ListInvitations(listing)
        assert list(listed.invitations) == []


async def test_where_registration_is_open_an_invitation_is_used_up_as_well(
    stubs: Any, rows: Any
) -> None:
    key = (await stubs.register()).sign_in.key
    token = (await invite(stubs, key)).token
    await stubs.register("bob@x.test", invitation_token=token)
    assert await rows("SELECT 1 FROM invitations") == []
    await stubs.register("eve@x.test", invitation_token=token)  # as good as none


@pytest.mark.parametrize("address", ["not an address", "192.0.2.1:80", "::g"])
async def test_a_client_has_an_ip_address_or_none(
    stubs: Any, refusal: Refusal, address: str
) -> None:
    error = await refusal(stubs.register(client=pb.Client(address=address)))
    assert (error.code, error.metadata) == (
        StatusCode.INVALID_ARGUMENT,
        {"field": "client.address"},
    )
