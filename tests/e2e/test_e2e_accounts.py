"""Accounts over HTTP, with the true subscription-svc: what is revoked is out, everywhere."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from email import message_from_bytes
from email.policy import default
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.access import require_sign_in
from gateway.app import create_app
from gateway.backends import BACKENDS
from gateway.settings import GatewaySettings
from gateway.streams import OPEN_STREAMS
from stack import PASSWORD, Stack, Visitor

NEW = "quite another password"
NUMBERS = count(1)
WITHIN_SECONDS = 1.0


class Mailbox:
    """An SMTP server that keeps what it is given."""

    def __init__(self) -> None:
        self.letters: asyncio.Queue[Any] = asyncio.Queue()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mailbox\r\n")
        while line := await reader.readline():
            command = line[:4].upper().strip()
            if command == b"DATA":
                writer.write(b"354 go on\r\n")
                letter = await reader.readuntil(b"\r\n.\r\n")
                await self.letters.put(message_from_bytes(letter[:-5], policy=default))
            writer.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
            await writer.drain()
            if command == b"QUIT":
                break
        writer.close()

    async def link(self, to: str) -> str:
        """The path that the next letter with a link links to, which is to an address."""
        while True:
            letter = await asyncio.wait_for(self.letters.get(), 20)
            if found := re.search(r"http://localhost:8080(/\S+)", letter.get_content()):
                break
            assert "was changed" in letter["Subject"]  # which has none
        assert letter["To"] == to
        return found[1]


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    async with server:
        yield box


@pytest.fixture
async def stack(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[Stack]:
    """subscription-svc and a gateway; accounts need no more."""
    stack = Stack(
        tmp_path,
        # Each visitor has an address, so that the failures of one don't count for others.
        GATEWAY_TRUSTED_PROXIES="127.0.0.1",
        SUBSCRIPTION_SMTP_URL=f"smtp://127.0.0.1:{mailbox.port}?starttls=never",
        SUBSCRIPTION_MAIL_FROM="foretick@example.org",
    )
    for name in ("subscription-svc", "gateway"):
        stack.start(name)
    await asyncio.to_thread(stack.wait_until_serving)
    yield stack
    for name in ("gateway", "subscription-svc"):
        await asyncio.to_thread(stack.stop, name)
        assert "serving on" in stack.log(name)


class Account(Visitor):
    """A visitor with an e-mail address of their own and an address on the network."""

    def __init__(self, http: aiohttp.ClientSession, url: str, email: str = "") -> None:
        super().__init__(http, url)
        self.http = http
        self.url = url
        self.email = email or f"visitor{next(NUMBERS)}@example.org"

    async def json(self, path: str) -> Any:
        status, text = await self.get(path)
        assert status == 200, text
        return json.loads(text)

    async def send(self, path: str, **fields: str) -> Any:
        """Send a form of whoever is signed in; the JSON that is answered."""
        token = (await self.json("/account"))["csrf_token"]
        status, text, _ = await self.post(path, {"csrf_token": token, **fields})
        assert status == 200, text
        return json.loads(text)

    async def sign_in(self, password: str = PASSWORD) -> int:
        form = {"email": self.email, "password": password, "csrf_token": await self.token("/login")}
        return (await self.post("/login", form))[0]

    async def register(self, email: str = "") -> None:
        await super().register(email or self.email)

    @property
    def cookies(self) -> dict[str, str]:
        return {each.key: each.value for each in self.http.cookie_jar}


Visit = Callable[..., Account]


@pytest.fixture
async def visit(stack: Stack) -> AsyncIterator[Visit]:
    """Makes visitors with a cookie jar each; a second one of the same account by its e-mail."""
    sessions: list[aiohttp.ClientSession] = []

    def make(email: str = "") -> Account:
        headers = {"X-Forwarded-For": f"10.0.0.{len(sessions) + 1}"}
        jar = aiohttp.CookieJar(unsafe=True)
        sessions.append(aiohttp.ClientSession(cookie_jar=jar, headers=headers))
        return Account(sessions[-1], stack.url, email)

    yield make
    for http in sessions:
        await http.close()


class Other:
    """A gateway in another process than the first, which has a page that stays open."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self.http = http

    async def status(self, cookies: dict[str, str], path: str = "/account") -> int:
        headers = {"Accept": "application/json"}
        async with self.http.get(self._url + path, cookies=cookies, headers=headers) as response:
            return response.status

    async def open(self, cookies: dict[str, str]) -> aiohttp.ClientResponse:
        response = await self.http.get(f"{self._url}/stays-open", cookies=cookies)
        assert await response.content.readline() == b"open\n"
        return response


async def stay_open(request: web.Request) -> web.StreamResponse:
    key = await require_sign_in(request)
    response = web.StreamResponse()
    async with request.app[OPEN_STREAMS].kept(request, key):
        await request.app[BACKENDS].account(key)
        await response.prepare(request)
        await response.write(b"open\n")
        await asyncio.Event().wait()
    return response


@pytest.fixture
async def other(stack: Stack) -> AsyncIterator[Other]:
    settings = GatewaySettings(
        service_token=stack.environment["FORETICK_SERVICE_TOKEN"],
        data_dir=stack.folder / "home",
        subscription_target=stack.target("subscription-svc"),
    )
    app = create_app(settings)
    app.router.add_get("/stays-open", stay_open)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        yield Other(str(server.make_url("")).rstrip("/"), http)


async def closes(response: aiohttp.ClientResponse) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        assert await response.content.read() == b""


async def sign_out(account: Account) -> None:
    await account.send("/logout")


async def change_password(account: Account) -> None:
    await account.send("/account/password", password=PASSWORD, new_password=NEW)


async def change_email(account: Account, password: str = PASSWORD) -> None:
    account.email = f"new-{account.email}"
    await account.send("/account/email", password=password, email=account.email)


async def delete(account: Account) -> None:
    await account.send("/account/delete", password=PASSWORD)


async def test_an_old_cookie_is_refused_everywhere_and_what_it_had_open_is_closed(
    visit: Visit, other: Other, mailbox: Mailbox
) -> None:
    administrator = visit()
    await administrator.register()

    async def disable(account: Account) -> None:
        listed = (await administrator.json("/admin"))["accounts"]
        (found,) = [each["accountId"] for each in listed if each["email"] == account.email]
        await administrator.send(f"/admin/accounts/{found}/disable")

    async def revoke(account: Account) -> None:
        second = visit(account.email)
        assert await second.sign_in() == 200
        devices = (await second.json("/account/devices"))["devices"]
        (first,) = [each["deviceId"] for each in devices if not each["current"]]
        await second.send(f"/account/devices/{first}/revoke")
        assert await other.status(second.cookies) == 200

    async def reset(account: Account) -> None:
        assert await reset_password(visit(account.email), mailbox) == 200

    for end in (sign_out, change_password, change_email, delete, disable, revoke, reset):
        account = visit()
        await account.register()
        cookies = account.cookies
        stream = await other.open(cookies)
        await end(account)
        await closes(stream)
        first = Other(account.url, other.http)
        for gateway in (first, other):
            for path in ("/account", "/account/devices", "/account/log"):
                assert await gateway.status(cookies, path) == 401, end.__name__


async def test_the_cookie_is_another_after_each_sign_in_and_change(visit: Visit) -> None:
    account = visit()
    await account.register()
    seen = [account.cookies["foretick_sign_in"]]
    await change_password(account)
    seen.append(account.cookies["foretick_sign_in"])
    await change_email(account, NEW)
    seen.append(account.cookies["foretick_sign_in"])
    await sign_out(account)
    assert await account.sign_in(NEW) == 200
    seen.append(account.cookies["foretick_sign_in"])
    assert len(set(seen)) == 4


async def test_two_who_register_first_make_one_administrator(visit: Visit) -> None:
    accounts = [visit() for _ in range(6)]
    await asyncio.gather(*(each.register() for each in accounts))
    assert [(await each.json("/account"))["administrator"] for each in accounts].count(True) == 1


async def reset_password(account: Account, mailbox: Mailbox, link: str = "") -> int:
    """Ask for a link, unless there is one already, and set a new password by it."""
    if not link:
        form = {"email": account.email, "csrf_token": await account.token("/forgot")}
        assert (await account.post("/forgot", form))[0] == 200
        link = await mailbox.link(account.email)
    form = {"csrf_token": await account.token(link), "new_password": NEW}
    form["token"] = link.partition("token=")[2]
    return (await account.post("/reset-password", form))[0]


async def test_a_link_to_a_new_password_works_once(visit: Visit, mailbox: Mailbox) -> None:
    account = visit()
    await account.register()
    elsewhere = visit(account.email)
    form = {"email": account.email, "csrf_token": await elsewhere.token("/forgot")}
    assert (await elsewhere.post("/forgot", form))[0] == 200
    link = await mailbox.link(account.email)
    assert [await reset_password(elsewhere, mailbox, link) for _ in range(2)] == [200, 404]
    assert (await account.get("/account"))[0] == 401
    assert await account.sign_in(PASSWORD) == 401
    assert await account.sign_in(NEW) == 200
    kinds = [each["kind"] for each in (await account.json("/account/log"))["events"]]
    assert kinds[:3] == ["signed_in", "sign_in_failed", "password_reset"]


async def test_known_and_unknown_addresses_get_the_same_bytes(
    visit: Visit, mailbox: Mailbox
) -> None:
    known = visit("known@example.org")
    await known.register()
    stranger = visit()
    for path in ("/login", "/forgot"):
        token = await stranger.token(path)
        for as_json in (True, False):
            answers = set()
            for email in ("known@example.org", "never@example.org"):
                form = {"email": email, "password": "not the one", "csrf_token": token}
                status, text, _ = await stranger.post(path, form, json=as_json)
                text = re.sub(r'"requestId": "[0-9a-f]+"', "", text).replace(email, "")
                answers.add((status, text))
            assert len(answers) == 1, answers
    await mailbox.link("known@example.org")


async def test_guessing_is_slowed_down_and_says_until_when(visit: Visit) -> None:
    account = visit()
    await account.register()
    await account.send("/logout")
    token = await account.token("/login")
    form = {"email": account.email, "password": "not the one", "csrf_token": token}
    statuses = []
    async with asyncio.timeout(30):
        while 429 not in statuses:
            statuses.append((await account.post("/login", form))[0])
    assert set(statuses) == {401, 429}
    right = {**form, "password": PASSWORD}
    async with account.http.post(f"{account.url}/login", data=right) as response:
        assert response.status == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 900
        assert "too many attempts" in await response.text()


async def test_what_is_somebody_elses_is_not_there(visit: Visit) -> None:
    first, second = visit(), visit()
    await first.register()
    await second.register()
    theirs = (await first.json("/account/devices"))["devices"][0]["deviceId"]
    token = (await second.json("/account"))["csrf_token"]
    for device in (theirs, "0" * 64):
        path = f"/account/devices/{device}/revoke"
        status, text, _ = await second.post(path, {"csrf_token": token})
        assert (status, json.loads(text)["error"]["reason"]) == (404, "DEVICE_NOT_FOUND")
        status, text, _ = await second.post(path, {"csrf_token": token}, json=False)
        assert (status, "<html" in text) == (404, True)
    assert (await first.get("/account"))[0] == 200
    assert (await second.get("/admin"))[0] == 403
    for page in ("/account/log", "/account/devices"):
        assert first.email not in (await second.get(page))[1]
    exported = await second.send("/account/export")
    assert exported["account"]["email"] == second.email
    assert first.email not in json.dumps(exported)


async def test_an_invitation_lets_one_register(visit: Visit, mailbox: Mailbox) -> None:
    administrator = visit()
    await administrator.register()
    token = (await administrator.json("/admin"))["csrf_token"]
    form = {"email": "friend@example.org", "csrf_token": token}
    status, text, _ = await administrator.post("/admin/invitations", form)
    assert status == 201, text
    link = await mailbox.link("friend@example.org")
    assert json.loads(text)["link"] == f"{administrator.url}{link}"
    friend = visit("friend@example.org")
    assert 'value="friend@example.org"' in await friend.page(link)
    form = {"email": friend.email, "password": PASSWORD, "csrf_token": await friend.token(link)}
    form["invitation"] = link.partition("invitation=")[2]
    assert (await friend.post("/register", form))[0] == 201
    assert (await administrator.json("/admin"))["invitations"] == []
