"""The reverse proxies' configurations of docs/operations.md, with real proxies where there are."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import run_local
from foretick_rpc.ports import free_port
from stack import PASSWORD, Stack, Visitor

DOCUMENT = Path(run_local.__file__).parents[1] / "docs" / "operations.md"
EVENTS, EVERY_SECONDS = 20, 0.1
SPOOFED = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.x"}

# What a distribution's nginx.conf has around it.
AROUND = """
{user}
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include foretick.conf;
}}
"""


def documented(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found, f"no configuration for {language}"
    return found[1]


def replaced(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of localhost, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "foretick.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@contextmanager
def nginx(certificate: Path, port: int, upstream: int) -> Iterator[int]:
    """The documented nginx in front of a port of this machine; yields the port without TLS."""
    folder = certificate.parent / "nginx"
    folder.mkdir()
    plain = free_port()
    text = replaced(
        documented("nginx"),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("/etc/ssl/certs/foretick.pem", str(certificate)),
        ("/etc/ssl/private/foretick.key", str(certificate.with_suffix(".key"))),
    )
    (folder / "foretick.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(user=user))
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf"]
    with running(command, certificate, folder):
        yield plain


@contextmanager
def caddy(certificate: Path, port: int, upstream: int) -> Iterator[int]:
    """The documented Caddy, with a certificate that it does not have to ask for."""
    folder = certificate.parent / "caddy"
    folder.mkdir()
    plain = free_port()
    tls = f"localhost:{port} {{\n    tls {certificate} {certificate.with_suffix('.key')}"
    text = replaced(
        documented("caddy"),
        ("foretick.example {", tls),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
    )
    options = f"{{\n    admin off\n    http_port {plain}\n    auto_https disable_redirects\n}}\n"
    (folder / "Caddyfile").write_text(options + text)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with running(command, certificate, folder):
        yield plain


PROXIES = {"nginx": nginx, "caddy": caddy}


@contextmanager
def running(command: list[str], certificate: Path, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield
            assert process.poll() is None, (folder / "log").read_text()
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
async def http(certificate: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser that trusts the certificate, and spoofs what it can."""
    trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate))
    async with aiohttp.ClientSession(
        connector=trusting, headers=SPOOFED, timeout=aiohttp.ClientTimeout(total=15)
    ) as session:
        yield session


async def answered(http: aiohttp.ClientSession, url: str) -> None:
    """Wait until something answers there."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with http.get(url) as response:
                    if response.status < 500:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


async def test_people_use_it_by_https(
    proxy: str, certificate: Path, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_port()
    url = f"https://localhost:{port}"
    with ExitStack() as started:
        stack = Stack(tmp_path, GATEWAY_TRUSTED_PROXIES="127.0.0.1", FORETICK_LOG_LEVEL="INFO")
        for name in ("subscription-svc", "gateway"):
            stack.start(name)
            started.callback(stack.stop, name)
        plain = started.enter_context(
            PROXIES[proxy](certificate, port, int(stack.environment["GATEWAY_PORT"]))
        )
        await answered(http, f"{url}/readyz")
        http.headers["Origin"] = url
        visitor = Visitor(http, url)
        await visitor.register("a@example.org")  # checks the status, and that Location is a path
        names = {"__Host-foretick_flow", "__Host-foretick_sign_in"}
        assert {cookie.key for cookie in http.cookie_jar} == names
        assert all(cookie["secure"] for cookie in http.cookie_jar)
        token = await visitor.token("/subscribeList")
        assert (await visitor.post("/logout", {"csrf_token": token}, json=False))[2] == "/login"
        form = {"email": "a@example.org", "password": PASSWORD}
        form["csrf_token"] = await visitor.token("/login")
        for origin in ("http://localhost", f"http://localhost:{port}", "https://evil.x"):
            async with http.post(f"{url}/login", data=form, headers={"Origin": origin}) as refused:
                assert refused.status == 403
        async with http.post(f"{url}/login", data=form) as page:
            assert (page.status, str(page.url)) == (200, f"{url}/subscribeList")
            assert page.headers["Strict-Transport-Security"].startswith("max-age=")
        if proxy == "nginx":
            insecure = f"http://localhost:{plain}/login?next=/"
            async with http.get(insecure, allow_redirects=False) as moved:
                assert moved.headers["Location"] == "https://localhost/login?next=/"
    assert "from 127.0.0.1 answered" in stack.log("gateway")
    assert "1.2.3.4" not in stack.log("gateway")


async def events(request: web.Request) -> web.StreamResponse:
    """An event each 100 ms, each with the time at which it was sent."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(EVENTS):
        await response.write(f"data: {time.monotonic()}\n\n".encode())
        await asyncio.sleep(EVERY_SECONDS)
    return response


async def test_events_come_as_they_happen(
    proxy: str, certificate: Path, http: aiohttp.ClientSession
) -> None:
    app = web.Application()
    app.add_routes([web.get("/events", events)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = free_port()
    try:
        with PROXIES[proxy](certificate, port, runner.addresses[0][1]):
            await answered(http, f"https://localhost:{port}/")
            delays = []
            headers = {"Accept-Encoding": "gzip"}
            async with http.get(f"https://localhost:{port}/events", headers=headers) as response:
                async for line in response.content:
                    if line.strip():
                        delays.append(time.monotonic() - float(line.removeprefix(b"data: ")))
    finally:
        await runner.cleanup()
    assert len(delays) == EVENTS
    print(
        f"{proxy}: events were {1000 * min(delays):.1f} to {1000 * max(delays):.1f} ms on the way"
    )
    # Buffered, the first would come with the last, two seconds later.
    assert max(delays) < EVENTS * EVERY_SECONDS / 4
