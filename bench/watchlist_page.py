"""Measures 1 to 4: what a warm page of 20 symbols costs, and what people would have instead."""

import asyncio
import pstats
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.load import Round, Target, by_asyncio, interleaved, load
from bench.processes import line_of, started, tell
from bench.reporting import OUT, Entry, at_least, at_most, entry, ratios
from bench.stage import (
    PAGE,
    QUIET,
    SYMBOLS,
    Stage,
    csv_stage,
    get,
    temporary_folder,
    wait_until_filled,
    wait_until_ready,
)
from foretick_rpc.ports import free_port

ROUNDS = 5
SECONDS = 2.0
PROFILED_SECONDS = 3.0
CONNECTIONS = 16
COUNTED_PAGES = 600
SETTLED_SECONDS = 1.0
QUIET_SECONDS = 4.0
UPSTREAM_SECONDS = 0.15
CALLED = {"SUBSCRIPTION": "subscription-svc", "QUOTE": "quote-svc", "PREDICTION": "prediction-svc"}
HTML = {"Accept": "text/html"}
# Gateways of the yardsticks: the page that calls three services each time.
WITHOUT_BOARD = {"GATEWAY_BOARD": "off"}


def measure(wanted: frozenset[str], rounds: int = ROUNDS) -> Iterator[Entry]:
    """The measures of this module that are wanted, one after the other."""
    with temporary_folder() as folder, csv_stage(folder) as stage:
        if wanted & {"1", "2"}:
            compared = _beside_hello(stage, rounds)
            yield from compared
            if any(each.met is False for each in compared):
                write_profile(stage, OUT / "page-profile.txt")
        if "3" in wanted:
            yield from _beside_blog(stage, rounds)
        if "4" in wanted:
            yield from calls_of_a_page(stage)


def page_of(stage: Stage, url: str, *pids: int) -> Target:
    """The page, asked for by everybody in turn; `pids` are the processes that it costs."""
    length = len(get(url + PAGE, stage.cookies[0]))
    return Target(url + PAGE, pids, stage.cookies, HTML, least_bytes=length * 9 // 10)


@contextmanager
def hello() -> Iterator[Target]:
    """A plain hello in its own process."""
    with started("bench.yardsticks", "hello") as process:
        yield Target(f"http://127.0.0.1:{line_of(process)}/", (process.pid,))


@contextmanager
def gateway_beside(
    stage: Stage, settings: Mapping[str, str], profile: Path | None = None
) -> Iterator[tuple[str, int]]:
    """Another gateway of the same services, profiled if that is asked; its address and process."""
    port = free_port()
    environment = {**stage.stack.environment, "GATEWAY_PORT": str(port), **settings}
    command = ["cProfile", "-o", str(profile), "-m", "gateway"] if profile else ["gateway"]
    with started(*command, environment=environment) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, process)
        for cookie in stage.cookies[:3]:  # all symbols between them
            wait_until_filled(url, cookie)
        yield url, process.pid


def _beside_hello(stage: Stage, rounds: int) -> list[Entry]:
    gateway, *services = stage.pids
    with ExitStack() as stack:
        three, three_pid = stack.enter_context(gateway_beside(stage, WITHOUT_BOARD))
        alone = {**stage.stack.environment, **QUIET, **WITHOUT_BOARD}
        alone["FORETICK_DATA_DIR"] = str(stage.copy)
        one = stack.enter_context(
            started("bench.yardsticks", "one-process", *SYMBOLS, environment=alone)
        )
        targets = {
            "hello": stack.enter_context(hello()),
            "page": page_of(stage, stage.stack.url, gateway, *services),
            "three": page_of(stage, three, three_pid, *services),
            "one": page_of(stage, f"http://127.0.0.1:{line_of(one)}", one.pid),
        }
        measured = interleaved(targets, connections=CONNECTIONS, seconds=SECONDS, rounds=rounds)
    return _compared(measured)


NAMES = {
    "hello": "a plain aiohttp hello",
    "page": "the warm page",
    "three": "the page by three parallel RPCs",
    "one": "the page rendered in one process",
}


def write_profile(stage: Stage, path: Path) -> None:
    """Where a gateway that makes this page spends its time, as text."""
    path.parent.mkdir(exist_ok=True)
    raw = path.with_suffix(".prof")
    with gateway_beside(stage, {}, raw) as (url, _):
        load(page_of(stage, url), connections=CONNECTIONS, seconds=PROFILED_SECONDS)
    with path.open("w", encoding="utf-8") as text:
        pstats.Stats(str(raw), stream=text).sort_stats("tottime").print_stats(50)


def _compared(measured: dict[str, list[Round]]) -> list[Entry]:
    rates = {name: [each.rate for each in rounds] for name, rounds in measured.items()}
    cpu = {name: [each.cpu_each for each in rounds] for name, rounds in measured.items()}
    p99 = [1000 * each.p99 for each in measured["page"]]
    rate_ratios = {name: ratios(rates["page"], rates[name]) for name in NAMES}
    cpu_ratio = ratios(cpu["page"], cpu["hello"])
    return [
        entry("1", "page, rate over hello's", rate_ratios["hello"], "×", at_least(0.35)),
        entry("1", "page, CPU of all processes over hello's", cpu_ratio, "×", at_most(3.5)),
        entry("1", "page, rate over one process's", rate_ratios["one"], "×"),
        *(entry("1", f"{told}, rate", rates[name], "/s") for name, told in NAMES.items()),
        *(entry("1", f"{told}, CPU a request", cpu[name], "µs") for name, told in NAMES.items()),
        entry("1", "the warm page, p99 of 16 connections", p99, "ms"),
        entry("2", "page, rate over three RPCs'", rate_ratios["three"], "×", at_least(8)),
        entry("2", "three RPCs', CPU over the page's", ratios(cpu["three"], cpu["page"]), "×"),
    ]


def _beside_blog(stage: Stage, rounds: int) -> list[Entry]:
    page = page_of(stage, stage.stack.url, *stage.pids)
    ours, theirs = [], []
    with started("bench.yardsticks", "blog", str(UPSTREAM_SECONDS)) as process:
        url = f"http://127.0.0.1:{line_of(process)}"
        blog = Target(url + "/", (process.pid,), [signed_in(url)])
        for _ in range(rounds):
            ours.append(load(page, connections=8, seconds=SECONDS))
            theirs.append(asyncio.run(by_asyncio(blog, 8, requests=8)))
    rates = [each.rate for each in ours], [each.rate for each in theirs]
    return [
        entry("3", "page, rate over the blog's", ratios(*rates), "×", at_least(5000)),
        entry("3", "the blog's page, rate at 8 connections", rates[1], "/s"),
        entry("3", "the blog's page, CPU", [each.cpu_each / 1000 for each in theirs], "ms"),
    ]


def signed_in(blog: str) -> str:
    """A cookie of the blog."""
    with urllib.request.urlopen(f"{blog}/sign-in", timeout=10) as response:  # noqa: S310 - loopback
        cookie: str = response.headers["Set-Cookie"].partition(";")[0]
    return cookie


def calls_of_a_page(stage: Stage) -> list[Entry]:
    """How many remote calls warm pages make, one after the other and at 64 connections."""
    targets = [stage.stack.target(name) for name in CALLED.values()]
    with started("bench.rpc_counter", *targets) as counter:
        ports = zip(CALLED, line_of(counter).split(), strict=True)
        settings = {f"{name}_TARGET": f"127.0.0.1:{port}" for name, port in ports}

        def so_far() -> int:
            tell(counter, "")
            return int(line_of(counter))

        with gateway_beside(stage, settings) as (url, _):
            page = page_of(stage, url)
            load(page, connections=CONNECTIONS, seconds=SECONDS)  # everybody's page is warm then
            each = [_calls_each(page, so_far, connections) for connections in (1, 64)]
        with gateway_beside(stage, {**settings, **WITHOUT_BOARD}) as (url, _):
            without = _calls_each(page_of(stage, url), so_far, 1)
    return [
        entry("4", "RPCs a warm page, one at a time", each[:1], "", at_most(1)),
        entry("4", "RPCs a warm page, 64 connections", each[1:], "", at_most(0.2)),
        entry("4", "RPCs a page without the board, one at a time", [without]),
    ]


def _calls_each(page: Target, so_far: Callable[[], int], connections: int) -> float:
    """Calls a page, to a hundredth; what the gateway asks by itself for all pages is no page's."""
    time.sleep(SETTLED_SECONDS)
    before = so_far()
    loaded = asyncio.run(by_asyncio(page, connections, requests=COUNTED_PAGES))
    during, before = so_far() - before, so_far()
    time.sleep(QUIET_SECONDS)
    by_itself = (so_far() - before) * loaded.seconds / QUIET_SECONDS
    return round(max(0.0, during - by_itself) / COUNTED_PAGES, 2)
