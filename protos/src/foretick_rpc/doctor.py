"""Says what is wrong with a service's surroundings, and what to do about it."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from foretick_rpc.errors import StartupError
from foretick_rpc.healthcheck import is_serving
from foretick_rpc.settings import RpcSettings

_LEAST_FREE_BYTES = 500 * 2**20
_MOST_SKEW_SECONDS = 2.0


class Finding(NamedTuple):
    """One thing that was looked at; `advice` is empty where all is well."""

    what: str
    advice: str = ""


async def diagnose(settings: RpcSettings, package: str) -> int:
    """Look at everything that the service needs, print it, and return 1 if anything is wrong."""
    sick = False
    async for finding in findings(settings, package):
        sick = sick or bool(finding.advice)
        print(line(finding), flush=True)
    return int(sick)


def line(finding: Finding) -> str:
    """How a finding is told."""
    if not finding.advice:
        return f"  ok    {finding.what}"
    return f"  WRONG {finding.what}\n        -> {finding.advice}"


async def findings(settings: RpcSettings, package: str) -> AsyncIterator[Finding]:
    """Everything that the service needs, one thing after another."""
    yield Finding("settings can be read")
    yield clock()
    if settings.database:
        yield await database(settings.database, package)
    if not settings.database or settings.database.startswith("sqlite"):
        yield folder(settings.data_dir)
    for name, target in settings.targets.items():
        yield await asyncio.to_thread(_target, name, target)


def clock() -> Finding:
    """Whether the clock may be right: it cannot be earlier than when this was installed."""
    installed = Path(__file__).stat().st_mtime
    if time.time() < installed - 86_400:
        return Finding(
            f"the clock says {time.strftime('%Y-%m-%d', time.gmtime())}",
            "it is earlier than when Foretick was installed: set the system's clock",
        )
    return Finding(f"the clock says {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}")


async def database(url: str, package: str) -> Finding:
    """Whether the database answers, with the tables of this version, and the same time."""
    from foretick_rpc.database import look  # noqa: PLC0415 - the gateway's image has no SQL

    try:
        tables, skew = await look(url, package)
    except FileNotFoundError:
        return Finding(f"the database of {package} will be made at the first start")
    except StartupError as error:
        return Finding(f"the database of {package}", f"{error}")
    if tables.found != tables.wanted:
        return Finding(
            f"the tables of {package} are at {tables.found or 'none'}, not at {tables.wanted}",
            "start the service, which migrates them"
            if url.startswith("sqlite")
            else f"run `python -m {package} migrate` as their owner; `make up` does",
        )
    if abs(skew) > _MOST_SKEW_SECONDS:
        return Finding(f"the database's clock is {skew:+.1f} s from ours", "set the clocks by NTP")
    return Finding(f"the database of {package} answers; its tables are at revision {tables.found}")


def folder(path: Path) -> Finding:
    """Whether the folder of the service's data can be written, with room left."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK) and not any(path.glob("*.keys")):
        return Finding(
            f"{path} cannot be written", "set FORETICK_DATA_DIR to a folder of yours, or mend it"
        )
    free = shutil.disk_usage(there).free
    if os.access(there, os.W_OK) and free < _LEAST_FREE_BYTES:
        return Finding(f"{path} has {free >> 20} MiB left", "make room on that disk")
    return Finding(f"{path} can be used; {free >> 30} GiB are free")


def _target(name: str, target: str) -> Finding:
    if is_serving(target):
        return Finding(f"{name} at {target} is serving")
    return Finding(
        f"{name} at {target} does not answer",
        f"start it, look into its log, or set {name.upper()}_TARGET",
    )
