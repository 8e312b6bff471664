"""The command line, beside the service that is running."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def command(database_url: str) -> Callable[..., Awaitable[Done]]:
    """Runs the command line in a process of its own, on the service's database."""

    async def run(*arguments: str, url: str = database_url, **variables: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "subscription_svc",
            *arguments,
            env=dict(os.environ, SUBSCRIPTION_DATABASE_URL=url, **variables),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return Done(process.returncode or 0, out.decode(), err.decode())

    return run


async def test_the_administrators_commands(open_stubs: Any, command: Any, refusal: Refusal) -> None:
    async with open_stubs(registration="invitation") as stubs:
        ann = await stubs.register()
        done = await command("reset-link", "ANN@x.test", SUBSCRIPTION_PUBLIC_URL="https://f.x.test")
        assert done.code == 0
        link, token = done.out.strip().split("=")
        assert link == "https://f.x.test/reset-password?token"
        request = pb.ResetPasswordRequest(token=token, new_password="another horse")
        assert (await stubs.accounts.ResetPassword(request)).email == "ann@x.test"
        assert await stubs.state(ann.sign_in.key) == "SIGN_IN_INVALID"
        assert (await refusal(stubs.accounts.ResetPassword(request))).reason == (
            "RESET_TOKEN_INVALID"
        )

        done = await command("invite", "bob@x.test")
        token = done.out.strip().partition("/register?invitation=")[2]
        bob = await stubs.register("bob@x.test", invitation_token=token)

        call = stubs.accounts.WatchAccounts(pb.WatchAccountsRequest())
        stream = aiter(call)
        await anext(stream)
        assert (await command("disable", "bob@x.test")).code == 0
        async with asyncio.timeout(10):
            [event] = (await anext(stream)).events
        assert event.kind == pb.ACCOUNT_EVENT_KIND_ACCOUNT_DISABLED
        call.cancel()
        assert await stubs.state(bob.sign_in.key) == "SIGN_IN_INVALID"
        assert (await refusal(stubs.sign_in("bob@x.test"))).reason == "ACCOUNT_DISABLED"
        listed = (await command("accounts")).out.splitlines()
        assert [line.split()[0] for line in listed] == ["ann@x.test", "bob@x.test"]
        assert [line.split()[-1] for line in listed] == ["administrator", "disabled"]
        assert (await command("enable", "bob@x.test")).code == 0
        for _ in range(2):
            assert (await command("administrator", "bob@x.test")).code == 0
        assert (await stubs.sign_in("bob@x.test")).account.administrator


async def test_what_cannot_be_done_is_said_in_a_sentence(
    open_stubs: Any, command: Any, tmp_path: Path
) -> None:
    async with open_stubs() as stubs:
        await stubs.register()
        for arguments, said in (
            (("disable", "ann@x.test"), "This is the last administrator."),
            (("reset-link", "bob@x.test"), "There is no account of bob@x.test."),
            (("enable", "nothing"), "This is not an e-mail address"),
        ):
            done = await command(*arguments)
            assert (done.code, done.out) == (1, "")
            assert done.err.startswith(said)
    done = await command("accounts", url=f"sqlite:///{tmp_path}/elsewhere/a.db")
    assert done.code == 1
    assert "there is no database" in done.err
    (tmp_path / "text.db").write_text("x" * 10_000)
    done = await command("accounts", url=f"sqlite:///{tmp_path}/text.db")
    assert done.code == 1
    assert "text.db cannot be read: file is not a database" in done.err
    assert "Traceback" not in done.err


async def test_a_taken_address_is_said_in_a_sentence(
    server: Any, command: Any, tmp_path: Path
) -> None:
    done = await command(
        url=f"sqlite:///{tmp_path}/b.db",
        SUBSCRIPTION_LISTEN=f"127.0.0.1:{server.port}",
        FORETICK_SERVICE_TOKEN="x" * 16,
    )
    assert done.code == 1
    assert "cannot listen on 127.0.0.1" in done.err
    assert "Traceback" not in done.err
