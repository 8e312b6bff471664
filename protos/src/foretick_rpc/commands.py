"""What `python -m <service>` does: serve, migrate, or say what is wrong."""

import argparse
import asyncio
import gc
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias, TypeVar

from foretick_rpc import logs
from foretick_rpc.doctor import diagnose
from foretick_rpc.errors import StartupError
from foretick_rpc.settings import RpcSettings, load_settings

_log = logging.getLogger("foretick.server")
S = TypeVar("S", bound=RpcSettings)
Running = Callable[[S], AbstractAsyncContextManager[object]]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def service_parser(
    package: str, *, migrates: bool = True
) -> tuple[argparse.ArgumentParser, Commands]:
    """The parser of a service's command line, and where it may add commands of its own."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}",
        description="Serves until SIGTERM. With a command, does that instead, and ends.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    if migrates:
        commands.add_parser("migrate", help="bring the database's tables to this version")
    commands.add_parser(
        "doctor", help="check settings, database and what is called; say what to do"
    )
    return parser, commands


def run_service(
    settings_type: type[S],
    running: Running[S],
    package: str,
    *,
    migrates: bool = True,
    arguments: Sequence[str] | None = None,
) -> int:
    """Do what the command line says; the process's exit code.

    Serving, `running(settings)` is entered until SIGTERM or SIGINT.
    """
    parser, _ = service_parser(package, migrates=migrates)
    return run_command(parser.parse_args(arguments).command, settings_type, running, package)


def run_command(
    command: str | None, settings_type: type[S], running: Running[S], package: str
) -> int:
    """Do what every service can; `command` is None for serving."""
    settings = load_settings(settings_type)
    logs.configure(settings.log_level)
    try:
        if command == "migrate":
            asyncio.run(_migrate(settings, package))
        elif command == "doctor":
            return asyncio.run(diagnose(settings, package))
        elif code := _migrate_sqlite(settings, package):
            return code
        else:
            asyncio.run(_until_signalled(running(settings)))
    except StartupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _migrate_sqlite(settings: RpcSettings, package: str) -> int:
    """Migrate a file that is behind, in a process of its own; return that one's exit code.

    It would be done on opening as well, but the serving process would keep Alembic in memory.
    """
    if not settings.database.startswith("sqlite"):
        return 0
    from foretick_rpc.database import look  # noqa: PLC0415

    try:
        tables, _ = asyncio.run(look(settings.database, package))
        if tables.found == tables.wanted:
            return 0
    except FileNotFoundError:
        _log.info("making the database of %s", package)
    command = [sys.executable, "-m", package, "migrate"]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own


async def _migrate(settings: RpcSettings, package: str) -> None:
    # The gateway has no database, and its image nothing to open one with.
    from foretick_rpc.database import look, migrate  # noqa: PLC0415

    await migrate(settings.database, package)
    tables, _ = await look(settings.database, package)
    _log.info("the tables of %s are at revision %s", package, tables.found)


async def _until_signalled(running: AbstractAsyncContextManager[object]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running:
        keep_out_of_collections()
        await stopped.wait()
        _log.info("stopping")


def keep_out_of_collections() -> None:
    """Take what is there by now for good: no full collection looks through it any more.

    It would each time, and the event loop would wait for that.
    """
    gc.collect()
    gc.freeze()
