"""People at the stack: some read their list, some follow one more symbol, all the time."""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from stack import Visitor

DEADLINE_SECONDS = 10.0


@dataclass
class Person:
    """Somebody signed in, and the symbols that they were told they follow."""

    visitor: Visitor
    token: str
    followed: set[str] = field(default_factory=set)

    async def rows(self) -> list[dict[str, object]]:
        """The list, as JSON."""
        subscriptions: list[dict[str, object]] = (await self.visitor.subscriptions())["subs"]
        return subscriptions


@dataclass
class Tally:
    """What became of the requests, and how long the slowest took."""

    requests: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    degraded: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Remember when something happened."""
        self.events.append((time.monotonic(), what))

    def fail(self, what: str) -> None:
        """Count a failure."""
        self.failures.append(what)
        self.note(f"FAILED {what}")

    def story(self) -> list[str]:
        """What happened, in order, in seconds from the first event."""
        start = self.events[0][0] if self.events else 0.0
        return [f"{at - start:7.2f} {what}" for at, what in sorted(self.events)]

    def __str__(self) -> str:
        ordered = sorted(self.seconds)
        p99 = ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0
        slowest = ordered[-1] if ordered else 0.0
        return (
            f"requests {dict(self.requests)}, failures {len(self.failures)}, "
            f"lost {len(self.lost)}, rows without a part {dict(self.degraded)}, "
            f"p99 {p99:.3f} s, slowest {slowest:.3f} s"
        )


@asynccontextmanager
async def people(url: str, count: int) -> AsyncIterator[list[Person]]:
    """New accounts, signed in, each with a cookie jar."""
    sessions = [
        aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS),
        )
        for _ in range(count)
    ]
    marks = [f"{time.time_ns():x}-{number}" for number in range(count)]
    try:
        found = []
        for mark, http in zip(marks, sessions, strict=True):
            visitor = Visitor(http, url)
            await visitor.register(f"person-{mark}@example.org")
            found.append(Person(visitor, await visitor.token("/subscribeList")))
        yield found
    finally:
        for http in sessions:
            await http.close()


async def read(person: Person, tally: Tally) -> None:
    """Read the list: all that was acknowledged before must be on it."""
    before = set(person.followed)
    status, text = await person.visitor.get("/subscribeList")
    if status != 200:
        tally.fail(f"GET /subscribeList {status} {_reason(text)}")
        return
    rows = json.loads(text)["subs"]
    tally.lost += sorted(before - {row["symbol"] for row in rows})
    tally.degraded["price"] += sum(row["currentPrice"] is None for row in rows)
    tally.degraded["forecast"] += sum(row["limit_up_down"] is None for row in rows)


def _reason(text: str) -> str:
    """What an error says, as JSON or as a page."""
    if text.startswith("{"):
        return str(json.loads(text)["error"]["message"])
    found = re.search(r'role="alert"[^>]*>\s*([^<]+)', text)
    return found[1].strip() if found else text[:200]


async def follow(person: Person, symbol: str, tally: Tally) -> None:
    """Follow a symbol; what the page acknowledges counts as followed."""
    form = {"symbol": symbol, "csrf_token": person.token}
    status, text, _ = await person.visitor.post("/subscriptions", form, json=False)
    if status == 303:
        person.followed.add(symbol)
    else:
        tally.fail(f"POST /subscriptions {symbol} {status} {_reason(text)}")


async def keep_asking(
    crowd: list[Person], symbols: list[str], rate: float, done: asyncio.Event, tally: Tally
) -> None:
    """Send `rate` requests a second, each once, whether or not earlier ones have been answered."""
    left = [(person, symbol) for symbol in symbols for person in crowd]
    under_way: set[asyncio.Task[None]] = set()
    chance = random.Random(20)  # noqa: S311 - an order of requests, the same each time
    start, sent = asyncio.get_running_loop().time(), 0
    while not done.is_set():
        if left and chance.random() < 0.4:
            person, symbol = left.pop(0)
            work, kind = follow(person, symbol, tally), "follow"
        else:
            work, kind = read(chance.choice(crowd), tally), "read"
        task = asyncio.create_task(_timed(work, kind, tally))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        sent += 1
        await asyncio.sleep(max(0.0, start + sent / rate - asyncio.get_running_loop().time()))
    await asyncio.gather(*under_way)


async def _timed(work: Awaitable[None], kind: str, tally: Tally) -> None:
    started = time.perf_counter()
    try:
        await work
    except (aiohttp.ClientError, TimeoutError) as error:
        tally.fail(f"{kind}: {type(error).__name__} {error}")
    tally.requests[kind] += 1
    tally.seconds.append(time.perf_counter() - started)
