"""Killed at any moment, the ledger has all that was acknowledged, and nothing twice."""

import asyncio
import os
import random
import signal
import sys

import pytest
from sqlalchemy import func, select

from foretick_rpc.database import migrate, open_database
from foretick_rpc.leases import Lease
from prediction_svc.ledger import Ledger
from prediction_svc.schema import forecasts, leases, outcomes
from prediction_svc.testing import FIRST_DAY
from prediction_svc.verifying import ExpectedHead

MARKET = "demo:1"
SYMBOLS = 60
# Issues and scores session after session, from the one that it finds; says each head once it is
# acknowledged. A session that is there already is appended again, as after a crash.
WRITER = f"""
import asyncio, sys
from prediction_svc.testing import FIRST_DAY, batch_of, close_of, score_all, writable_ledger

SYMBOLS = [f"S{{number:03}}" for number in range({SYMBOLS})]

async def write():
    async with writable_ledger(sys.argv[1]) as (_, ledger):
        found = await ledger.entries("{MARKET}", SYMBOLS[-1], 1)
        day = found[0].said.as_of_day if found else FIRST_DAY
        while True:
            batch = batch_of(day, SYMBOLS, (1, 5))
            appended = await ledger.append("{MARKET}", batch, close_of(day))
            print("issued", day, appended.head, flush=True)
            await score_all(ledger, "{MARKET}", day)
            print("scored", day, await ledger.head("{MARKET}"), flush=True)
            day += 1

asyncio.run(write())
"""


@pytest.mark.parametrize("kills", [3])
async def test_kill_9_while_issuing_and_scoring_loses_nothing(
    database_url: str, kills: int
) -> None:
    await migrate(database_url, "prediction_svc")
    chance = random.Random(11)  # noqa: S311 - moments to kill at
    last_day = FIRST_DAY
    for _ in range(int(os.environ.get("FORETICK_KILLS", kills))):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, database_url, stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        said = b""
        for _ in range(chance.randint(2, 12)):
            said = await asyncio.wait_for(writer.stdout.readline(), 60)
            assert said
        # Anywhere in what it does next.
        asyncio.get_running_loop().call_later(chance.uniform(0, 0.05), writer.kill)
        assert await writer.wait() == -signal.SIGKILL
        rest, _ = await writer.communicate()
        whole = [line for line in (said + rest).splitlines(keepends=True) if line.endswith(b"\n")]
        what, day, head = whole[-1].decode().split()
        last_day = max(last_day, int(day))
        await check(database_url, int(day), what == "scored", ExpectedHead.parse(head))
    assert last_day > FIRST_DAY + 1


async def check(url: str, day: int, is_scored: bool, head: ExpectedHead) -> None:
    """What was acknowledged is there, whole batches are, and nothing is there twice."""
    async with open_database(url, "prediction_svc") as database:
        ledger = Ledger(database, Lease(database, leases, "work"))
        verification = await ledger.verify(MARKET, head)
        assert verification.fault is None  # and keys are unique
        per_session = select(forecasts.c.as_of_day, func.count()).group_by(forecasts.c.as_of_day)
        counts = await database.read(lambda connection: connection.execute(per_session).all())
        issued: dict[int, int] = dict(map(tuple, counts))
        assert sorted(issued) == list(range(FIRST_DAY, max(issued) + 1))
        assert set(issued.values()) == {2 * SYMBOLS}
        assert max(issued) in (day, day + is_scored)
        assert await ledger.open_forecasts(MARKET, day - (not is_scored), day + 1) == {}
        outcome_count = verification.head.count - sum(issued.values())
        whole = {
            sum(SYMBOLS for as_of in issued for h in (1, 5) if as_of + h <= last)
            for last in (day - 1, day, day + 1)
        }
        assert outcome_count in whole
        rows = select(func.count()).select_from(outcomes)
        found = await database.read(lambda connection: connection.execute(rows).scalar_one())
        assert found == outcome_count
