"""What people notice while parts of the stack are stopped, replaced, wiped and restored."""

import asyncio
import os
import time
from pathlib import Path

from compose_project import SCALE, SCALED, Project
from quote_svc.demo_stocks import DELISTED, STOCKS
from visitors import Person, Tally, keep_asking, people

ROLLING_SECONDS = float(os.environ.get("FORETICK_ROLLING_SECONDS", "120"))
OUTAGE_SECONDS = float(os.environ.get("FORETICK_OUTAGE_SECONDS", "30"))
SYMBOLS = [stock.symbol for stock in STOCKS if stock.symbol != DELISTED]
PEOPLE = 20
RATE = 20.0


async def until_all_is_there(crowd: list[Person], within: float) -> float:
    """The seconds until everybody sees all that they follow, with prices and forecasts."""
    started = time.monotonic()
    while True:
        tally = Tally()
        for person in crowd:
            if not person.followed:
                continue
            status, _ = await person.visitor.get("/subscribeList")
            if status != 200:
                tally.failures.append(str(status))
                break
            rows = {row["symbol"]: row for row in await person.rows()}
            assert person.followed <= set(rows), "what was acknowledged is lost"
            tally.lost += [
                symbol
                for symbol in person.followed
                if None in (rows[symbol]["currentPrice"], rows[symbol]["limit_up_down"])
            ]
        if not tally.failures and not tally.lost:
            return time.monotonic() - started
        assert time.monotonic() - started < within, tally
        await asyncio.sleep(0.5)


async def follow_some(crowd: list[Person], each: int) -> None:
    tally = Tally()
    for number, person in enumerate(crowd):
        for step in range(each):
            await person.visitor.subscribe(symbol := SYMBOLS[(7 * number + step) % len(SYMBOLS)])
            person.followed.add(symbol)
    assert not tally.failures


async def disturb(project: Project, until: float, tally: Tally) -> int:
    """Stop, replace and start one container after another; how many were."""

    async def run(what: str, *command: str) -> None:
        tally.note(what)
        await asyncio.to_thread(project.run, *command)

    async def all_healthy() -> None:
        await asyncio.to_thread(project.up, "--no-recreate", *SCALE)

    disturbed = 0
    while True:
        for service in SCALED:
            started_again, replaced = project.containers(service)
            await run(f"stop {service}", "docker", "stop", "--time", "20", started_again)
            await run(f"start {service}", "docker", "start", started_again)
            await all_healthy()
            await run(f"stop other {service}", "docker", "stop", "--time", "20", replaced)
            await run(f"remove other {service}", "docker", "rm", replaced)
            await all_healthy()
            disturbed += 2
        if time.monotonic() >= until:
            return disturbed


async def test_nobody_notices_that_replicas_are_stopped_replaced_and_started(
    project: Project,
) -> None:
    async with people(project.url, PEOPLE) as crowd:
        await follow_some(crowd, 1)
        await until_all_is_there(crowd, within=90)
        tally, done = Tally(), asyncio.Event()
        asking = asyncio.create_task(keep_asking(crowd, SYMBOLS[20:], RATE, done, tally))
        started = time.monotonic()
        try:
            disturbed = await disturb(project, started + ROLLING_SECONDS, tally)
        finally:
            seconds = time.monotonic() - started
            done.set()
            await asking
        print(f"{disturbed} containers in {seconds:.0f} s at {RATE:g} requests/s: {tally}")
        if tally.failures:
            print("\n".join(tally.story()))
        for person in crowd:
            followed = {str(row["symbol"]) for row in await person.rows()}
            tally.lost += sorted(person.followed - followed)
    assert not tally.failures, tally.failures[:5]
    assert not tally.lost, tally.lost[:5]
    assert tally.requests["follow"] > 100
    assert tally.requests["read"] > 100


async def test_pages_come_back_when_postgresql_does(project: Project) -> None:
    async with people(project.url, 5) as crowd:
        await follow_some(crowd, 4)
        await until_all_is_there(crowd, within=90)
        (database,) = project.containers("postgres")
        await asyncio.to_thread(project.run, "docker", "stop", database)
        stopped, answers, slowest = time.monotonic(), set[int](), 0.0
        while time.monotonic() < stopped + OUTAGE_SECONDS:
            for person in crowd:
                asked = time.monotonic()
                symbol = next(each for each in SYMBOLS if each not in person.followed)
                form = {"symbol": symbol, "csrf_token": person.token}
                written, _, _ = await person.visitor.post("/subscriptions", form, json=False)
                if written == 303:
                    person.followed.add(symbol)
                read, page = await person.visitor.get("/subscribeList", json=False)
                assert "Foretick" in page
                answers |= {written, read}
                slowest = max(slowest, time.monotonic() - asked)
            await asyncio.sleep(1)
        await asyncio.to_thread(project.run, "docker", "start", database)
        back = await until_all_is_there(crowd, within=60)
        print(
            f"away: answers {sorted(answers)}, slowest pair {slowest:.1f} s; back in {back:.1f} s"
        )
        assert answers <= {503, 504}, answers
        await asyncio.to_thread(project.compose, "restart")
        await asyncio.to_thread(project.up, "--no-recreate", *SCALE)
        back = await until_all_is_there(crowd, within=90)
        print(f"restarted: everybody still signed in, all there after {back:.1f} s")


async def test_a_backup_brings_everything_back(project: Project, tmp_path: Path) -> None:
    file = str(tmp_path / "backup.tar")
    async with people(project.url, 3) as crowd:
        await follow_some(crowd, 5)
        await until_all_is_there(crowd, within=90)
        before = project.counts()
        await asyncio.to_thread(project.run, "python3", "deploy/backup.py", "backup", "--out", file)
        await asyncio.to_thread(project.wipe)
        await asyncio.to_thread(project.up, *SCALE)
        assert project.counts()["accounts"] == 0
        await asyncio.to_thread(
            project.run, "python3", "deploy/backup.py", "restore", file, "--force"
        )
        await asyncio.to_thread(project.up, "--no-recreate", *SCALE)
        assert project.counts() == before
        back = await until_all_is_there(crowd, within=90)
        print(f"restored: {before}; everybody still signed in, all there after {back:.1f} s")
