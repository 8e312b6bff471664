"""Letters: over TLS, to servers that prove who they are and to those that don't."""

import asyncio
import logging
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from subscription_svc.mail import Letter, Mailer, parse_smtp_url
from temporary_certificates import make_certificates

Logged = Callable[[str], Awaitable[None]]
Serving = Callable[..., AbstractAsyncContextManager[int]]
PLAIN = "AUTH PLAIN " + b64encode(b"\0user\0pass word").decode()
NOT_SENT = "a letter was not sent: "


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a server on 127.0.0.1, by an authority that this machine trusts."""
    bundle, context = make_certificates(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return context


@pytest.fixture(params=product(("smtps", "smtp"), ("unknown authority", "another host")))
def unproven(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ssl.SSLContext]:
    """A scheme, and what a server on 127.0.0.1 has that can't show that it is that."""
    kind, what = request.param
    is_known = what == "another host"
    bundle, context = make_certificates(tmp_path, "mail.example.org" if is_known else "127.0.0.1")
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return kind, context


@pytest.fixture
def serving(postbox: Any) -> Serving:
    """The postbox behind TLS from the first byte, or with STARTTLS; its port."""

    @asynccontextmanager
    async def served(
        *, smtps: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
    ) -> AsyncIterator[int]:
        postbox.tls = starttls
        server = await asyncio.start_server(postbox.serve, "127.0.0.1", 0, ssl=smtps)
        async with server:
            yield server.sockets[0].getsockname()[1]

    return served


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[None]:
    """A mailer that is sending a letter there."""
    mailer = Mailer(parse_smtp_url(url), "foretick@x.test", seconds=5)

    async def write() -> Letter:
        return Letter("ann@x.test", "Hello", "Between us.\n")

    mailer.post(write)
    sending = asyncio.create_task(mailer.run())
    try:
        yield
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def test_smtps_is_private_from_the_first_byte(
    postbox: Any, serving: Serving, tls: ssl.SSLContext
) -> None:
    async with (
        serving(smtps=tls) as port,
        posting(f"smtps://user:pass%20word@127.0.0.1:{port}"),
    ):
        assert "Between us." in await postbox.letter()
    assert PLAIN in postbox.commands
    assert "STARTTLS" not in postbox.commands


@pytest.mark.parametrize("given", ["", "?starttls=required", "?starttls=auto"])
async def test_starttls_comes_before_the_password_and_the_letter(
    postbox: Any, serving: Serving, tls: ssl.SSLContext, given: str
) -> None:
    async with (
        serving(starttls=tls) as port,
        posting(f"smtp://user:pass%20word@127.0.0.1:{port}{given}"),
    ):
        assert "Between us." in await postbox.letter()
    begun = postbox.commands.index("STARTTLS")
    assert [each.partition(" ")[0] for each in postbox.commands[:begun]] == ["EHLO"]
    assert PLAIN in postbox.commands[begun:]
    assert postbox.is_private


async def test_a_server_that_proves_nothing_is_told_nothing(
    postbox: Any,
    serving: Serving,
    logged: Logged,
    caplog: pytest.LogCaptureFixture,
    unproven: tuple[str, ssl.SSLContext],
) -> None:
    kind, context = unproven
    caplog.set_level(logging.DEBUG)
    async with (
        serving(**{"smtps" if kind == "smtps" else "starttls": context}) as port,
        posting(f"{kind}://user:pass%20word@127.0.0.1:{port}"),
    ):
        await logged(NOT_SENT)
    assert postbox.letters == []
    assert not [each for each in postbox.commands if each.startswith(("AUTH", "MAIL"))]
    assert "pass word" not in caplog.text
    assert "ann@x.test" not in caplog.text


async def test_where_starttls_was_taken_out_on_the_way_nothing_is_sent(
    postbox: Any, serving: Serving, logged: Logged
) -> None:
    async with (
        serving() as port,
        posting(f"smtp://127.0.0.1:{port}?starttls=required"),
    ):
        await logged(NOT_SENT)
    assert postbox.letters == []
    assert not [each for each in postbox.commands if each.startswith("MAIL")]
