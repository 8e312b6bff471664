"""What administrators see and do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.convert import instant
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]


async def disable(
    stubs: Any, key: pb.SignInKey, account_id: str, disabled: bool = True
) -> pb.Account:
    request = pb.SetAccountDisabledRequest(key=key, account_id=account_id, disabled=disabled)
    answer: pb.SetAccountDisabledResponse = await stubs.administration.SetAccountDisabled(request)
    return answer.account


async def test_accounts_are_listed_by_address_in_pages(
    stubs: Any, clock: Any, refusal: Refusal
) -> None:
    key = (await stubs.register("m@x.test")).sign_in.key
    clock.advance(timedelta(hours=1))
    for name in ("B", "a", "z"):
        await stubs.register(f"{name}@x.test")
    seen: list[pb.AccountSummary] = []
    token = ""
    while True:
        request = pb.ListAccountsRequest(key=key, page_size=2, page_token=token)
        page = await stubs.administration.ListAccounts(request)
        seen += page.accounts
        if not (token := page.next_page_token):
            break
    assert [each.account.email[0] for each in seen] == ["a", "B", "m", "z"]
    assert [each.account.administrator for each in seen] == [False, False, True, False]
    assert instant(seen[0].last_used_time) == clock.time
    for field, value in (("page_size", 1000), ("page_token", "AA==")):
        request = pb.ListAccountsRequest(key=key, **{field: value})  # type: ignore[arg-type]
        assert (await refusal(stubs.administration.ListAccounts(request))).metadata == {
            "field": field
        }


async def test_a_disabled_account_is_out_until_it_is_enabled(
    stubs: Any, refusal: Refusal, clock: Any
) -> None:
    ann = (await stubs.register()).sign_in.key
    bob = await stubs.register("bob@x.test")
    for _ in range(2):
        account = await disable(stubs, ann, bob.account.account_id)
        assert instant(account.disable_time) == clock.time
    assert await stubs.state(bob.sign_in.key) == "SIGN_IN_INVALID"
    error = await refusal(stubs.sign_in("bob@x.test"))
    assert (error.code, error.reason) == (StatusCode.PERMISSION_DENIED, "ACCOUNT_DISABLED")
    error = await refusal(stubs.sign_in("bob@x.test", password="wrong horse"))
    assert error.reason == "CREDENTIALS_WRONG"  # nobody else is told
    account = await disable(stubs, ann, bob.account.account_id, disabled=False)
    assert not account.HasField("disable_time")
    assert await stubs.state(bob.sign_in.key) == "SIGN_IN_INVALID"  # what has ended has ended
    again = (await stubs.sign_in("bob@x.test")).sign_in.key
    assert [each.kind for each in await stubs.log(again)] == [
        pb.AUDIT_KIND_SIGNED_IN,
        pb.AUDIT_KIND_ENABLED,
        pb.AUDIT_KIND_SIGN_IN_FAILED,
        pb.AUDIT_KIND_DISABLED,
        pb.AUDIT_KIND_REGISTERED,
    ]


async def test_what_is_no_account_cannot_be_disabled(stubs: Any, refusal: Refusal) -> None:
    ann = (await stubs.register()).sign_in.key
    for account_id in ("", "nobody", "\0", "x" * 10_000):
        error = await refusal(disable(stubs, ann, account_id))
        assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND")


def reset_link(
    stubs: Any, key: pb.SignInKey, account_id: str
) -> Awaitable[pb.CreatePasswordResetResponse]:
    request = pb.CreatePasswordResetRequest(
        key=key, account_id=account_id, client=pb.Client(address="192.0.2.7")
    )
    call: Awaitable[pb.CreatePasswordResetResponse] = stubs.administration.CreatePasswordReset(
        request
    )
    return call


async def test_without_letters_an_administrator_makes_a_link_for_somebody_else(
    stubs: Any, refusal: Refusal, clock: Any, rows: Any
) -> None:
    ann = (await stubs.register()).sign_in.key
    bob = await stubs.register("bob@x.test")
    assert not (await stubs.administration.ListAccounts(pb.ListAccountsRequest(key=ann))).mails
    # one's own password takes the old one
    error = await refusal(reset_link(stubs, ann, ann.account_id))
    assert error.metadata == {"field": "account_id"}
    error = await refusal(reset_link(stubs, ann, "nobody\0"))
    assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND")
    late = await reset_link(stubs, ann, bob.account.account_id)
    assert instant(late.expire_time) == clock.time + timedelta(hours=24)
    made = await reset_link(stubs, ann, bob.account.account_id)
    assert made.token not in repr(await rows("SELECT * FROM password_resets"))
    request = pb.ResetPasswordRequest(token=made.token, new_password="another horse")
    await stubs.accounts.ResetPassword(request)
    for token in (made.token, late.token):
        request = pb.ResetPasswordRequest(token=token, new_password="yet another horse")
        assert (await refusal(stubs.accounts.ResetPassword(request))).reason == (
            "RESET_TOKEN_INVALID"
        )
    assert await stubs.state(bob.sign_in.key) == "SIGN_IN_INVALID"
    theirs = await stubs.log(
        (await stubs.sign_in("bob@x.test", password="another horse")).sign_in.key
    )
    asked = [each for each in theirs if each.kind == pb.AUDIT_KIND_RESET_REQUESTED]
    assert [(each.detail, each.client.address) for each in asked] == [
        ("by an administrator", "")
    ] * 2
    own = [each for each in await stubs.log(ann) if each.kind == pb.AUDIT_KIND_RESET_LINK_MADE]
    assert [each.client.address for each in own] == ["192.0.2.7"] * 2


async def test_with_letters_nobody_makes_a_link_for_somebody_else(
    open_stubs: Any, postbox: Any, refusal: Refusal, rows: Any
) -> None:
    async with open_stubs(smtp_url=postbox.url, mail_from="foretick@x.test") as stubs:
        ann = (await stubs.register()).sign_in.key
        bob = await stubs.register("bob@x.test")
        assert (await stubs.administration.ListAccounts(pb.ListAccountsRequest(key=ann))).mails
        error = await refusal(reset_link(stubs, ann, bob.account.account_id))
        assert (error.code, error.reason) == (
            StatusCode.FAILED_PRECONDITION,
            "RESETS_ARE_MAILED",
        )
    assert await rows("SELECT 1 FROM password_resets") == []


async def test_one_administrator_is_left_whoever_disables_whom_at_once(
    stubs: Any, refusal: Refusal, rows: Any
) -> None:
    ann = await stubs.register()
    bob = await stubs.register("bob@x.test")
    error = await refusal(disable(stubs, ann.sign_in.key, ann.account.account_id))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "LAST_ADMINISTRATOR")
    assert await stubs.state(ann.sign_in.key) == ""
    await rows("UPDATE accounts SET administrator = true RETURNING 1")
    outcomes = await asyncio.gather(
        disable(stubs, ann.sign_in.key, bob.account.account_id),
        disable(stubs, bob.sign_in.key, ann.account.account_id),
        return_exceptions=True,
    )
    assert [isinstance(each, pb.Account) for each in outcomes].count(True) == 1
    [refused] = [each.code() for each in outcomes if isinstance(each, AioRpcError)]
    assert refused in {StatusCode.FAILED_PRECONDITION, StatusCode.UNAUTHENTICATED}
    assert len(await rows("SELECT 1 FROM accounts WHERE disable_time IS NULL")) == 1
