"""Appending to the ledger: once, in time, in order, and never to be changed."""

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, delete, func, inspect, select
from sqlalchemy.exc import DBAPIError

from foretick_rpc.database import Database
from foretick_rpc.leases import Lease, LeaseLostError
from foretick_rpc.testing import schema_differences
from prediction_svc import schema
from prediction_svc.ledger import Ledger
from prediction_svc.outcomes import OpenForecast
from prediction_svc.schema import forecasts, outcomes
from prediction_svc.testing import (
    FIRST_DAY,
    batch_of,
    close_of,
    forecast_of,
    judged_of,
    missed_of,
    outcome_of,
    score_all,
    writable_ledger,
    yardsticks_of,
)
from prediction_svc.verifying import ExpectedHead
from prediction_svc.yardsticks import Yardsticks, unpack_all

MARKET = "demo:1"
YARDSTICKS = yardsticks_of("AAA", FIRST_DAY)


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[tuple[Database, Ledger]]:
    async with writable_ledger(database_url) as both:
        yield both


@pytest.fixture
def database(opened: tuple[Database, Ledger]) -> Database:
    return opened[0]


@pytest.fixture
def ledger(opened: tuple[Database, Ledger]) -> Ledger:
    return opened[1]


async def fill(ledger: Ledger, sessions: int = 3) -> None:
    """Some sessions, issued and scored."""
    for day in range(FIRST_DAY, FIRST_DAY + sessions):
        await ledger.append(MARKET, batch_of(day), close_of(day))
        await score_all(ledger, MARKET, day)


async def test_the_migrations_make_the_tables_that_the_code_names(database: Database) -> None:
    assert await schema_differences(database, schema.metadata) == []


async def test_what_is_appended_is_read_again_to_the_bit(ledger: Ledger) -> None:
    day, at = FIRST_DAY, close_of(FIRST_DAY) + timedelta(microseconds=123_457)
    batch = batch_of(day)
    appended = await ledger.append(MARKET, batch, at)
    assert (appended.added, appended.late) == (9, ())
    assert [entry.number for entry in appended.entries] == list(range(1, 10))
    said = {entry.said.key: entry.said for entry in appended.entries}
    assert said == {each.key: each for each in batch}
    assert list(said) == sorted(said)
    judged = [judged_of("JJJ", day, horizon) for horizon in (1, 5)]
    await ledger.append(MARKET, judged, at)
    assert [entry.said for entry in await ledger.entries(MARKET, "JJJ", 10)] == judged
    found = await ledger.entries(MARKET, "BBB", 10)
    assert [entry.said for entry in found] == batch[3:6]
    assert {entry.issue_time for entry in found} == {at}
    assert await ledger.entries(MARKET, "BBB", 2) == found[:2]
    assert await ledger.entries("demo:2", "BBB", 10) == []


async def test_a_batch_that_is_appended_again_adds_nothing(ledger: Ledger) -> None:
    day, at = FIRST_DAY, close_of(FIRST_DAY)
    first = await ledger.append(MARKET, batch_of(day), at)
    other = [replace(each, p_up=0.9) for each in batch_of(day)]
    later = close_of(day) + timedelta(days=3)  # long after the deadline
    again = await ledger.append(MARKET, other, later)
    assert again.entries == first.entries
    assert (again.added, again.late, again.head) == (0, (), first.head)
    # A part of it that is there, with more beside it.
    wider = batch_of(day, symbols=("AAA", "ABB"), horizons=(1,))
    mixed = await ledger.append(MARKET, wider, at)
    assert mixed.added == 1
    assert mixed.entries[0] == first.entries[0]
    assert mixed.head.count == 10


async def test_the_head_does_not_depend_on_the_order_of_a_batch(ledger: Ledger) -> None:
    day, batch = FIRST_DAY, batch_of(FIRST_DAY)
    await ledger.append(MARKET, batch, close_of(day))
    shuffled = [batch[place] for place in np.random.default_rng(1).permutation(len(batch))]
    await ledger.append("demo:2", shuffled, close_of(day))
    one, other = await ledger.head(MARKET), await ledger.head("demo:2")
    assert one.count == other.count == 9
    assert one.row_hash != other.row_hash  # the market is part of it
    assert await ledger.market_ids() == [MARKET, "demo:2"]


async def test_a_forecast_is_refused_from_its_deadline_on(ledger: Ledger) -> None:
    day = FIRST_DAY
    early, late = forecast_of("AAA", day), forecast_of("BBB", day)
    late = replace(late, deadline=close_of(day) + timedelta(hours=1))
    appended = await ledger.append(MARKET, [early, late], late.deadline)
    assert appended.late == (late,)
    assert [entry.said for entry in appended.entries] == [early]
    moment = timedelta(microseconds=1)
    assert (await ledger.append(MARKET, [late], late.deadline - moment)).added == 1


async def test_what_was_missed_is_never_made_up_for(ledger: Ledger) -> None:
    day, missed = FIRST_DAY, missed_of("AAA", FIRST_DAY)
    with pytest.raises(ValueError, match="cannot be missed before"):
        await ledger.append(MARKET, [missed], missed.deadline - timedelta(seconds=1))
    appended = await ledger.append(MARKET, [missed], missed.deadline)
    assert [entry.said for entry in appended.entries] == [missed]
    again = await ledger.append(MARKET, [forecast_of("AAA", day)], close_of(day))
    assert again.entries == appended.entries
    assert again.added == 0
    with pytest.raises(ValueError, match="no forecast"):
        await ledger.append_outcomes(MARKET, [outcome_of(open_forecast(1))], close_of(day + 1))


def open_forecast(number: int) -> OpenForecast:
    return OpenForecast(number, "AAA", 1, 20_000, 20_001, 100.0)


async def test_outcomes_are_recorded_once(ledger: Ledger) -> None:
    day = FIRST_DAY
    await ledger.append(MARKET, batch_of(day), close_of(day))
    assert await ledger.open_forecasts(MARKET, day, day) == {}
    found = await ledger.open_forecasts(MARKET, day + 1, day + 1)
    assert {symbol: [each.horizon for each in many] for symbol, many in found.items()} == {
        "AAA": [1],
        "BBB": [1],
        "CCC": [1],
    }
    due = [outcome_of(each) for many in found.values() for each in many]
    added, head = await ledger.append_outcomes(MARKET, due, close_of(day + 1))
    assert (added, head.count) == (3, 12)
    assert await ledger.append_outcomes(MARKET, due, close_of(day + 2)) == (0, head)
    assert await ledger.open_forecasts(MARKET, day + 1, day + 2) == {}
    revisable = await ledger.open_forecasts(MARKET, day + 1, day + 1)
    (first,) = revisable["AAA"]
    assert (first.next_revision, first.recorded_move) == (1, due[0].log_move)
    revised = [outcome_of(first, 0.02), outcome_of(first._replace(next_revision=2), 0.03)]
    assert [each.kind for each in revised] == ["revised", "revised"]
    with pytest.raises(ValueError, match="too early"):
        await ledger.append_outcomes(MARKET, revised[1:], close_of(day + 2))
    added, head = await ledger.append_outcomes(MARKET, revised, close_of(day + 2))
    assert (added, head.count) == (2, 14)
    (first,) = (await ledger.open_forecasts(MARKET, day + 1, day + 1))["AAA"]
    assert first.next_revision == 3
    assert first.recorded_move == pytest.approx(math.log(1.03))
    with pytest.raises(ValueError, match="row 10 is no forecast"):
        await ledger.append_outcomes(MARKET, [outcome_of(open_forecast(10))], close_of(day))


async def test_who_does_not_hold_the_lease_appends_nothing(database: Database) -> None:
    ledger = Ledger(database, Lease(database, schema.leases, "work"))
    with pytest.raises(LeaseLostError):
        await ledger.append(MARKET, batch_of(FIRST_DAY), close_of(FIRST_DAY))
    assert (await ledger.head(MARKET)).count == 0


async def test_many_writers_at_once_make_one_chain(ledger: Ledger) -> None:
    days = [FIRST_DAY + number % 5 for number in range(20)]  # each four times
    await asyncio.gather(*(ledger.append(MARKET, batch_of(day), close_of(day)) for day in days))
    verification = await ledger.verify(MARKET)
    assert verification.fault is None
    assert verification.head.count == 45


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"p_up": 1.5}, "p_up"),
        ({"p_up": float("nan")}, "p_up must be a finite"),
        ({"reference_close": 0.0}, "reference_close"),
        ({"quantiles": (0.1,) * 6 + (0.0,)}, "must not fall"),
        ({"quantiles": (0.1,) * 6}, "shorter|longer"),
        ({"quantiles": (0.1,) * 6 + (float("inf"),)}, "q95 must be a finite"),
        ({"inputs_hash": b"short"}, "inputs_hash"),
        ({"target_day": 20_000}, "after the as-of"),
        ({"model_version": "x" * 65}, "model_version"),
        ({"symbol": "A\x00"}, "symbol"),
        ({"yardsticks": replace(YARDSTICKS, sigma=0.0)}, "sigma must be above 0"),
        ({"yardsticks": replace(YARDSTICKS, base_rate=1.1)}, "base_rate"),
        ({"yardsticks": replace(YARDSTICKS, rank_score=float("nan"))}, "finite"),
        ({"yardsticks": replace(YARDSTICKS, baselines=YARDSTICKS.baselines[:2])}, "baselines"),
        ({"deadline": datetime(2024, 1, 1)}, "time zone"),  # noqa: DTZ001 - what is refused
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        replace(forecast_of("AAA", FIRST_DAY), **changes).columns()


def test_yardsticks_are_packed_as_doubles_one_after_the_other() -> None:
    packed = YARDSTICKS.packed()
    numbers = struct.unpack(">24d", packed)
    assert numbers[:3] == (YARDSTICKS.sigma, YARDSTICKS.base_rate, YARDSTICKS.rank_score)
    assert numbers[3:10] + numbers[10:17] + numbers[17:] == sum(YARDSTICKS.baselines, ())
    assert Yardsticks.unpacked(packed) == YARDSTICKS
    many = unpack_all([packed, None])
    assert tuple(many[0]) == numbers
    assert np.isnan(many[1]).all()
    with pytest.raises(ValueError, match="192 bytes, not 184"):
        Yardsticks.unpacked(packed[:-8])


async def test_a_batch_names_nothing_twice(ledger: Ledger) -> None:
    twice = [forecast_of("AAA", FIRST_DAY)] * 2
    with pytest.raises(ValueError, match="twice"):
        await ledger.append(MARKET, twice, close_of(FIRST_DAY))


async def test_the_same_rows_have_the_same_head_in_every_database(ledger: Ledger) -> None:
    await fill(ledger)
    missed = missed_of("DDD", FIRST_DAY)
    await ledger.append(MARKET, [missed], missed.deadline)
    head = await ledger.head(MARKET)
    assert str(head) == HEAD


async def test_a_ledger_from_before_yardsticks_stays_whole(
    ledger: Ledger, database: Database
) -> None:
    """Its rows and its head are those that version 1 wrote; new rows follow in version 2."""
    await fill(ledger)
    missed = missed_of("DDD", FIRST_DAY)
    await ledger.append(MARKET, [missed], missed.deadline)

    def move(connection: Connection, turn: Callable[[Config, str], None], to: str) -> None:
        config = Config()
        config.set_main_option("script_location", "prediction_svc:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        turn(config, to)

    def columns(connection: Connection) -> set[str]:
        return {column["name"] for column in inspect(connection).get_columns("forecasts")}

    await database.write(partial(move, turn=command.downgrade, to="0003"))
    assert "yardsticks" not in await database.read(columns)
    await database.write(partial(move, turn=command.upgrade, to="head"))
    assert (await ledger.verify(MARKET, ExpectedHead.parse(HEAD))).fault is None
    assert str(await ledger.head(MARKET)) == HEAD
    day = FIRST_DAY + 3
    await ledger.append(MARKET, [judged_of("AAA", day), forecast_of("BBB", day)], close_of(day))
    assert (await ledger.verify(MARKET, ExpectedHead.parse(HEAD))).fault is None
    with pytest.raises(DBAPIError, match="ledger"):
        await database.write(lambda connection: connection.execute(delete(forecasts)))


HEAD = "9ebf16bedbe5e6e4a954bab637dd0648026c4f4150315a16aa0eb9bf2ae00200@34"


@pytest.mark.parametrize("judged", [False, True])
async def test_anybody_can_hash_a_row_again(
    ledger: Ledger, database: Database, judged: bool
) -> None:
    """From what the documentation says of the encoding, without the code that writes it."""
    make = judged_of if judged else forecast_of
    batch = [make(symbol, FIRST_DAY) for symbol in ("AAA", "BBB")]
    await ledger.append(MARKET, batch, close_of(FIRST_DAY))
    row = (
        await database.read(
            lambda connection: connection.execute(
                select(forecasts).where(forecasts.c.number == 2)
            ).mappings()
        )
    ).one()
    names = (
        "market_id number kind symbol horizon as_of_day target_day target_inferred issue_micros"
        " deadline_micros forecaster model_version inputs_hash actions_version currency_code"
        " reference_close q05 q10 q25 q50 q75 q90 q95 p_up expected_move reason"
    )
    text = f"foretick forecasts {2 if judged else 1}\n"
    for name in [*names.split(), *["yardsticks"] * judged]:
        value = row[name]
        if isinstance(value, str):
            said = f'"{value}"'
        elif isinstance(value, bytes):
            said = value.hex()
        else:
            said = value.hex() if isinstance(value, float) else str(value)
        text += f"{name}={said}\n"
    assert row["row_hash"] == sha256(row["prev_hash"] + text.encode()).digest()


async def test_a_head_is_of_both_tables(ledger: Ledger, database: Database) -> None:
    await fill(ledger, sessions=2)
    counts = await database.read(
        lambda connection: [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (forecasts, outcomes)
        ]
    )
    assert counts == [18, 3]
    assert (await ledger.head(MARKET)).count == 21
