"""What sign-ins cost others, and what a sign-in costs a request; `python bench/accounts.py`.

A gateway and subscription-svc run as processes of their own, and answer over HTTP. Printed as
ratios of the same run, by interleaved rounds: the 99th percentile of /healthz while 50 people sign
in at once, against the same while nobody does; and the CPU of both processes for a signed-in
request, against the same route without a sign-in.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import aiohttp

from foretick_rpc.ports import free_port

AT_ONCE = 50
ROUNDS = 5
REQUESTS = 1920
CONNECTIONS = 64
PROBE_SECONDS = 0.005
STALL_GOAL, CPU_GOAL = 5.0, 2.0
EMAIL, PASSWORD = "bench@example.org", "a long enough one"
JSON = {"Accept": "application/json"}
Ask = Callable[[], Awaitable[None]]


@contextmanager
def processes(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """subscription-svc and a gateway; the gateway's address, and the ids of both."""
    port, target = free_port(), f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "FORETICK_SERVICE_TOKEN": "of-a-benchmark-only",
        "FORETICK_DATA_DIR": str(folder),
        "FORETICK_LOG_LEVEL": "ERROR",
        "GATEWAY_PORT": str(port),
        "SUBSCRIPTION_LISTEN": target,
        "SUBSCRIPTION_TARGET": target,
    }
    started = [
        subprocess.Popen([sys.executable, "-m", module], env=environment)  # noqa: S603 - our own
        for module in ("subscription_svc", "gateway")
    ]
    try:
        yield f"http://127.0.0.1:{port}", [each.pid for each in started]
    finally:
        for each in started:
            each.terminate()
            each.wait(30)


@asynccontextmanager
async def visitor(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody with a cookie jar of their own."""
    jar = aiohttp.CookieJar(unsafe=True)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        url, cookie_jar=jar, headers=JSON, connector=connector
    ) as http:
        yield http


async def ready(http: aiohttp.ClientSession) -> None:
    """Wait until the gateway and the service answer."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with http.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def send(http: aiohttp.ClientSession, path: str) -> None:
    """Register, or sign in."""
    async with http.get(path) as page:
        token = (await page.json())["csrf_token"]
    form = {"email": EMAIL, "password": PASSWORD, "csrf_token": token}
    async with http.post(path, data=form) as answer:
        if answer.status not in {200, 201}:
            raise RuntimeError(await answer.text())


async def get(http: aiohttp.ClientSession, path: str, status: int) -> None:
    """Ask for a page and read it."""
    async with http.get(path) as answer:
        await answer.read()
        if answer.status != status:
            raise RuntimeError(f"{path} answered {answer.status}")


async def probe(http: aiohttp.ClientSession, until: Callable[[], bool]) -> list[float]:
    """Seconds that /healthz took, asked for again and again."""
    taken = []
    while not until():
        started = time.perf_counter()
        await get(http, "/healthz", 200)
        taken.append(time.perf_counter() - started)
        await asyncio.sleep(PROBE_SECONDS)
    return taken


async def sign_in_at_once(url: str) -> None:
    """All of them at the same moment."""

    async def one() -> None:
        async with visitor(url) as http:
            await send(http, "/login")

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(seconds, n=100)[98]


async def stalling(url: str, http: aiohttp.ClientSession) -> float:
    """The 99th percentile of /healthz during sign-ins, over the idle one."""
    idle: list[float] = []
    busy: list[float] = []
    for _ in range(ROUNDS):
        # Another process: what they cost themselves is not to stand in the way of the probe.
        crowd = await asyncio.create_subprocess_exec(sys.executable, __file__, "sign-in", url)
        signing_in = asyncio.create_task(crowd.wait())
        started = time.perf_counter()
        busy += await probe(http, signing_in.done)
        if crowd.returncode:
            raise RuntimeError("not everybody could sign in")
        seconds = time.perf_counter() - started
        end = time.perf_counter() + seconds
        idle += await probe(http, lambda end=end: time.perf_counter() > end)  # type: ignore[misc]
    ratio = p99(busy) / p99(idle)
    print(
        f"/healthz, p99 of {len(busy)} during {AT_ONCE} sign-ins at once ({seconds:.1f} s): "
        f"{1000 * p99(busy):.1f} ms; of {len(idle)} idle: {1000 * p99(idle):.1f} ms; "
        f"{ratio:.1f} times, at most {STALL_GOAL:g} wanted"
    )
    return ratio


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of the processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def cpu_each(pids: list[int], ask: Ask) -> float:
    """CPU seconds of the processes per request, with so many connections at once."""
    before = cpu_seconds(pids)

    async def some() -> None:
        for _ in range(REQUESTS // CONNECTIONS):
            await ask()

    await asyncio.gather(*(some() for _ in range(CONNECTIONS)))
    return (cpu_seconds(pids) - before) / REQUESTS


async def costs(pids: list[int], what: str, signed_in: Ask, without: Ask) -> float:
    """The CPU of a signed-in request over that of one without a sign-in, by median rounds."""
    pairs = []
    for turn in range(ROUNDS + 1):
        pair = await cpu_each(pids, signed_in), await cpu_each(pids, without)
        if turn:  # the first one warms up
            pairs.append(pair)
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    mine, theirs = (1e6 * statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"{what}: {mine:.0f} µs of CPU signed in, {theirs:.0f} µs without; {ratio:.2f} times")
    return ratio


async def main() -> int:
    """Measure; 0 if both are as wanted."""
    with tempfile.TemporaryDirectory() as folder, processes(Path(folder)) as (url, pids):
        async with visitor(url) as somebody, visitor(url) as nobody:
            await ready(nobody)
            await send(somebody, "/register")
            stalled = await stalling(url, nobody)
            same = await costs(
                pids,
                "GET /login, the same answer to both",
                partial(get, somebody, "/login", 200),
                partial(get, nobody, "/login", 200),
            )
            await costs(
                pids,
                "GET /account, which checks the sign-in, and answers 401 without one",
                partial(get, somebody, "/account", 200),
                partial(get, nobody, "/account", 401),
            )
    print(f"{same:.2f} times, at most {CPU_GOAL:g} wanted")
    return 0 if stalled <= STALL_GOAL and same <= CPU_GOAL else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["sign-in"]:
        asyncio.run(sign_in_at_once(sys.argv[2]))
    else:
        sys.exit(asyncio.run(main()))
