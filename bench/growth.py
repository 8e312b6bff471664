"""Measure 12: what becomes of a page's cost, of memory and of a refresh as there is more of all.

The services that tell prices and forecasts are `bench.feed`; gateway and subscription-svc are real.
"""

import time

from bench.feed import symbols
from bench.load import Target, load
from bench.market_stage import MarketStage, market_stage
from bench.processes import cpu_seconds, resident_mib
from bench.reporting import Entry, at_most, entry
from bench.stage import PAGE, read_page, temporary_folder, wait_until_filled

FOLLOWED = (10, 1_000, 10_000)
ACCOUNTS = (10, 10_000)
AN_ACCOUNT = 500  # symbols that one may follow
ROUNDS = 5
REFRESHES = 5
SETTLED_SECONDS = 0.5
GROWTH = 1.25  # what "flat" may mean between rounds that others disturb


def measure() -> list[Entry]:
    """One stage after the other, small to large."""
    pages, memory, refreshes = [], [], []
    for count in FOLLOWED:
        page, mib, refresh = _followed(count)
        pages.append(page)
        memory.append(mib)
        refreshes.append(refresh)
    entries = [
        entry(
            "12",
            "page cost, 10,000 followed symbols over 10",
            [pages[-1] / pages[0]],
            "×",
            at_most(GROWTH),
        ),
    ]
    for count, page, mib, refresh in zip(FOLLOWED, pages, memory, refreshes, strict=True):
        what = f"{count:,} symbols followed"
        entries += [
            entry("12", f"page of 10 symbols, CPU of the gateway, {what}", [page], "µs"),
            entry("12", f"gateway's memory, {what}", [mib], "MiB"),
            entry("12", f"all prices change at once, CPU of the gateway, {what}", [refresh], "ms"),
        ]
    return entries + _accounts()


def _followed(count: int) -> tuple[float, float, float]:
    """Page cost (µs), memory (MiB) and refresh (ms) of a gateway whose readers follow so many."""
    names = symbols(count)
    shelves = [names[start : start + AN_ACCOUNT] for start in range(0, count, AN_ACCOUNT)]
    with temporary_folder() as folder:
        lists = [names[:10], *shelves]
        with market_stage(folder, count, lists) as stage:
            for cookie in stage.cookies:
                wait_until_filled(stage.url, cookie)
            page = page_cost(stage, 1)
            for cookie in stage.cookies[1:]:  # rows are rendered when somebody looks
                read_page(stage.url, cookie)
            memory = resident_mib(stage.gateway.pid)
            return page, memory, _refresh(stage, count)


def page_cost(stage: MarketStage, readers: int) -> float:
    """CPU microseconds of the gateway for a page, the least of some rounds."""
    target = Target(
        stage.url + PAGE, (stage.gateway.pid,), stage.cookies[:readers], {"Accept": "text/html"}
    )
    load(target, connections=16, seconds=1)
    return min(load(target, connections=16, seconds=1).cpu_each for _ in range(ROUNDS))


def _refresh(stage: MarketStage, count: int) -> float:
    """CPU milliseconds of the gateway when every price changes."""
    spent = []
    for _ in range(REFRESHES):
        before = cpu_seconds(stage.gateway.pid)
        stage.tick(0, count)
        while True:  # until it has nothing to do any more
            so_far = cpu_seconds(stage.gateway.pid)
            time.sleep(SETTLED_SECONDS)
            if cpu_seconds(stage.gateway.pid) - so_far < 0.05 * SETTLED_SECONDS:
                break
        spent.append(cpu_seconds(stage.gateway.pid) - before)
    return 1000 * min(spent)


def _accounts() -> list[Entry]:
    pages, entries = [], []
    for count in ACCOUNTS:
        names = symbols(60)
        lists = [[names[(start + 3 * step) % 60] for step in range(20)] for start in range(count)]
        with temporary_folder() as folder, market_stage(folder, 60, lists) as stage:
            for cookie in stage.cookies[:3]:
                wait_until_filled(stage.url, cookie)
            pages.append(page_cost(stage, min(count, 200)))
            megabytes = (folder / "subscription.db").stat().st_size / 1e6
            what = f"{count:,} accounts of 20 symbols"
            entries += [
                entry("12", f"page, CPU of the gateway, {what}", pages[-1:], "µs"),
                entry(
                    "12",
                    f"subscription-svc's memory, {what}",
                    [resident_mib(stage.subscriptions.pid)],
                    "MiB",
                ),
                entry("12", f"subscription-svc's database, {what}", [megabytes], "MB"),
            ]
    over = [pages[-1] / pages[0]]
    return [entry("12", "page cost, 10,000 accounts over 10", over, "×", at_most(GROWTH)), *entries]
