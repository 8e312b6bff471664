"""What owners change, see and take with them."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.convert import instant
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
PASSWORD, NEW = "correct horse", "another horse"
DESK = pb.Client(address="192.0.2.7", user_agent="Desk")


async def change_password(
    stubs: Any, key: pb.SignInKey, new: str = NEW, old: str = PASSWORD
) -> pb.ChangePasswordResponse:
    request = pb.ChangePasswordRequest(key=key, password=old, new_password=new, client=DESK)
    answer: pb.ChangePasswordResponse = await stubs.accounts.ChangePassword(request)
    return answer


async def change_email(
    stubs: Any, key: pb.SignInKey, email: str, password: str = PASSWORD
) -> pb.ChangeEmailResponse:
    request = pb.ChangeEmailRequest(key=key, password=password, email=email, client=DESK)
    answer: pb.ChangeEmailResponse = await stubs.accounts.ChangeEmail(request)
    return answer


async def test_another_password_ends_all_sign_ins_and_begins_one(
    stubs: Any, refusal: Refusal
) -> None:
    made = await stubs.register(remember_me=True)
    other = (await stubs.sign_in()).sign_in.key
    changed = await change_password(stubs, made.sign_in.key)
    assert changed.account == made.account
    assert changed.sign_in.remembered
    assert changed.sign_in.key.sign_in_id != made.sign_in.key.sign_in_id
    for key in (made.sign_in.key, other):
        assert await stubs.state(key) == "SIGN_IN_INVALID"
    assert await stubs.state(changed.sign_in.key) == ""
    assert (await refusal(stubs.sign_in())).reason == "CREDENTIALS_WRONG"
    await stubs.sign_in(password=NEW)
    log = await stubs.log(changed.sign_in.key)
    assert [each.kind for each in log[:3]] == [
        pb.AUDIT_KIND_SIGNED_IN,
        pb.AUDIT_KIND_SIGN_IN_FAILED,
        pb.AUDIT_KIND_PASSWORD_CHANGED,
    ]
    assert log[2].client == DESK


async def test_a_change_needs_the_password_and_a_good_value(
    stubs: Any, refusal: Refusal, hasher: Any
) -> None:
    key = (await stubs.register()).sign_in.key
    await stubs.register("bob@x.test")
    wrong = (
        lambda: change_password(stubs, key, old="wrong horse"),
        lambda: change_email(stubs, key, "new@x.test", "wrong horse"),
        lambda: stubs.accounts.DeleteAccount(
            pb.DeleteAccountRequest(key=key, password="wrong horse")
        ),
    )
    for call in wrong:
        before = hasher.verified
        error = await refusal(call())
        assert (error.code, error.reason) == (StatusCode.PERMISSION_DENIED, "PASSWORD_WRONG")
        assert error.metadata == {"field": "password"}
        assert hasher.verified == before + 1
    for new in ("short", "x" * 201, "ann@x.test", "with\0zero bytes"):
        error = await refusal(change_password(stubs, key, new))
        assert error.metadata == {"field": "new_password"}
    assert (await refusal(change_email(stubs, key, "nothing"))).metadata == {"field": "email"}
    assert (await refusal(change_email(stubs, key, "BOB@x.test"))).reason == "EMAIL_TAKEN"
    assert await stubs.state(key) == ""
    log = await stubs.log(key)
    assert [each.kind for each in log].count(pb.AUDIT_KIND_PASSWORD_WRONG) == 3


async def test_another_address_ends_all_sign_ins_and_begins_one(
    stubs: Any, refusal: Refusal
) -> None:
    made = await stubs.register()
    other = (await stubs.sign_in()).sign_in.key
    changed = await change_email(stubs, made.sign_in.key, " New@x.test ")
    assert changed.account.email == "New@x.test"
    assert changed.account.account_id == made.account.account_id
    for key in (made.sign_in.key, other):
        assert await stubs.state(key) == "SIGN_IN_INVALID"
    assert (await refusal(stubs.sign_in())).reason == "CREDENTIALS_WRONG"
    await stubs.sign_in("new@x.test")
    [logged] = [
        each
        for each in await stubs.log(changed.sign_in.key)
        if each.kind == pb.AUDIT_KIND_EMAIL_CHANGED
    ]
    assert logged.detail == "ann@x.test → New@x.test"
    # another spelling of one's own address is nobody else's
    again = await change_email(stubs, changed.sign_in.key, "NEW@x.test")
    assert again.account.email == "NEW@x.test"
    await stubs.register("ann@x.test")


async def test_changes_at_once_are_one_change(stubs: Any) -> None:
    keys = [(await stubs.register()).sign_in.key]
    keys += [(await stubs.sign_in()).sign_in.key for _ in range(3)]
    outcomes = await asyncio.gather(
        *(change_password(stubs, key, f"{NEW} {n}") for n, key in enumerate(keys)),
        return_exceptions=True,
    )
    made = [n for n, each in enumerate(outcomes) if isinstance(each, pb.ChangePasswordResponse)]
    assert len(made) == 1
    codes = {each.code() for each in outcomes if isinstance(each, AioRpcError)}
    assert codes <= {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED}
    await stubs.sign_in(password=f"{NEW} {made[0]}")


async def test_nobody_slips_in_with_the_old_password_while_it_is_changed(stubs: Any) -> None:
    key = (await stubs.register()).sign_in.key
    outcomes = await asyncio.gather(
        change_password(stubs, key), *(stubs.sign_in() for _ in range(10)), return_exceptions=True
    )
    assert isinstance(outcomes[0], pb.ChangePasswordResponse)
    signed_in = [each for each in outcomes[1:] if isinstance(each, pb.CreateSignInResponse)]
    for each in signed_in:
        assert await stubs.state(each.sign_in.key) == "SIGN_IN_INVALID"


async def test_whatever_is_done_no_log_holds_a_secret_or_a_name(
    stubs: Any, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await stubs.register(client=DESK)
    await refusal(stubs.register())
    await refusal(stubs.sign_in(password="wrong horse"))
    changed = await change_password(stubs, made.sign_in.key)
    renamed = await change_email(stubs, changed.sign_in.key, "new@x.test", NEW)
    key = renamed.sign_in.key
    invitation = pb.CreateInvitationRequest(key=key, email="bob@x.test")
    token = (await stubs.administration.CreateInvitation(invitation)).token
    await stubs.register("bob@x.test", invitation_token=token)
    await stubs.accounts.RequestPasswordReset(pb.RequestPasswordResetRequest(email="bob@x.test"))
    await stubs.accounts.ExportAccount(pb.ExportAccountRequest(key=key))
    assert "/foretick.subscription.v1.AccountService/RegisterAccount took" in caplog.text
    ids = [each.sign_in.key.sign_in_id for each in (made, changed, renamed)]
    for secret in (PASSWORD, NEW, "wrong horse", token, "argon2id", "@x.test", *ids):
        assert secret not in caplog.text


async def test_the_log_has_pages_and_is_its_owners_alone(
    stubs: Any, refusal: Refusal, clock: Any
) -> None:
    made = await stubs.register(client=DESK)
    bob = (await stubs.register("bob@x.test")).sign_in.key
    for _ in range(4):
        clock.advance(timedelta(seconds=1))
        await stubs.sign_in()
    key = made.sign_in.key
    seen: list[pb.AuditEvent] = []
    token = ""
    while True:
        request = pb.ListAuditEventsRequest(key=key, page_size=2, page_token=token)
        page = await stubs.accounts.ListAuditEvents(request)
        seen += page.events
        if not (token := page.next_page_token):
            break
        assert len(page.events) == 2
    assert seen == await stubs.log(key)
    assert [each.kind for each in seen] == [pb.AUDIT_KIND_SIGNED_IN] * 4 + [
        pb.AUDIT_KIND_REGISTERED
    ]
    assert seen[-1].client == DESK
    assert instant(seen[0].event_time) == clock.time
    assert [each.kind for each in await stubs.log(bob)] == [pb.AUDIT_KIND_REGISTERED]
    for field, value in (("page_size", 201), ("page_size", -1), ("page_token", "none of it")):
        request = pb.ListAuditEventsRequest(key=key, **{field: value})  # type: ignore[arg-type]
        error = await refusal(stubs.accounts.ListAuditEvents(request))
        assert (error.code, error.metadata) == (StatusCode.INVALID_ARGUMENT, {"field": field})


async def test_all_that_is_kept_is_exported(stubs: Any, clock: Any) -> None:
    made = await stubs.register(client=DESK)
    key = made.sign_in.key
    await stubs.register("bob@x.test")
    await stubs.subscriptions.AddSubscription(
        pb.AddSubscriptionRequest(key=key, symbol="AAPL", note="apples")
    )
    await stubs.administration.CreateInvitation(
        pb.CreateInvitationRequest(key=key, email="eve@x.test")
    )
    answer = await stubs.accounts.ExportAccount(pb.ExportAccountRequest(key=key))
    document = json.loads(answer.document)
    now = clock.time.isoformat()
    assert document["account"] == {
        "account_id": made.account.account_id,
        "email": "ann@x.test",
        "create_time": now,
        "administrator": True,
    }
    first = made.account.account_id
    assert document["watchlists"] == [{"list_id": first, "name": "Watchlist"}]
    assert document["subscriptions"] == [
        {"list_id": first, "symbol": "AAPL", "note": "apples", "create_time": now}
    ]
    [device] = document["sign_ins"]
    assert device["device_id"] == made.sign_in.device_id
    assert (device["address"], device["user_agent"]) == ("192.0.2.7", "Desk")
    assert [each["kind"] for each in document["audit_log"]] == ["exported", "invited", "registered"]
    assert [each["email"] for each in document["invitations"]] == ["eve@x.test"]
    for secret in (key.sign_in_id, PASSWORD, "argon2", "bob@x.test"):
        assert secret not in answer.document


@pytest.mark.parametrize("guessed", [True, False])
async def test_a_deleted_account_leaves_nothing_that_names_it(
    stubs: Any, refusal: Refusal, rows: Any, guessed: bool
) -> None:
    ann = (await stubs.register()).sign_in.key
    invitation = pb.CreateInvitationRequest(key=ann, email="bob@x.test")
    await stubs.administration.CreateInvitation(invitation)
    if guessed:  # before there was an account
        assert (await refusal(stubs.sign_in("bob@x.test"))).reason == "CREDENTIALS_WRONG"
    made = await stubs.register("bob@x.test", client=DESK)
    bob = made.sign_in.key
    other = (await stubs.sign_in("bob@x.test")).sign_in.key
    await stubs.subscriptions.AddSubscription(pb.AddSubscriptionRequest(key=bob, symbol="AAPL"))
    await stubs.accounts.RequestPasswordReset(pb.RequestPasswordResetRequest(email="bob@x.test"))
    await refusal(stubs.sign_in("bob@x.test", password="wrong horse"))
    changed = await change_email(stubs, bob, "rob@x.test")
    request = pb.DeleteAccountRequest(key=changed.sign_in.key, password=PASSWORD)
    await stubs.accounts.DeleteAccount(request)
    for key in (bob, other, changed.sign_in.key):
        assert await stubs.state(key) == "SIGN_IN_INVALID"
    left = {
        table: repr(await rows(f"SELECT * FROM {table}"))  # noqa: S608 fixed names
        for table in (
            "accounts",
            "sign_ins",
            "subscriptions",
            "watchlists",
            "audit_events",
            "password_resets",
            "invitations",
        )
    }
    subjects = [sha256(f"{name}@x.test".encode()).hexdigest() for name in ("bob", "rob")]
    for table, text in left.items():
        for trace in (made.account.account_id, "bob@", "rob@", DESK.address, *subjects):
            assert trace not in text, table
    assert (await refusal(stubs.sign_in("rob@x.test"))).reason == "CREDENTIALS_WRONG"
    assert await stubs.state(ann) == ""
    again = await stubs.register("bob@x.test")
    assert again.account.account_id != made.account.account_id
    assert not again.account.administrator


async def test_the_last_administrator_stays_as_long_as_there_are_others(
    stubs: Any, refusal: Refusal
) -> None:
    ann = (await stubs.register()).sign_in.key
    bob = (await stubs.register("bob@x.test")).sign_in.key
    deletion = pb.DeleteAccountRequest(key=ann, password=PASSWORD)
    error = await refusal(stubs.accounts.DeleteAccount(deletion))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "LAST_ADMINISTRATOR")
    assert await stubs.state(ann) == ""
    await stubs.accounts.DeleteAccount(pb.DeleteAccountRequest(key=bob, password=PASSWORD))
    await stubs.accounts.DeleteAccount(deletion)
    assert (await stubs.register("eve@x.test")).account.administrator
