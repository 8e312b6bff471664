"""Measure 11: what the four processes of `make run` keep in memory once nothing happens."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.people import sign_up
from bench.processes import descendants, resident_mib, wait_until_idle
from bench.reporting import Entry, at_most, entry
from bench.stage import QUIET, read_page, temporary_folder, wait_until_filled, wait_until_ready
from foretick_rpc.ports import free_port
from quote_svc.demo_stocks import STOCKS

GOALS = {"gateway": 80, "subscription_svc": 80, "quote_svc": 180, "prediction_svc": 100}
PAGES = 50
TRAINED_WITHIN_SECONDS = 400.0


def measure() -> list[Entry]:
    """Start the product by its own launcher, read some pages, wait for the first training, look."""
    with temporary_folder() as folder:
        (reader,) = asyncio.run(sign_up(folder, [[stock.symbol for stock in STOCKS[:20]]]))
        port = free_port()
        launcher = subprocess.Popen(
            [sys.executable, "deploy/run_local.py"],
            # No session shall end while it is looked.
            env={
                **os.environ,
                **QUIET,
                "GATEWAY_PORT": str(port),
                "FORETICK_DATA_DIR": str(folder),
                "DEMO_SESSION_SECONDS": "3600",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, launcher)
            wait_until_filled(url, reader.cookie)
            for _ in range(PAGES):
                read_page(url, reader.cookie)
            return _at_rest(launcher.pid)
        finally:
            launcher.terminate()
            launcher.wait(60)


def _at_rest(launcher: int) -> list[Entry]:
    time.sleep(5)  # the first training begins moments after the first forecasts
    wait_until_idle(launcher, within=TRAINED_WITHIN_SECONDS)
    found = {_module(pid): pid for pid in descendants(launcher)}
    return [
        entry(
            "11",
            f"memory at rest, {module.replace('_', '-')}",
            [resident_mib(found[module])],
            "MiB",
            at_most(most),
        )
        for module, most in GOALS.items()
    ]


def _module(pid: int) -> str:
    """The module that a process runs by `python -m`; what it runs else, where it doesn't."""
    arguments = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    return arguments[arguments.index("-m") + 1] if "-m" in arguments else " ".join(arguments)
