"""The whole product as real processes on free ports, started and stopped by the tests."""

import asyncio
import csv
import gzip
import json as jsonlib
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import ProxyHandler, Request, build_opener

import aiohttp
import exchange_calendars
import numpy as np

from foretick_rpc.healthcheck import is_serving
from foretick_rpc.ports import free_port
from run_local import SERVICES, local_environment
from secrets_in_logs import note

T = TypeVar("T")
_WITHOUT_PROXY = build_opener(ProxyHandler({}))
# Only what never comes takes so long, or a machine that is busy with much else.
WITHIN_SECONDS = 180.0
PASSWORD = "correct horse battery"
note(PASSWORD)
SYMBOLS = ("AAPL", "CAT", "JPM", "KO", "MSFT", "PFE", "WMT", "XOM")


async def eventually(
    check: Callable[[], Awaitable[T]], what: str, within: float = WITHIN_SECONDS
) -> T:
    """The first true answer of `check`; fails after `within` seconds, saying what never came."""
    give_up = time.monotonic() + within
    while not (answer := await check()):
        assert time.monotonic() < give_up, f"waited {within:.0f} s in vain for: {what}"
        await asyncio.sleep(0.1)
    return answer


class Stack:
    """Gateway and services, each a process that can be stopped and started by itself."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environment = {
            **local_environment(),
            "FORETICK_DATA_DIR": str(folder / "home"),
            "GATEWAY_PORT": str(free_port()),
            "FORETICK_LOG_LEVEL": "DEBUG",  # all that a log can hold
            **settings,
        }
        self.modules = {name: module for name, (module, _) in SERVICES.items()}
        self.modules["gateway"] = "gateway"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{self.environment['GATEWAY_PORT']}"

    def target(self, name: str) -> str:
        return self.environment[f"{SERVICES[name][1]}_TARGET"]

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", self.modules[name]], env=self.environment, stderr=log
            )

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        assert process.wait(timeout=20) == 0, f"{name} did not stop in order: {self.log(name)}"

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait(timeout=20)

    def kill_all(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def wait_until_serving(self) -> None:
        """Wait for the services that were started, and for the gateway to reach them."""
        give_up = time.monotonic() + WITHIN_SECONDS
        for name in self._started:
            while not is_serving(self.target(name), 1):
                assert self.processes[name].poll() is None, f"{name} died: {self.log(name)}"
                assert time.monotonic() < give_up, f"{name} is not serving: {self.log(name)}"
        # The gateway may have tried before them, and then waits for a moment.
        while not self._is_reached():
            assert time.monotonic() < give_up, (
                f"the gateway does not reach them: {self.log('gateway')}"
            )
            time.sleep(0.05)

    @property
    def _started(self) -> list[str]:
        return [name for name in SERVICES if name in self.processes]

    def _is_reached(self) -> bool:
        """Whether the gateway reaches the services that were started."""
        asked = Request(f"{self.url}/readyz", headers={"Accept": "application/json"})
        try:
            with _WITHOUT_PROXY.open(asked, timeout=5) as answer:
                states = jsonlib.load(answer)["services"]
        except OSError:  # 503 is one, too
            return False
        return all(states[name] == "SERVING" for name in self._started)

    def __enter__(self) -> "Stack":
        with ExitStack() as half_started:
            half_started.callback(self.kill_all)
            for name in self.modules:
                self.start(name)
            self.wait_until_serving()
            half_started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.stop(name)


class Visitor:
    """Somebody with a cookie jar, who reads pages and sends forms."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def get(self, path: str, *, json: bool = True) -> tuple[int, str]:
        headers = {"Accept": "application/json"} if json else {"Accept": "text/html"}
        async with self._http.get(
            self._url + path, headers=headers, allow_redirects=False
        ) as response:
            return response.status, await response.text()

    async def page(self, path: str) -> str:
        status, text = await self.get(path, json=False)
        assert status == 200, text
        return text

    async def subscriptions(self) -> dict[str, Any]:
        status, text = await self.get("/subscribeList")
        assert status == 200, text
        answer: dict[str, Any] = jsonlib.loads(text)
        return answer

    async def row(self, symbol: str) -> dict[str, Any]:
        rows = (await self.subscriptions())["subs"]
        return next(row for row in rows if row["symbol"] == symbol)

    async def token(self, path: str) -> str:
        """The CSRF token of the form at `path`, read from its HTML as a browser would."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', await self.page(path))
        assert found, f"no CSRF token at {path}"
        return found[1]

    async def post(
        self, path: str, form: dict[str, str], *, json: bool = True
    ) -> tuple[int, str, str]:
        """Status, text and Location of sending a form."""
        for name in form.keys() & {"password", "new_password"}:
            note(form[name])
        headers = {"Accept": "application/json"} if json else {"Accept": "text/html"}
        async with self._http.post(
            self._url + path, data=form, headers=headers, allow_redirects=False
        ) as response:
            for cookie in response.cookies.values():
                note(cookie.value)
            return response.status, await response.text(), response.headers.get("Location", "")

    async def register(self, email: str) -> None:
        form = {"email": email, "password": PASSWORD, "csrf_token": await self.token("/register")}
        status, text, location = await self.post("/register", form, json=False)
        assert (status, location) == (303, "/subscribeList"), text

    async def subscribe(self, *symbols: str) -> None:
        token = await self.token("/subscribeList")
        for symbol in symbols:
            form = {"symbol": symbol, "csrf_token": token}
            status, text, location = await self.post("/subscriptions", form, json=False)
            assert (status, location) == (303, "/subscribeList"), text


def write_bars(path: Path, end: str = "2019-12-31", sessions: int = 600) -> dict[str, float]:
    """A gzipped file of random walks on the sessions of New York; the last close of each symbol."""
    calendar = exchange_calendars.get_calendar("XNYS", start="2012-01-03", end="2020-12-31")
    days = calendar.sessions_window(end, -sessions)
    stream = np.random.default_rng(20)
    closes = {}
    with gzip.open(path, "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["symbol", "date", "open", "high", "low", "close", "volume"])
        for number, symbol in enumerate(SYMBOLS):
            scale = 0.008 + 0.003 * number
            close = 40.0 + 10 * number
            for day in days:
                first = close * float(np.exp(stream.normal(0, scale / 3)))
                close = round(first * float(np.exp(stream.normal(0, scale))), 2)
                high = max(first, close) * (1 + abs(float(stream.normal(0, scale / 4))))
                low = min(first, close) * (1 - abs(float(stream.normal(0, scale / 4))))
                prices = (f"{first:.4f}", f"{high + 1e-4:.4f}", f"{low - 1e-4:.4f}", close)
                rows.writerow([symbol, day.date(), *prices, int(stream.integers(10**5, 10**7))])
            closes[symbol] = close
    return closes
