"""What sign-ins cost others, and what a sign-in costs a request.

A gateway and subscription-svc run as processes of their own and answer over HTTP: /healthz while 50
people sign in at once, and one route with and without a sign-in.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp

from bench.load import Target, interleaved
from bench.processes import started
from bench.reporting import Entry, at_most, entry, quantile, ratios
from bench.stage import QUIET, temporary_folder, wait_until_ready
from foretick_rpc.ports import free_port
from gateway.sign_in_cookie import COOKIE_NAME

AT_ONCE = 50
ROUNDS = 5
SECONDS = 2.0
CONNECTIONS = 64
PROBE_SECONDS = 0.005
TRIES = 10
EMAIL, PASSWORD = "bench@example.org", "a long enough one"
JSON = {"Accept": "application/json"}


@contextmanager
def processes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """subscription-svc and a gateway; the gateway's address, and the ids of both."""
    port, target = free_port(), f"127.0.0.1:{free_port()}"
    environment = {
        **QUIET,
        "FORETICK_SERVICE_TOKEN": "of-a-benchmark-only",
        "FORETICK_DATA_DIR": str(folder),
        "GATEWAY_PORT": str(port),
        "SUBSCRIPTION_LISTEN": target,
        "SUBSCRIPTION_TARGET": target,
    }
    with ExitStack() as stack:
        running = [
            stack.enter_context(started(module, environment=environment))
            for module in ("subscription_svc", "gateway")
        ]
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, *running)
        yield url, tuple(each.pid for each in running)


@asynccontextmanager
async def visitor(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody with a cookie jar of their own."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(url, cookie_jar=jar, headers=JSON) as http:
        yield http


async def send(http: aiohttp.ClientSession, path: str) -> None:
    """Register, or sign in; again and again where the service is too busy to answer in time."""
    for _ in range(TRIES):
        async with http.get(path) as page:
            token = (await page.json())["csrf_token"]
        form = {"email": EMAIL, "password": PASSWORD, "csrf_token": token}
        async with http.post(path, data=form) as answer:
            if answer.status in {200, 201}:
                return
            told = await answer.text()
            if answer.status not in {503, 504}:
                break
    raise RuntimeError(told)


async def register(url: str) -> str:
    """Make the account; the cookie of its sign-in."""
    async with visitor(url) as http:
        await send(http, "/register")
        held = {each.key: each.value for each in http.cookie_jar}
        return f"{COOKIE_NAME}={held[COOKIE_NAME]}"


async def probe(
    http: aiohttp.ClientSession, until: Callable[[], bool], every: float = PROBE_SECONDS
) -> list[float]:
    """Milliseconds that /healthz took, asked for again and again."""
    taken = []
    while not until():
        begun = time.perf_counter()
        async with http.get("/healthz") as answer:
            await answer.read()
        taken.append(1000 * (time.perf_counter() - begun))
        await asyncio.sleep(every)
    return taken


async def sign_in_at_once(url: str) -> None:
    """All of them at the same moment."""

    async def one() -> None:
        async with visitor(url) as http:
            await send(http, "/login")

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def stalling(url: str) -> list[Entry]:
    """/healthz during sign-ins, beside the idle one."""
    idle, busy = [], []
    async with visitor(url) as http:
        for _ in range(ROUNDS):
            # Another process: what they cost themselves is not to stand in the way of the probe.
            crowd = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.accounts", url)
            )
            signing_in = asyncio.create_task(crowd.wait())
            begun = time.perf_counter()
            busy.append(quantile(await probe(http, signing_in.done), 0.99))
            if crowd.returncode:
                raise RuntimeError("not everybody could sign in")
            end = 2 * time.perf_counter() - begun
            idle.append(
                quantile(await probe(http, lambda end=end: time.perf_counter() > end), 0.99)  # type: ignore[misc]
            )
    return [
        entry(
            "accounts",
            f"p99 of /healthz during {AT_ONCE} sign-ins over the idle one",
            [statistics.median(busy) / statistics.median(idle)],
            "×",
            at_most(5),
        ),
        entry("accounts", f"p99 of /healthz during {AT_ONCE} sign-ins at once", busy, "ms"),
        entry("accounts", "p99 of /healthz, idle", idle, "ms"),
    ]


def costs(url: str, pids: tuple[int, ...], cookie: str) -> list[Entry]:
    """The CPU of a signed-in request beside that of one without a sign-in."""
    targets = {
        "signed in": Target(f"{url}/login", pids, [cookie], JSON),
        "not signed in": Target(f"{url}/login", pids, (), JSON),
        "account": Target(f"{url}/account", pids, [cookie], JSON),
    }
    measured = interleaved(targets, connections=CONNECTIONS, seconds=SECONDS, rounds=ROUNDS)
    cpu = {name: [each.cpu_each for each in rounds] for name, rounds in measured.items()}
    more = ratios(cpu["signed in"], cpu["not signed in"])
    return [
        entry("accounts", "GET /login, CPU signed in over not", more, "×", at_most(2)),
        entry("accounts", "GET /login signed in, CPU", cpu["signed in"], "µs"),
        entry("accounts", "GET /login not signed in, CPU", cpu["not signed in"], "µs"),
        entry("accounts", "GET /account, which checks the sign-in, CPU", cpu["account"], "µs"),
    ]


def measure() -> list[Entry]:
    """Both."""
    with temporary_folder() as folder, processes(folder) as (url, pids):
        cookie = asyncio.run(register(url))
        return asyncio.run(stalling(url)) + costs(url, pids, cookie)


if __name__ == "__main__":
    asyncio.run(sign_in_at_once(sys.argv[1]))
