"""Several gateway processes on one port, kept running by a parent that imports nothing heavy."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from foretick_rpc import logs

_log = logging.getLogger("foretick.gateway")

MOST_PROCESSES = 64
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 30.0
# Who served for so long did not die of how it was started.
STEADY_SECONDS = 60.0
# Longer than a gateway drains.
STOP_WITHIN_SECONDS = 15.0


@dataclass(frozen=True)
class Plan:
    """How many processes, and where they listen."""

    processes: int
    host: str
    port: int


def plan(environment: Mapping[str, str]) -> Plan | None:
    """What GATEWAY_PROCESSES asks for; None for one process, and where a setting can't be right.

    One process then says in full what is wrong.
    """
    processes = environment.get("GATEWAY_PROCESSES") or "1"
    port = environment.get("GATEWAY_PORT") or "8080"
    if not (processes.isdecimal() and port.isdecimal()):
        return None
    if not (2 <= int(processes) <= MOST_PROCESSES and int(port) <= 65535):
        return None
    return Plan(int(processes), environment.get("GATEWAY_HOST") or "127.0.0.1", int(port))


def supervise(wanted: Plan) -> int:
    """Run the processes until SIGTERM or SIGINT; the exit code.

    That is 0, or the code of a process that could not start.
    """
    logs.configure("INFO")
    try:
        held = hold_port(wanted.host, wanted.port)
    except OSError as error:
        print(
            f"cannot listen on {wanted.host}:{wanted.port} (GATEWAY_HOST, GATEWAY_PORT): "
            f"{error.strerror or error}",
            file=sys.stderr,
        )
        return 1
    with held:
        environment = {**os.environ, "GATEWAY_PORT": str(held.getsockname()[1])}
        return asyncio.run(_supervise(wanted.processes, environment))


def hold_port(host: str, port: int) -> socket.socket:
    """Bind a socket that never listens: its port is ours alone, for processes that share it.

    Raises OSError where another program has the port, even one that would share it too.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        alone.listen()
        address = alone.getsockname()
    held = socket.socket(family, kind, protocol)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(address)
    return held


async def _supervise(count: int, environment: dict[str, str]) -> int:
    stopping, serving = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # The first starts alone: what keeps it from starting would keep all, and is said once.
    tasks = [asyncio.create_task(_keep(1, environment, stopping, serving))]
    await asyncio.wait(
        [tasks[0], asyncio.create_task(serving.wait())], return_when="FIRST_COMPLETED"
    )
    if serving.is_set():
        tasks += [
            asyncio.create_task(_keep(number, environment, stopping, serving))
            for number in range(2, count + 1)
        ]
    return max(await asyncio.gather(*tasks))


async def _keep(
    number: int, environment: dict[str, str], stopping: asyncio.Event, serving: asyncio.Event
) -> int:
    """Start a process, and start it again when it dies; the exit code for the parent."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        started = time.monotonic()
        code = await _run_one(environment, stopping, serving)
        if stopping.is_set():
            # SIGTERM ends a process that has not come to handling it yet.
            return 0 if code in {0, -signal.SIGTERM} else 1
        if not serving.is_set():
            return code if code > 0 else 1
        if time.monotonic() - started > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        _log.warning(
            "gateway process %d died (exit code %d); starting it again in %.2f s",
            number,
            code,
            pause,
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)
            return 0
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _run_one(
    environment: dict[str, str], stopping: asyncio.Event, serving: asyncio.Event
) -> int:
    """Run one process to its end; its exit code, which is negative for a signal."""
    # A session of its own, since Ctrl-C is for the parent; standard input ends with the parent.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.worker"),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    stopper = asyncio.create_task(_stop(process, stopping))
    if process.stdout and await process.stdout.readline():
        serving.set()
    code = await process.wait()
    stopper.cancel()
    return code


async def _stop(process: asyncio.subprocess.Process, stopping: asyncio.Event) -> None:
    await stopping.wait()
    process.terminate()
    await asyncio.sleep(STOP_WITHIN_SECONDS)
    _log.error("a gateway process did not stop within %.0f s", STOP_WITHIN_SECONDS)
    process.kill()
