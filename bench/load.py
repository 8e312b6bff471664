"""HTTP load on loopback: closed loops by wrk where it is installed, else by a client of our own."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.processes import cpu_seconds
from bench.reporting import quantile

REQUEST_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """An address, the cookies that take turns there, and whose CPU counts."""

    url: str
    pids: tuple[int, ...] = ()
    cookies: Sequence[str] = ()
    headers: dict[str, str] = field(default_factory=dict)
    least_bytes: int = 0
    """A shorter answer, on the average, is not the page."""

    def requests(self) -> list[dict[str, str]]:
        """The headers of requests, one set for each cookie."""
        return [{**self.headers, "Cookie": each} for each in self.cookies] or [self.headers]


@dataclass(frozen=True)
class Round:
    """What one round of load came to."""

    requests: int
    seconds: float
    cpu: float
    """Seconds of all processes of the target."""
    p50: float
    p99: float
    """Seconds of a request."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU a request."""
        return 1e6 * self.cpu / self.requests


def interleaved(
    targets: dict[str, Target], *, connections: int, seconds: float, rounds: int
) -> dict[str, list[Round]]:
    """Rounds of load on each target in turn, after one that warms up and isn't counted."""
    measured: dict[str, list[Round]] = {name: [] for name in targets}
    for turn in range(rounds + 1):
        for name, target in targets.items():
            one = load(target, connections=connections, seconds=seconds if turn else seconds / 2)
            if turn:
                measured[name].append(one)
    return measured


def load(target: Target, *, connections: int, seconds: float) -> Round:
    """One round; raises RuntimeError where an answer isn't 200, or isn't the page."""
    if shutil.which("wrk"):
        return _by_wrk(target, connections, seconds)
    return asyncio.run(by_asyncio(target, connections, seconds=seconds))


_SCRIPT = """
local headers, turn, requests = %s, 0, {}
function init()
  for i, each in ipairs(headers) do requests[i] = wrk.format("GET", nil, each) end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{"requests": %%d, "micros": %%d, "bytes": %%d, "failed": %%d, ' ..
    '"p50": %%d, "p99": %%d}\\n', summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def _by_wrk(target: Target, connections: int, seconds: float) -> Round:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT % _lua(target.requests()))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += [f"--timeout={REQUEST_SECONDS:.0f}s", "-s", script.name, target.url]
        before = cpu_seconds(*target.pids)
        ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        cpu = cpu_seconds(*target.pids) - before
    told = json.loads(ran.stdout.strip().splitlines()[-1])
    _check(target, told["requests"], told["bytes"], told["failed"])
    p50, p99 = told["p50"] / 1e6, told["p99"] / 1e6
    return Round(told["requests"], told["micros"] / 1e6, cpu, p50, p99)


def _lua(requests: Sequence[dict[str, str]]) -> str:
    quoted = (
        ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in each.items())
        for each in requests
    )
    return "{" + ", ".join("{" + each + "}" for each in quoted) + "}"


def _check(target: Target, requests: int, length: int, failed: int) -> None:
    if failed or not requests:
        raise RuntimeError(f"{failed} of {requests} requests to {target.url} failed")
    if length < target.least_bytes * requests:
        raise RuntimeError(
            f"{target.url} answered {length / requests:.0f} bytes on the average; "
            f"the page has at least {target.least_bytes}"
        )


async def by_asyncio(
    target: Target, connections: int, *, seconds: float = REQUEST_SECONDS, requests: int = 0
) -> Round:
    """One round for so many seconds, or of so many requests where that is given."""
    split = urlsplit(target.url)
    host, port = split.hostname or "", split.port or 80
    sent = [_written(split.netloc, split.path, each) for each in target.requests()]
    taken: list[float] = []
    failed = length = begun = 0
    before, start = cpu_seconds(*target.pids), time.perf_counter()

    def goes_on() -> bool:
        return begun < requests if requests else time.perf_counter() - start < seconds

    async def one() -> None:
        nonlocal begun, failed, length
        reader, writer = await asyncio.open_connection(host, port)
        while goes_on():
            turn, begun = begun, begun + 1
            asked = time.perf_counter()
            writer.write(sent[turn % len(sent)])
            async with asyncio.timeout(REQUEST_SECONDS):
                is_good, size = await _answer(reader)
            taken.append(time.perf_counter() - asked)
            failed, length = failed + (not is_good), length + size
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    whole, cpu = time.perf_counter() - start, cpu_seconds(*target.pids) - before
    _check(target, len(taken), length, failed)
    return Round(len(taken), whole, cpu, quantile(taken, 0.5), quantile(taken, 0.99))


def _written(host: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path or '/'} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _answer(reader: asyncio.StreamReader) -> tuple[bool, int]:
    """Whether an answer is 200, and its bytes; all of ours say how long they are."""
    head = await reader.readuntil(b"\r\n\r\n")
    names = head.lower().split(b"content-length: ")
    length = int(names[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200"), len(head) + length
