"""Lost passwords, and the letters that help."""

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from email import message_from_string, policy
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.errors import AppError
from subscription_svc import app
from subscription_svc.mail import Mailer

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
Logged = Callable[[str], Awaitable[None]]
NEW = "another horse"
MAIL = {"mail_from": "Foretick <foretick@x.test>", "public_url": "https://foretick.x.test/"}


@pytest.fixture
async def mailing(open_stubs: Any, postbox: Any) -> AsyncIterator[Any]:
    """The service, with a server to hand letters to."""
    async with open_stubs(smtp_url=postbox.url, **MAIL) as stubs:
        yield stubs


def asking(email: str = "ann@x.test") -> pb.RequestPasswordResetRequest:
    return pb.RequestPasswordResetRequest(email=email)


async def reset(stubs: Any, token: str, new: str = NEW) -> str:
    request = pb.ResetPasswordRequest(token=token, new_password=new)
    email: str = (await stubs.accounts.ResetPassword(request)).email
    return email


def token_in(letter: str) -> str:
    body = message_from_string(letter, policy=policy.default).get_content()
    [token] = re.findall(r"https://foretick\.x\.test/reset-password\?token=([\w-]{43})\s", body)
    return str(token)


async def test_a_link_is_mailed_and_sets_a_password_once(
    mailing: Any, postbox: Any, refusal: Refusal, rows: Any
) -> None:
    made = await mailing.register("Ann@x.test")
    assert (await mailing.accounts.GetRegistration(pb.GetRegistrationRequest())).mails
    await mailing.accounts.RequestPasswordReset(asking("ann@X.test"))
    letter = await postbox.letter()
    message = message_from_string(letter, policy=policy.default)
    assert (message["To"], message["From"]) == ("Ann@x.test", "Foretick <foretick@x.test>")
    assert message["Subject"] == "Set a new password for Foretick"
    token = token_in(letter)
    assert token not in repr(await rows("SELECT * FROM password_resets"))
    # a password that is refused leaves the link as it is
    assert (await refusal(reset(mailing, token, "short"))).metadata == {"field": "new_password"}
    assert (await refusal(reset(mailing, token, "ANN@x.test"))).metadata == {
        "field": "new_password"
    }
    assert await reset(mailing, token) == "Ann@x.test"
    error = await refusal(reset(mailing, token, "yet another horse"))
    assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "RESET_TOKEN_INVALID")
    assert await mailing.state(made.sign_in.key) == "SIGN_IN_INVALID"
    assert (await refusal(mailing.sign_in())).reason == "CREDENTIALS_WRONG"
    key = (await mailing.sign_in(password=NEW)).sign_in.key
    assert [each.kind for each in await mailing.log(key)] == [
        pb.AUDIT_KIND_SIGNED_IN,
        pb.AUDIT_KIND_SIGN_IN_FAILED,
        pb.AUDIT_KIND_PASSWORD_RESET,
        pb.AUDIT_KIND_RESET_REQUESTED,
        pb.AUDIT_KIND_REGISTERED,
    ]


async def test_a_link_that_is_used_by_many_at_once_works_once(mailing: Any, postbox: Any) -> None:
    await mailing.register()
    await mailing.accounts.RequestPasswordReset(asking())
    token = token_in(await postbox.letter())
    outcomes = await asyncio.gather(
        *(reset(mailing, token, f"{NEW} {n}") for n in range(8)), return_exceptions=True
    )
    [winner] = [n for n, each in enumerate(outcomes) if isinstance(each, str)]
    codes = [each.code() for each in outcomes if isinstance(each, AioRpcError)]
    assert codes == [StatusCode.NOT_FOUND] * 7
    await mailing.sign_in(password=f"{NEW} {winner}")


async def test_a_link_ends_after_an_hour_and_with_any_change_of_what_signs_in(
    mailing: Any, postbox: Any, refusal: Refusal, clock: Any
) -> None:
    key = (await mailing.register()).sign_in.key
    await mailing.accounts.RequestPasswordReset(asking())
    late = token_in(await postbox.letter(0))
    clock.advance(timedelta(hours=1))
    assert (await refusal(reset(mailing, late))).reason == "RESET_TOKEN_INVALID"
    await mailing.accounts.RequestPasswordReset(asking())
    used = token_in(await postbox.letter(1))
    await mailing.accounts.ChangePassword(
        pb.ChangePasswordRequest(key=key, password="correct horse", new_password=NEW)
    )
    assert (await refusal(reset(mailing, used))).reason == "RESET_TOKEN_INVALID"
    for nonsense in ("", "\0", "x" * 100_000):
        assert (await refusal(reset(mailing, nonsense))).reason == "RESET_TOKEN_INVALID"


async def test_known_and_unknown_addresses_get_the_same_answer_and_no_hash(
    mailing: Any, postbox: Any, refusal: Refusal, hasher: Any
) -> None:
    bob = (await mailing.register("bob@x.test")).account
    ann = (await mailing.register()).sign_in.key
    answers = set()
    for email in ("ann@x.test", "nobody@x.test"):
        answer = await mailing.accounts.RequestPasswordReset(asking(email))
        answers.add(answer.SerializeToString())
    assert answers == {b""}
    assert hasher.verified == 0
    error = await refusal(mailing.accounts.RequestPasswordReset(asking("nothing")))
    assert error.metadata == {"field": "email"}
    # nobody who is disabled gets a letter, and nobody more than three an hour
    administrator = (await mailing.sign_in("bob@x.test")).sign_in.key
    await mailing.administration.SetAccountDisabled(
        pb.SetAccountDisabledRequest(
            key=administrator,
            account_id=ann.account_id,
            disabled=True,
        )
    )
    await mailing.accounts.RequestPasswordReset(asking())
    for _ in range(5):
        await mailing.accounts.RequestPasswordReset(asking("bob@x.test"))
    await mailing.administration.CreateInvitation(
        pb.CreateInvitationRequest(key=administrator, email="last@x.test")
    )
    await postbox.letter(4)
    assert re.findall(r"To: (.*)\r", "".join(postbox.letters)) == [
        "ann@x.test",
        *[bob.email] * 3,
        "last@x.test",
    ]
    assert "/register?invitation=" in postbox.letters[4]


async def test_the_answer_waits_for_no_letter_and_trouble_is_logged_without_names(
    open_stubs: Any,
    postbox: Any,
    caplog: pytest.LogCaptureFixture,
    logged: Logged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "Mailer", lambda server, sender: Mailer(server, sender, seconds=0.5))
    caplog.set_level(logging.DEBUG)
    url = postbox.url.replace("//", "//user:pass%20word@") + "?starttls=never"
    async with open_stubs(smtp_url=url, **MAIL) as stubs:
        await stubs.register()
        postbox.greets = False  # it takes the connection, and says nothing
        await stubs.accounts.RequestPasswordReset(asking())
        await logged("a letter was not sent: ")
        caplog.clear()
        postbox.greets, postbox.refuses = True, True
        await stubs.accounts.RequestPasswordReset(asking())
        await logged("a letter was not sent: SMTPRecipientsRefused")
        postbox.refuses = False
        await stubs.accounts.RequestPasswordReset(asking())
        await postbox.letter()
        assert "AUTH PLAIN " + b64encode(b"\0user\0pass word").decode() in postbox.commands
    for secret in ("pass word", "ann@x.test", "reset-password", b64encode(b"\0user").decode()[:6]):
        assert secret not in caplog.text


async def test_a_password_goes_to_no_server_that_cannot_keep_it_to_itself(
    open_stubs: Any, postbox: Any, logged: Logged
) -> None:
    url = postbox.url.replace("//", "//user:secret@")
    async with open_stubs(smtp_url=url, **MAIL) as stubs:
        await stubs.register()
        await stubs.accounts.RequestPasswordReset(asking())
        await logged("a letter was not sent: ")
    assert not [command for command in postbox.commands if command.startswith("AUTH")]
    assert postbox.letters == []
