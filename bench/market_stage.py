"""A gateway and subscription-svc in front of a market that moves on command."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from bench.people import sign_up
from bench.processes import line_of, started, tell
from bench.stage import QUIET, wait_until_ready
from foretick_rpc.ports import free_port


@dataclass(frozen=True)
class MarketStage:
    """The processes, the gateway's address, and the cookies of those who are signed in."""

    feed: Popen[str]
    gateway: Popen[str]
    subscriptions: Popen[str]
    url: str
    cookies: Sequence[str]

    def tick(self, first: int, count: int) -> int:
        """Move so many prices from one on; the monotonic nanoseconds of it."""
        tell(self.feed, f"{first} {count}")
        return int(line_of(self.feed))

    def board_changes(self) -> list[int]:
        """The monotonic nanoseconds of what changed on the board since this was last asked."""
        tell(self.gateway, "")
        changes: list[int] = json.loads(line_of(self.gateway))
        return changes


@contextmanager
def market_stage(
    folder: Path, symbols: int, lists: Sequence[Sequence[str]]
) -> Iterator[MarketStage]:
    """All of it, with somebody for each of the lists."""
    people = asyncio.run(sign_up(folder, lists))
    listen = f"127.0.0.1:{free_port()}"
    environment = {
        **QUIET,
        "FORETICK_SERVICE_TOKEN": "of-a-benchmark-only",
        "FORETICK_DATA_DIR": str(folder),
        "SUBSCRIPTION_LISTEN": listen,
        "SUBSCRIPTION_TARGET": listen,
        "MALLOC_ARENA_MAX": "1",
    }
    with ExitStack() as stack:
        feed = stack.enter_context(started("bench.feed", str(symbols), environment=environment))
        subscriptions = stack.enter_context(started("subscription_svc", environment=environment))
        quote_port, prediction_port = line_of(feed).split()
        environment["QUOTE_TARGET"] = f"127.0.0.1:{quote_port}"
        environment["PREDICTION_TARGET"] = f"127.0.0.1:{prediction_port}"
        gateway = stack.enter_context(started("bench.observed_gateway", environment=environment))
        url = f"http://127.0.0.1:{line_of(gateway)}"
        wait_until_ready(url, feed, subscriptions, gateway)
        yield MarketStage(feed, gateway, subscriptions, url, [each.cookie for each in people])
