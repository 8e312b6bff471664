"""Measures 5 and 6: a page of 20 symbols of which nobody knows anything yet, and others meanwhile.

Yahoo is the tests' own, 150 ms away, and quote-svc may ask it for 20 symbols at once. Each round is
somebody else's first page, with 20 symbols that were never asked for.
"""

import asyncio
import json
import time
from collections.abc import Sequence

import aiohttp

from bench.accounts import probe
from bench.load import Target, by_asyncio
from bench.processes import line_of, started, wait_until_idle
from bench.reporting import Entry, at_least, at_most, entry, quantile, ratios
from bench.stage import PAGE, Stage, is_whole, product, temporary_folder
from bench.watchlist_page import UPSTREAM_SECONDS, signed_in

ROUNDS = 6
SYMBOLS = 20
GIVE_UP_SECONDS = 120.0
POLL_SECONDS = 0.02
PROBE_SECONDS = 0.004
AT_ONCE = {"QUOTE_YAHOO_RATE": "100", "QUOTE_YAHOO_AT_ONCE": "40"}


class Cold:
    """What rounds came to: seconds until the page, until all prices, until all forecasts."""

    def __init__(self) -> None:
        self.page: list[float] = []
        self.priced: list[float] = []
        self.filled: list[float] = []
        self.blog: list[float] = []
        self.hello: list[float] = []
        self.idle: list[float] = []


def measure() -> list[Entry]:
    """By rounds in turn with the blog's page, which one visitor asks for."""
    lists = [[f"C{turn:02}{number:02}" for number in range(SYMBOLS)] for turn in range(ROUNDS + 1)]
    names = [symbol for each in lists for symbol in each]
    with (
        temporary_folder() as folder,
        started("bench.upstream", str(UPSTREAM_SECONDS), *names) as yahoo,
        started("bench.yardsticks", "blog", str(UPSTREAM_SECONDS)) as blog,
    ):
        seeds = folder / "seeds.txt"
        seeds.write_text("", encoding="ascii")
        settings = {**AT_ONCE, **json.loads(line_of(yahoo)), "QUOTE_SEED_FILE": str(seeds)}
        url = f"http://127.0.0.1:{line_of(blog)}"
        tutorial = Target(url + "/", cookies=[signed_in(url)])
        with product(folder, lists, QUOTE_MARKET="yahoo", **settings) as stage:
            return _report(asyncio.run(_rounds(stage, tutorial)))


async def _rounds(stage: Stage, blog: Target) -> Cold:
    cold, warming = Cold(), Cold()
    for turn in range(ROUNDS + 1):
        # The first visitor finds templates and connections to Yahoo that nobody has used.
        noted = cold if turn else warming
        await asyncio.to_thread(wait_until_idle, *stage.pids)
        await _one(stage, stage.cookies[turn], noted)
        noted.blog.append((await by_asyncio(blog, 1, requests=1)).seconds)
    return cold


async def _one(stage: Stage, cookie: str, noted: Cold) -> None:
    async with aiohttp.ClientSession(stage.stack.url) as http:
        noted.idle += await probe(http, asyncio.create_task(asyncio.sleep(0.5)).done, PROBE_SECONDS)
        begun = time.perf_counter()
        filling = asyncio.create_task(_fill(http, {"Cookie": cookie}, begun, noted))
        noted.hello += await probe(http, filling.done, PROBE_SECONDS)
        await filling


async def _fill(
    http: aiohttp.ClientSession, headers: dict[str, str], begun: float, noted: Cold
) -> None:
    async with http.get(PAGE, headers={**headers, "Accept": "text/html"}) as answer:
        await answer.read()
        answer.raise_for_status()
    noted.page.append(time.perf_counter() - begun)
    priced = False
    while True:
        async with http.get(PAGE, headers={**headers, "Accept": "application/json"}) as answer:
            page = await answer.json()
        now = time.perf_counter() - begun
        if not priced and all(row["currentPrice"] is not None for row in page["subs"]):
            noted.priced.append(now)
            priced = True
        if is_whole(page):
            noted.filled.append(now)
            return
        if now > GIVE_UP_SECONDS:
            raise TimeoutError(f"not all cells are filled after {GIVE_UP_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


def _report(cold: Cold) -> list[Entry]:
    def millis(seconds: Sequence[float]) -> list[float]:
        return [1000 * each for each in seconds]

    p99 = [quantile(each, 0.99) for each in (cold.hello, cold.idle)]
    return [
        entry("5", "cold page: complete HTML", millis(cold.page), "ms", at_most(250)),
        entry("5", "cold page: every price filled", millis(cold.priced), "ms"),
        entry("5", "cold page: every cell filled", millis(cold.filled), "ms", at_most(650)),
        entry(
            "5",
            "the blog's page over every cell filled",
            ratios(cold.blog, cold.filled),
            "×",
            at_least(10),
        ),
        entry("5", "the blog's page, one visitor", millis(cold.blog), "ms"),
        entry("6", "p99 of a hello in the gateway meanwhile", p99[:1], "ms", at_most(20)),
        entry("6", "p99 of a hello in the gateway at rest", p99[1:], "ms"),
    ]
