"""Behind a proxy that is trusted, and in front of one that is not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.app import create_app
from gateway.settings import GatewaySettings

Client = TestClient[web.Request, web.Application]
PROXIED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "foretick.example",
}
FORM = {"email": "a@example.org", "password": "a long enough one"}


@pytest.fixture
async def trusting(
    settings: GatewaySettings, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Client:
    proxies = (ip_network("127.0.0.0/8"), ip_network("::1"))
    return await aiohttp_client(
        create_app(settings.model_copy(update={"trusted_proxies": proxies}))
    )


async def registered(client: Client, origin: str, **headers: str) -> Any:
    """Register through a proxy; cookies are carried by hand, as the client's jar sees no TLS."""
    headers = {"Accept": "application/json", **PROXIED, **headers}
    page = await client.get("/register", headers=headers)
    token = (await page.json())["csrf_token"]
    (flow,) = page.cookies.values()
    sent = {**headers, "Origin": origin, "Cookie": f"{flow.key}={flow.value}"}
    response = await client.post("/register", data={**FORM, "csrf_token": token}, headers=sent)
    return page, response, await response.json()


async def test_who_came_by_tls_is_kept_there(trusting: Client) -> None:
    page, response, _ = await registered(trusting, "https://foretick.example")
    assert response.status == 201
    # Names that browsers take from this very host alone, and by TLS alone.
    assert page.cookies["__Host-foretick_flow"]["secure"]
    assert response.cookies["__Host-foretick_sign_in"]["secure"]
    for answer in (page, response, await trusting.get("/nowhere", headers=PROXIED)):
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_who_came_without_tls_gets_cookies_that_work_there(trusting: Client) -> None:
    page, response, _ = await registered(
        trusting, "http://foretick.example", **{"X-Forwarded-Proto": "http"}
    )
    assert response.status == 201
    assert not page.cookies["foretick_flow"]["secure"]
    assert "Strict-Transport-Security" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://foretick.example",  # what was sent without TLS may be anybody's
        "https://foretick.example:8443",
        "https://[bad",
    ],
)
async def test_forms_of_another_origin_are_refused(trusting: Client, origin: str) -> None:
    _, response, answer = await registered(trusting, origin)
    assert (response.status, answer["error"]["reason"]) == (403, "CROSS_SITE")


async def test_an_untrusted_peer_cannot_make_another_site_ours(client: Client) -> None:
    page, response, answer = await registered(client, "https://foretick.example")
    assert (response.status, answer["error"]["reason"]) == (403, "CROSS_SITE")
    assert not page.cookies["foretick_flow"]["secure"]
    assert "Strict-Transport-Security" not in page.headers


async def test_the_log_shows_the_visitor_and_not_the_proxy(
    trusting: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await trusting.get("/login", headers=PROXIED)
    assert "GET /login from 203.0.113.9 answered 200" in caplog.text


@pytest.mark.parametrize("name", sorted(PROXIED))
async def test_a_malformed_header_of_a_trusted_proxy_is_400(trusting: Client, name: str) -> None:
    headers = {"Accept": "application/json", **PROXIED, name: "non sense"}
    response = await trusting.get("/login", headers=headers)
    assert response.status == 400
    error = (await response.json())["error"]
    assert error["reason"] == "FORWARDED_HEADER_MALFORMED"
    assert name in error["message"]
    assert error["requestId"] == response.headers["X-Request-ID"]
    page = await trusting.get("/login", headers={**headers, "Accept": "text/html"})
    assert page.status == 400
    assert name in await page.text()


async def test_malformed_headers_of_anybody_else_are_ignored(client: Client) -> None:
    headers = dict.fromkeys(PROXIED, "non sense")
    assert (await client.get("/login", headers=headers)).status == 200


async def test_odd_bytes_of_a_trusted_proxy_are_400(trusting: Client) -> None:
    reader, writer = await asyncio.open_connection(trusting.host, trusting.port)
    writer.write(b"GET /login HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: \xff\r\n")
    writer.write(b"Connection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"X-Forwarded-For" in answer
