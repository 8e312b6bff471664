"""Letters to owners about changes that may not have been theirs."""

from collections.abc import Awaitable, Callable
from email import message_from_string, policy
from typing import Any

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
PASSWORD, NEW = "correct horse", "another horse"
DESK = pb.Client(address="192.0.2.7", user_agent="Desk")
MAIL = {"mail_from": "foretick@x.test", "public_url": "https://foretick.x.test"}


def read(letter: str) -> tuple[str, str, str]:
    """To whom, about what, and the text as one line."""
    message = message_from_string(letter, policy=policy.default)
    return message["To"], message["Subject"], " ".join(message.get_content().split())


async def change_email(stubs: Any, key: pb.SignInKey, email: str, password: str) -> pb.SignInKey:
    request = pb.ChangeEmailRequest(key=key, password=password, email=email, client=DESK)
    made: pb.ChangeEmailResponse = await stubs.accounts.ChangeEmail(request)
    return made.sign_in.key


async def change_password(stubs: Any, key: pb.SignInKey, old: str, new: str) -> pb.SignInKey:
    request = pb.ChangePasswordRequest(key=key, password=old, new_password=new, client=DESK)
    made: pb.ChangePasswordResponse = await stubs.accounts.ChangePassword(request)
    return made.sign_in.key


async def test_the_old_address_is_told_of_a_new_one(
    open_stubs: Any, postbox: Any, refusal: Refusal
) -> None:
    async with open_stubs(smtp_url=postbox.url, **MAIL) as stubs:
        key = (await stubs.register("Ann@x.test")).sign_in.key
        await refusal(change_email(stubs, key, "thief@x.test", "wrong horse"))
        await change_email(stubs, key, "thief@x.test", PASSWORD)
        to, about, text = read(await postbox.letter())
    assert len(postbox.letters) == 1
    assert (to, about) == ("Ann@x.test", "The e-mail address of your Foretick account was changed")
    assert "on 2024-03-01 at 12:00 UTC from 192.0.2.7" in text
    assert "thief" not in text  # the old mailbox may be others' by now


async def test_the_owner_is_told_of_a_new_password_however_it_was_set(
    open_stubs: Any, postbox: Any, refusal: Refusal
) -> None:
    async with open_stubs(smtp_url=postbox.url, **MAIL) as stubs:
        key = (await stubs.register()).sign_in.key
        await refusal(change_password(stubs, key, "wrong horse", NEW))
        await change_password(stubs, key, PASSWORD, NEW)
        changed = read(await postbox.letter(0))
        await stubs.accounts.RequestPasswordReset(
            pb.RequestPasswordResetRequest(email="ann@x.test")
        )
        token = read(await postbox.letter(1))[2].partition("token=")[2].split()[0]
        request = pb.ResetPasswordRequest(
            token=token, new_password="yet another horse", client=DESK
        )
        await stubs.accounts.ResetPassword(request)
        await refusal(stubs.accounts.ResetPassword(request))
        reset = read(await postbox.letter(2))
    assert len(postbox.letters) == 3
    assert changed == reset
    assert changed[:2] == ("ann@x.test", "The password of your Foretick account was changed")
    assert "from 192.0.2.7" in changed[2]
