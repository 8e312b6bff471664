"""Headers, static files, faults, and the process itself."""

import asyncio
import os
import re
import signal
import socket
import sys
from typing import Any

import pytest
from aiohttp import ClientSession

from foretick_rpc.errors import StartupError
from foretick_rpc.ports import free_port
from foretick_rpc.testing import SERVICE_TOKEN
from gateway.app import running
from gateway.assets import load_assets
from gateway.settings import GatewaySettings


@pytest.mark.parametrize(
    "path", ["/login", "/subscribeList", "/nowhere", "/healthz", "/static/app.css"]
)
async def test_every_response_has_the_security_headers(anyone: Any, path: str) -> None:
    answer = await anyone.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert "Strict-Transport-Security" not in answer.headers
    if not path.startswith("/static/"):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Vary"] == "Accept, Accept-Language, Cookie"


async def test_the_stylesheet_is_kept_for_good_at_its_own_address(browser: Any) -> None:
    page = await browser.get("/login")
    address = re.search(r'href="(/static/app\.css\?v=[0-9a-f]{16})"', page.text)
    assert address
    answer = await browser.get(address[1])
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/css")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "light-dark(" in answer.text
    for other in ("/static/app.css", "/static/app.css?v=old"):
        assert (await browser.get(other)).headers["Cache-Control"] == "no-cache"
    assert (await browser.get("/static/app.py")).status == 404


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br, gzip;q=0.5", "gzip"),
        ("gzip;q=0, identity", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_static_files_are_compressed_for_whoever_takes_that(
    client: Any, accepted: str, encoding: str | None
) -> None:
    answer = await client.get("/static/htmx.js", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Content-Type"].startswith("text/javascript")
    sent, text = int(answer.headers["Content-Length"]), await answer.text()
    assert "htmx" in text
    assert (sent < len(text) / 2) == (encoding == "gzip")


async def test_files_of_npm_that_are_missing_are_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("gateway.assets.files", lambda _package: tmp_path)
    with pytest.raises(StartupError, match=r"vendor/simple\.min\.css.*make setup"):
        load_assets()


async def test_a_fault_shows_its_id_and_no_detail(
    anyone: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("a secret detail")

    await anyone.register()
    monkeypatch.setattr("gateway.views_watchlist._watchlist", break_down)
    await anyone.post("/subscriptions", symbol="AAPL")
    answer = await anyone.get("/subscribeList")
    assert answer.status == 500
    assert answer.headers["X-Request-ID"] in answer.text
    assert "secret" not in answer.text
    assert "a secret detail" in caplog.text


async def test_odd_bytes_in_headers_are_no_fault(client: Any) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        b"GET /subscribeList HTTP/1.1\r\nHost: x\xff\r\nAccept: \xff, application/json\r\n"
        b"Cookie: foretick_sign_in=\xff\xfe; foretick_flow=\xff\r\nConnection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_a_symbol_of_10_kb_in_an_address_is_a_refusal(
    settings: GatewaySettings, services: Any
) -> None:
    async with running(settings.model_copy(update={"port": 0})) as port, ClientSession() as session:
        base = f"http://127.0.0.1:{port}"
        async with session.post(
            f"{base}/subscriptions/{'A' * 10_000}/delete", headers={"Accept": "application/json"}
        ) as response:
            assert response.status == 401
            assert (await response.json())["error"]["reason"] == "SIGN_IN_REQUIRED"


async def started(environment: dict[str, str]) -> asyncio.subprocess.Process:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        env={**inherited, "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN, **environment},
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = await started({"GATEWAY_PORT": port, "FORETICK_DATA_DIR": str(tmp_path)})
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    (line,) = errors.decode().splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "GATEWAY_PORT" in line


async def test_bad_settings_are_named_at_once(tmp_path: Any) -> None:
    process = await started({"GATEWAY_PORT": "many", "FORETICK_SERVICE_TOKEN": "short"})
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert "GATEWAY_PORT" in errors.decode()
    assert "FORETICK_SERVICE_TOKEN" in errors.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_it_cleanly(tmp_path: Any, number: signal.Signals) -> None:
    port = str(free_port())
    process = await started({"GATEWAY_PORT": port, "FORETICK_DATA_DIR": str(tmp_path)})
    assert process.stderr is not None
    lines = [await asyncio.wait_for(process.stderr.readline(), 30)]
    assert f"serving on http://127.0.0.1:{port}".encode() in lines[0]
    async with (
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/healthz") as response,
    ):
        assert (response.status, await response.text()) == (200, "ok")
    process.send_signal(number)
    _, rest = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"Traceback" not in rest
