"""Measure 7: from a change at the source to the board, and to the last of thousands of browsers."""

import json
import re
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from subprocess import Popen
from urllib.parse import urlsplit

from bench.feed import symbols
from bench.market_stage import MarketStage, market_stage
from bench.processes import cpu_seconds, line_of, resident_mib, started, tell
from bench.reporting import Entry, Goal, at_least, at_most, entry, quantile
from bench.stage import read_page, temporary_folder, wait_until_filled

PEOPLE = 200
SYMBOLS = 20
TICKS = 60
SETTLED_SECONDS = 0.4
# What has not come by then is missed.
LATE_SECONDS = 8.0
# A page is told of a symbol every half a second at most: the next tick is of another one.
CALM_SECONDS = 0.6
# So many that ticks of all of them fill the kernel's buffers, and the gateway's, before long.
FLOOD = 500
FLOOD_BYTES = 6e6
FLOODED_WITHIN_SECONDS = 180.0
SLOW = 50
SINCE = re.compile(r'data-since="([^"]+)"')
CLIENTS: dict[int, Goal] = {1_000: at_most(60), 5_000: at_most(250)}


@dataclass
class Delays:
    """Milliseconds from each tick, and what the streams cost."""

    board: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    missed: int = 0
    cpu_each: float = 0.0
    """Microseconds of the gateway a client and event."""
    kib_each: float = 0.0
    """Memory of the gateway a client."""


def measure() -> list[Entry]:
    """Each number of clients in front of a gateway of its own."""
    allow_sockets(max(CLIENTS) + 1000)
    entries = []
    for count, goal in CLIENTS.items():
        with (
            temporary_folder() as folder,
            market_stage(folder, SYMBOLS, [symbols(SYMBOLS)] * PEOPLE) as stage,
        ):
            delays = _watched(stage, count)
        what = f"{count:,} SSE clients"
        if count == min(CLIENTS):
            p99 = [quantile(delays.board, 0.99)]
            entries.append(entry("7", "tick to board, p99", p99, "ms", at_most(10)))
        entries += [
            entry(
                "7", f"tick to the last of {what}, p99", [quantile(delays.last, 0.99)], "ms", goal
            ),
            entry("7", f"tick to the last of {what}", delays.last, "ms"),
            entry("7", f"events missed by {what}", [delays.missed], "", at_most(0)),
            entry("7", f"CPU a client and event, {what}", [delays.cpu_each], "µs", at_most(60)),
            entry("7", f"memory a client, {what}", [delays.kib_each], "KiB", at_most(16)),
        ]
    return entries + _slow_readers()


def allow_sockets(count: int) -> None:
    """Let this process and those that it starts have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise RuntimeError(f"{count} open files are needed, and the limit is {hard}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


@contextmanager
def clients(stage: MarketStage, count: int, slow: int = 0) -> Iterator[Popen[str]]:
    """So many streams in a process of their own, all open; the slow ones never read."""
    port = str(urlsplit(stage.url).port)
    shown = SINCE.search(read_page(stage.url, stage.cookies[0]))
    if shown is None:
        raise RuntimeError("the page does not say which state it shows")
    path = f"/events?since={shown[1]}"
    with started("bench.sse_clients", port, path, str(count), str(slow)) as process:
        tell(process, json.dumps(list(stage.cookies)))
        line_of(process)
        yield process


def told(process: Popen[str]) -> dict[str, int]:
    """What has come to the streams since this was last asked."""
    tell(process, "")
    answer: dict[str, int] = json.loads(line_of(process))
    return answer


def _watched(stage: MarketStage, count: int) -> Delays:
    wait_until_filled(stage.url, stage.cookies[0])
    read_page(stage.url, stage.cookies[0])  # templates and locales come with the first
    delays, gateway = Delays(), stage.gateway.pid
    before = resident_mib(gateway)
    with clients(stage, count) as process:
        time.sleep(1)
        delays.kib_each = 1024 * (resident_mib(gateway) - before) / count
        told(process)
        stage.board_changes()
        at_rest, spent = cpu_seconds(gateway), 0.0
        time.sleep(TICKS * SETTLED_SECONDS / 4)
        at_rest = 4 * (cpu_seconds(gateway) - at_rest)
        begun = cpu_seconds(gateway)
        for turn in range(TICKS):
            ticked = stage.tick(turn % SYMBOLS, 1)
            readers, last = _everybody(process, count)
            delays.missed += count - readers
            delays.last.append((last - ticked) / 1e6)
            delays.board.append((stage.board_changes()[0] - ticked) / 1e6)
        spent = cpu_seconds(gateway) - begun - at_rest
        delays.cpu_each = 1e6 * spent / TICKS / count
    return delays


def _everybody(process: Popen[str], count: int) -> tuple[int, int]:
    """How many readers an event has come to in the end, and when it came to the last of them."""
    readers, last, give_up = 0, 0, time.monotonic() + LATE_SECONDS
    while readers < count and time.monotonic() < give_up:
        time.sleep(SETTLED_SECONDS)
        came = told(process)
        readers, last = readers + came["readers"], max(last, came["last"])
    return readers, last


def _slow_readers() -> list[Entry]:
    """Streams that nobody reads among some that are read, until the gateway has had enough."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        stage = stack.enter_context(market_stage(folder, FLOOD, [symbols(FLOOD)] * SLOW))
        wait_until_filled(stage.url, stage.cookies[0])
        process = stack.enter_context(clients(stage, 2 * SLOW, SLOW))
        time.sleep(CALM_SECONDS)
        missed, sent, before = 0, 0.0, told(process)["bytes"]
        give_up = time.monotonic() + FLOODED_WITHIN_SECONDS
        while sent < FLOOD_BYTES:
            if time.monotonic() > give_up:
                raise TimeoutError(f"only {sent / 1e6:.1f} MB were sent to each reader")
            stage.tick(0, FLOOD)
            missed += SLOW - _everybody(process, SLOW)[0]
            time.sleep(CALM_SECONDS)  # the rest of what this tick sends
            sent = (told(process)["bytes"] - before) / SLOW
        came = told(process)
    return [
        entry("7", "sent to each of the readers beside slow ones", [sent / 1e6], "MB"),
        entry("7", f"slow readers dropped, of {SLOW}", [came["slow_ended"]], "", at_least(SLOW)),
        entry("7", "readers beside them who were dropped", [came["readers_ended"]], "", at_most(0)),
        entry("7", "events that readers beside them missed", [missed], "", at_most(0)),
    ]
