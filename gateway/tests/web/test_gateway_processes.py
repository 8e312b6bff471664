"""Several gateway processes on one port: real ones, killed, replaced and stopped."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, TCPConnector

from foretick_rpc.ports import free_port
from foretick_rpc.testing import SERVICE_TOKEN
from gateway.processes import Plan, plan

WITHIN_SECONDS = 30.0
PASSWORD = "a long enough one"


class Gateways:
    """A parent with its processes, and the lines that they log."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.lines: list[str] = []

    async def line(self, pattern: str) -> re.Match[str]:
        """The next line that matches."""
        assert self.process.stderr is not None
        async with asyncio.timeout(WITHIN_SECONDS):
            while line := (await self.process.stderr.readline()).decode():
                self.lines.append(line)
                if match := re.search(pattern, line):
                    return match
        raise AssertionError(f"no line with {pattern!r}: {''.join(self.lines)}")

    async def end(self) -> int:
        """Read what else is logged, to the end; the exit code."""
        assert self.process.stderr is not None
        async with asyncio.timeout(WITHIN_SECONDS):
            self.lines += (await self.process.stderr.read()).decode().splitlines()
            return await self.process.wait()

    def children(self) -> set[int]:
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return {int(pid) for each in threads for pid in (each / "children").read_text().split()}

    async def answers(self) -> bool:
        """Whether a new connection is answered."""
        async with ClientSession(connector=TCPConnector(force_close=True)) as http:
            with contextlib.suppress(ClientConnectionError):
                async with http.get(f"http://127.0.0.1:{self.port}/healthz") as response:
                    return response.status == 200
        return False


@contextlib.asynccontextmanager
async def started(folder: Path, port: int, **environment: str) -> AsyncIterator[Gateways]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env={
            **inherited,
            "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN,
            "FORETICK_DATA_DIR": str(folder),
            "GATEWAY_PORT": str(port),
            "GATEWAY_PROCESSES": "2",
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    gateways = Gateways(process, port)
    try:
        yield gateways
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # with which the others end, too
        await gateways.end()
        (folder / "gateway.log").write_text("\n".join(gateways.lines))


def serving_on(port: int) -> str:
    return f"serving on http://127.0.0.1:{port}"


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Connection:
    """A connection that is kept, which one process holds from its first request on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answers(self) -> bool:
        """Whether whoever holds it answers on it."""
        try:
            self.writer.write(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WITHIN_SECONDS)
        except (ConnectionError, asyncio.IncompleteReadError):
            return False
        return head.startswith(b"HTTP/1.1 200 ")


async def test_both_answer_and_one_that_is_killed_comes_back(tmp_path: Path) -> None:
    port = free_port()
    async with started(tmp_path, port) as gateways:
        for _ in range(2):
            await gateways.line(serving_on(port))
        children = gateways.children()
        assert len(children) == 2
        # That 40 connections all go to the same one has a chance of 2^-39.
        connections = [
            Connection(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(40)
        ]
        assert all([await each.answers() for each in connections])
        os.kill(min(children), signal.SIGKILL)
        await gateways.line(r"gateway process \d died \(exit code -9\); starting it again in 0\.25")
        # Whose end the log tells has ended: the connections that still answer are the other's.
        assert 0 < sum([await each.answers() for each in connections]) < 40
        for each in connections:
            each.writer.close()
        await gateways.line(serving_on(port))
        assert len(gateways.children() - children) == 1
        assert all([await gateways.answers() for _ in range(10)])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_after_what_they_are_answering(
    tmp_path: Path, services: Any, number: signal.Signals
) -> None:
    port = free_port()
    target = f"127.0.0.1:{services.ports['subscription']}"
    services.accounts.passwords["a@example.org"] = PASSWORD
    services.accounts.followed["a@example.org"] = []
    services.accounts.may_answer.clear()
    async with (
        started(tmp_path, port, SUBSCRIPTION_TARGET=target) as gateways,
        ClientSession(headers={"Accept": "application/json"}) as http,
    ):
        for _ in range(2):
            await gateways.line(serving_on(port))
        children = gateways.children()
        page = await http.get(f"http://127.0.0.1:{port}/login")
        token = (await page.json())["csrf_token"]
        form = {"email": "a@example.org", "password": PASSWORD, "csrf_token": token}
        cookies = {"foretick_flow": page.cookies["foretick_flow"].value}
        answer = asyncio.create_task(
            http.post(f"http://127.0.0.1:{port}/login", data=form, cookies=cookies)
        )
        await asyncio.wait_for(services.accounts.was_asked.wait(), WITHIN_SECONDS)
        gateways.process.send_signal(number)
        for _ in range(2):
            await gateways.line("stopping")
        services.accounts.may_answer.set()
        assert (await answer).status == 200
        assert await gateways.end() == 0
        assert not any(map(is_running, children))
        assert "Traceback" not in "\n".join(gateways.lines)
        assert not await gateways.answers()


async def test_nobody_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    port = free_port()
    async with started(tmp_path, port) as gateways:
        for _ in range(2):
            await gateways.line(serving_on(port))
        gateways.process.kill()
        # Standard error ends when the last process that writes there does.
        assert await gateways.end() == -signal.SIGKILL
        assert not await gateways.answers()


@pytest.mark.parametrize("shares", [False, True])
async def test_a_port_of_another_program_is_refused(tmp_path: Path, *, shares: bool) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with started(tmp_path, port) as gateways:
            assert await gateways.end() == 1
    (line,) = gateways.lines
    assert line.startswith(f"cannot listen on 127.0.0.1:{port} (GATEWAY_HOST, GATEWAY_PORT)")


async def test_a_second_parent_is_refused_the_port(tmp_path: Path) -> None:
    port = free_port()
    async with started(tmp_path, port) as first:
        await first.line(serving_on(port))
        async with started(tmp_path, port) as second:
            assert await second.end() == 1
        assert await first.answers()


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("FORETICK_SERVICE_TOKEN", "short", 2),
        ("GATEWAY_TRUSTED_PROXIES", "nobody", 2),
        ("GATEWAY_PROCESSES", "65", 2),
        ("GATEWAY_PROCESSES", "two", 2),
        ("GATEWAY_PORT", "70000", 2),
        ("FORETICK_DATA_DIR", "/dev/null", 1),
    ],
)
async def test_what_keeps_one_from_starting_is_said_once_and_ends_all(
    tmp_path: Path, setting: str, value: str, code: int
) -> None:
    async with started(tmp_path, free_port(), **{setting: value}) as gateways:
        assert await gateways.end() == code
    assert len([line for line in gateways.lines if setting in line]) == 1
    assert not any("again" in line or "Traceback" in line for line in gateways.lines)


def test_one_process_and_nonsense_need_no_parent() -> None:
    assert plan({}) is None
    for number in ("", "1", "0", "65", "two", "-2"):
        assert plan({"GATEWAY_PROCESSES": number}) is None
    assert plan({"GATEWAY_PROCESSES": "2"}) == Plan(2, "127.0.0.1", 8080)
    wanted = {"GATEWAY_PROCESSES": "64", "GATEWAY_HOST": "::", "GATEWAY_PORT": "0"}
    assert plan(wanted) == Plan(64, "::", 0)
