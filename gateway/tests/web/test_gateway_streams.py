"""A sign-in that ends is refused by every gateway, and what it has open is closed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientError, ClientResponse, web
from aiohttp.test_utils import TestClient

from foretick.subscription.v1 import subscription_pb2 as pb
from gateway import streams
from gateway.access import require_sign_in
from gateway.app import create_app
from gateway.backends import BACKENDS
from gateway.settings import GatewaySettings
from gateway.streams import OPEN_STREAMS

Client = TestClient[web.Request, web.Application]
PASSWORD = "a long enough one"
WITHIN_SECONDS = 1.0


async def stay_open(request: web.Request) -> web.StreamResponse:
    """A page that goes on until its sign-in ends; `flood` writes more than anybody reads."""
    key = await require_sign_in(request)
    response = web.StreamResponse()
    async with request.app[OPEN_STREAMS].kept(request, key):
        await request.app[BACKENDS].subscriptions(key)
        await response.prepare(request)
        await response.write(b"open\n")
        while "flood" in request.query:
            await response.write(b"x" * 65536)
        await asyncio.Event().wait()
    return response


class Other:
    """A second gateway process, asked with the cookies of somebody's sign-in at the first."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, path: str, cookie: str) -> ClientResponse:
        headers = {"Accept": "application/json", "Cookie": f"foretick_sign_in={cookie}"}
        return await self._client.get(path, headers=headers)

    async def open(self, cookie: str, query: str = "") -> ClientResponse:
        response = await self.get(f"/stays-open{query}", cookie)
        assert response.status == 200
        assert await response.content.readline() == b"open\n"
        return response


@pytest.fixture
async def other(
    settings: GatewaySettings, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Other:
    app = create_app(settings)
    app.router.add_get("/stays-open", stay_open)
    return Other(await aiohttp_client(app))


def cookie_of(person: Any) -> str:
    jar = person.client.session.cookie_jar
    return str(next(each.value for each in jar if each.key == "foretick_sign_in"))


async def closes(response: ClientResponse) -> bool:
    async with asyncio.timeout(WITHIN_SECONDS):
        return await response.content.read() == b""


async def rest_of(response: ClientResponse) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while await response.content.readany():
            pass


async def sign_out(person: Any) -> Any:
    return await person.post("/logout")


async def change_password(person: Any) -> Any:
    return await person.post(
        "/account/password", password=PASSWORD, new_password="another long one"
    )


async def change_email(person: Any) -> Any:
    return await person.post("/account/email", password=PASSWORD, email="new@example.org")


async def delete(person: Any) -> Any:
    return await person.post("/account/delete", password=PASSWORD)


@pytest.mark.parametrize("end", [sign_out, change_password, change_email, delete])
async def test_the_old_cookie_is_refused_everywhere_and_its_stream_ends(
    anyone: Any, other: Other, end: Callable[[Any], Awaitable[Any]]
) -> None:
    await anyone.register()
    cookie = cookie_of(anyone)
    stream = await other.open(cookie)
    started = time.monotonic()
    answer = await end(anyone)
    assert answer.status in (200, 303), answer.text
    assert await closes(stream)
    assert time.monotonic() - started < WITHIN_SECONDS
    assert (await other.get("/subscribeList", cookie)).status == 401
    assert (await other.get("/account/devices", cookie)).status == 401
    assert (await other.get("/stays-open", cookie)).status == 401


async def test_a_revoked_device_is_refused_while_the_one_that_asked_goes_on(
    program: Any, other: Other, services: Any
) -> None:
    await program.register()
    old = cookie_of(program)
    program.client.session.cookie_jar.clear()
    await program.open("/login")
    token = (await program.post("/login", email="a@example.org", password=PASSWORD)).token
    new = cookie_of(program)
    streams_of = {cookie: await other.open(cookie) for cookie in (old, new)}
    devices = (await program.get("/account/devices")).content["devices"]
    assert [each["current"] for each in devices] == [False, True]
    program.token = token
    answer = await program.post(f"/account/devices/{devices[0]['deviceId']}/revoke")
    assert answer.status == 200
    assert await closes(streams_of[old])
    assert (await other.get("/subscribeList", old)).status == 401
    assert (await other.get("/subscribeList", new)).status == 200
    assert not streams_of[new].content.at_eof()


async def test_a_disabled_account_is_out_at_once(program: Any, other: Other, services: Any) -> None:
    await program.register("admin@example.org")
    administrators, token = cookie_of(program), program.token
    program.client.session.cookie_jar.clear()
    await program.register("b@example.org")
    cookie = cookie_of(program)
    stream = await other.open(cookie)
    program.client.session.cookie_jar.clear()
    program.headers = {**program.headers, "Cookie": f"foretick_sign_in={administrators}"}
    program.token = token
    accounts = (await program.get("/admin")).content["accounts"]
    account_id = next(each["accountId"] for each in accounts if each["email"] == "b@example.org")
    answer = await program.post(f"/admin/accounts/{account_id}/disable")
    assert (answer.status, bool(answer.content["disabled"])) == (200, True)
    assert await closes(stream)
    assert (await other.get("/subscribeList", cookie)).status == 401


async def test_who_does_not_read_is_cut_off_too(program: Any, other: Other) -> None:
    await program.register()
    stream = await other.open(cookie_of(program), "?flood")
    await program.post("/logout")
    with pytest.raises(ClientError):
        await rest_of(stream)


async def test_streams_end_where_nobody_knows_what_was_missed(
    program: Any, other: Other, services: Any
) -> None:
    await program.register()
    stream = await other.open(cookie_of(program))
    await services.stop("subscription")
    services.accounts.first_known = 1_000_000
    await services.start("subscription")
    async with asyncio.timeout(10):
        assert await stream.content.read() == b""


async def test_a_watch_that_breaks_goes_on_where_it_was(
    program: Any, other: Other, services: Any
) -> None:
    await program.register()
    cookie = cookie_of(program)
    stream = await other.open(cookie)
    await services.stop("subscription")
    # It happens while no gateway can hear of it.
    sign_in_id, email = services.accounts.sign_ins.popitem()
    services.accounts.sign_ins[sign_in_id] = email
    await services.accounts.end(sign_in_id)
    assert not stream.content.at_eof()
    await services.start("subscription")
    async with asyncio.timeout(10):
        assert await stream.content.read() == b""
    assert services.accounts.watched_from[-1] > 0


async def test_a_stream_ends_by_itself_to_be_checked_anew(
    program: Any, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LONGEST_SECONDS", 0.05)
    await program.register()
    stream = await other.open(cookie_of(program))
    assert await closes(stream)
    assert (await other.get("/subscribeList", cookie_of(program))).status == 200


async def test_events_of_others_end_nothing(program: Any, other: Other, services: Any) -> None:
    await program.register()
    stream = await other.open(cookie_of(program))
    kinds = (
        pb.ACCOUNT_EVENT_KIND_SUBSCRIPTIONS_CHANGED,
        pb.ACCOUNT_EVENT_KIND_ACCOUNT_CHANGED,
    )
    for kind in kinds:
        await services.accounts.tell(kind, "a@example.org")
    await services.accounts.tell(pb.ACCOUNT_EVENT_KIND_ACCOUNT_DELETED, "b@example.org")
    (device,) = (await program.get("/account/devices")).content["devices"]
    await services.accounts.tell(
        pb.ACCOUNT_EVENT_KIND_SIGN_IN_REVOKED, "b@example.org", device["deviceId"]
    )
    assert (await program.get("/subscribeList")).status == 200
    assert not stream.content.at_eof()
    await program.post("/logout")
    assert await closes(stream)
