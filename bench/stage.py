"""The product as four processes, and people who are signed in and follow symbols."""

import asyncio
import csv
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import exchange_calendars
import numpy as np

from bench.people import sign_up
from bench.processes import STOP_WITHIN_SECONDS, wait_until_idle
from foretick_rpc.ports import free_port
from run_local import SERVICES, local_environment

SYMBOLS = tuple(f"S{number:02}" for number in range(60))
SESSIONS = 320
FOLLOWED = 20
PEOPLE = 200
FILLED_WITHIN_SECONDS = 180.0
PAGE = "/subscribeList"
# Warnings of a service that is taken away on purpose would be in the way.
QUIET = {"FORETICK_LOG_LEVEL": "ERROR", "GRPC_VERBOSITY": "NONE"}


class Stack:
    """Gateway and services as `make run` starts them, each a process that can be killed alone."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.environment = {
            **local_environment(),
            "FORETICK_DATA_DIR": str(folder),
            "GATEWAY_PORT": str(free_port()),
            **settings,
        }
        self.url = f"http://127.0.0.1:{self.environment['GATEWAY_PORT']}"
        self.processes: dict[str, Popen[bytes]] = {}

    def target(self, name: str) -> str:
        """Where a service listens."""
        return self.environment[f"{SERVICES[name][1]}_TARGET"]

    def start(self, name: str) -> None:
        """Start one of them."""
        module = SERVICES[name][0] if name in SERVICES else name
        command = [sys.executable, "-m", module]
        self.processes[name] = Popen(command, env=self.environment)  # noqa: S603 - our own

    def stop(self) -> None:
        """Stop all that run."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(STOP_WITHIN_SECONDS)


@dataclass(frozen=True)
class Stage:
    """The running product, a copy of its data from before it ran, and the people's cookies."""

    stack: Stack
    copy: Path
    cookies: Sequence[str]

    @property
    def pids(self) -> tuple[int, ...]:
        """All four processes, the gateway first."""
        names = ("gateway", "subscription-svc", "quote-svc", "prediction-svc")
        return tuple(self.stack.processes[name].pid for name in names)


@contextmanager
def csv_stage(folder: Path) -> Iterator[Stage]:
    """The product on a file of bars, at rest, every page complete.

    The clock of such a market stands, so a page that was warm a moment ago still is.
    """
    bars = folder / "bars.csv"
    write_bars(bars)
    lists = [[SYMBOLS[(start + step) % 60] for step in range(0, 60, 3)] for start in range(PEOPLE)]
    with product(folder, lists, QUOTE_MARKET="csv", QUOTE_CSV_PATH=str(bars)) as stage:
        for cookie in stage.cookies[:3]:  # all symbols between them
            wait_until_filled(stage.stack.url, cookie)
        wait_until_idle(*stage.pids)
        yield stage


@contextmanager
def product(folder: Path, lists: Sequence[Sequence[str]], **settings: str) -> Iterator[Stage]:
    """The product with somebody for each of the lists."""
    home = folder / "home"
    cookies = [each.cookie for each in asyncio.run(sign_up(home, lists))]
    copy = folder / "copy"
    shutil.copytree(home, copy)
    stack = Stack(home, {**QUIET, **settings})
    try:
        for name in (*SERVICES, "gateway"):
            stack.start(name)
        wait_until_ready(stack.url, *stack.processes.values())
        yield Stage(stack, copy, cookies)
    finally:
        stack.stop()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="foretick-bench-") as folder:
        yield Path(folder)


def write_bars(path: Path) -> None:
    """Random walks on the sessions of New York that end with 2019."""
    calendar = exchange_calendars.get_calendar("XNYS", start="2015-01-02", end="2020-12-31")
    days = calendar.sessions_window("2019-12-31", -SESSIONS).strftime("%Y-%m-%d")
    stream = np.random.default_rng(1)
    with path.open("w", encoding="ascii", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["symbol", "date", "open", "high", "low", "close", "volume"])
        for symbol in SYMBOLS:
            closes = 50 * np.exp(np.cumsum(stream.normal(0, 0.015, len(days))))
            for day, close in zip(days, closes, strict=True):
                prices = (f"{close * near:.2f}" for near in (0.999, 1.01, 0.99, 1))
                rows.writerow([symbol, day, *prices, 1_000_000])


def get(url: str, cookie: str = "", accept: str = "text/html") -> str:
    """One page; raises OSError where it isn't 200."""
    request = urllib.request.Request(url, headers={"Accept": accept, "Cookie": cookie})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        text: str = response.read().decode()
    return text


def read_page(url: str, cookie: str) -> str:
    """Somebody's watchlist as a browser gets it."""
    return get(url + PAGE, cookie)


def page_json(url: str, cookie: str) -> dict[str, Any]:
    """The same as programs get it."""
    answer: dict[str, Any] = json.loads(get(url + PAGE, cookie, "application/json"))
    return answer


def is_whole(page: dict[str, Any]) -> bool:
    """Whether every row has a price and a forecast."""
    return all(row["currentPrice"] is not None and row["band"] is not None for row in page["subs"])


def wait_until_filled(url: str, cookie: str) -> None:
    """Wait for prices and forecasts of all that somebody follows; raises TimeoutError."""
    give_up = time.monotonic() + FILLED_WITHIN_SECONDS
    while not is_whole(page_json(url, cookie)):
        if time.monotonic() > give_up:
            raise TimeoutError(f"{url} has not all prices and forecasts")
        time.sleep(0.25)


def wait_until_ready(url: str, *processes: Popen[Any]) -> None:
    """Wait until a gateway and subscription-svc answer.

    Raises RuntimeError where one of the processes that it takes has ended, TimeoutError.
    """
    give_up = time.monotonic() + FILLED_WITHIN_SECONDS
    while time.monotonic() < give_up:
        for process in processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with suppress(OSError):
            get(f"{url}/readyz", accept="application/json")
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url} is not ready after {FILLED_WITHIN_SECONDS:.0f} s")
