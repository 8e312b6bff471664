"""What the loop does as one replica of several, with replicas of the market before it."""

import asyncio
import dataclasses
from typing import Any

import pytest

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from prediction_svc.backtesting import score_market
from prediction_svc.batches import forecast, survey
from prediction_svc.trainings import TrainingState

Fixture = Any


async def test_who_takes_over_does_nothing_that_is_done(turns: Fixture) -> None:
    edition = await turns.finished()
    reads, published = turns.market.reads, len(turns.editions.published)
    turns.take_over()
    await turns.turn()
    await turns.turn()
    assert turns.market.reads == reads
    assert turns.training._task is turns.judge._task is None
    # stored once more, for the other replicas to turn to this market
    assert turns.editions.published[published:] == [edition]
    calls = turns.workers.calls.copy()
    turns.market.session = "2021-08-16"
    await turns.turn()
    await turns.rest()
    assert turns.market.reads == reads + 2
    assert set(turns.forecasters.values()) == {True}
    assert turns.workers.calls - calls == {survey: 1, forecast: 1, score_market: 1}
    assert turns.edition != edition


async def test_who_takes_over_finds_what_came_while_nobody_looked(turns: Fixture) -> None:
    turns.market.unknown = {"S1"}
    await turns.turn()
    turns.seconds = 100.0
    await turns.finished()
    turns.market.unknown = set()
    turns.take_over()
    await turns.turn()
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_who_takes_over_finishes_what_was_begun(turns: Fixture) -> None:
    await turns.turn()
    await turns.rest()
    turns.models.kept.pop()  # three of four were trained when the process ended
    assert not turns.edition.finished
    turns.take_over()
    await turns.finished()
    assert len(turns.models.kept) == 4


async def test_an_edition_of_another_recipe_is_made_anew(turns: Fixture) -> None:
    await turns.finished()
    turns.recipe = dataclasses.replace(turns.recipe, rounds=9)
    turns.models.kept = []
    turns.take_over()
    await turns.turn()
    assert turns.edition.recipe_hash == turns.recipe.fingerprint()


async def test_a_clock_that_is_behind_for_a_moment_changes_nothing(turns: Fixture) -> None:
    edition = await turns.finished()
    reads = turns.market.reads
    for turns.seconds in range(0, 60, 2):
        turns.market.session = "2021-08-13" if turns.seconds % 4 else "2021-08-12"
        await turns.turn()
    assert turns.market.reads == reads
    turns.issuer._is_made = False  # not even where forecasts are to be made anew
    turns.market.session = "2021-08-12"
    await turns.turn()
    assert turns.edition == edition


async def test_a_market_that_was_set_back_is_followed(turns: Fixture) -> None:
    await turns.finished()
    turns.market.session = "2021-08-12"
    turns.seconds = 100.0
    await turns.turn()
    turns.seconds = 114.9
    await turns.turn()
    assert turns.edition.closed_sessions == {("XTST", "2021-08-13")}
    turns.seconds = 115.0
    await turns.turn()
    assert turns.edition.closed_sessions == {("XTST", "2021-08-12")}
    turns.market.session = "2021-08-13"
    await turns.turn()
    assert turns.edition.closed_sessions == {("XTST", "2021-08-13")}


async def test_bars_from_before_the_close_are_asked_for_again(
    turns: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    turns.market.behind = {"S1"}
    await turns.turn()
    assert set(turns.forecasters) == {"S0", "S1"}
    assert "no prices in time of S1; again soon" in caplog.messages
    reads = turns.market.reads
    turns.market.behind = set()
    await turns.turn()
    assert turns.market.reads == reads + 1


async def test_without_the_database_it_goes_on_when_that_is_back(
    turns: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    edition = await turns.finished()
    turns.editions.error = DatabaseUnavailableError("away")
    turns.market.session = "2021-08-16"
    for _ in range(3):
        assert await turns.turn() == 0.5
    assert turns.edition == edition
    assert [r.message for r in caplog.records if r.levelname != "INFO"] == []
    turns.editions.error = None
    await turns.turn()
    assert turns.edition.closed_sessions == {("XTST", "2021-08-16")}


async def test_who_has_lost_the_lease_stops(
    turns: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    edition = await turns.finished()
    turns.take_over()
    turns.editions.error = LeaseLostError("work")
    turns.market.session = "2021-08-16"
    await asyncio.wait_for(turns.issuer.run(), 10)
    assert turns.edition == edition
    assert [record.message for record in caplog.records][-1] == (
        "forecasts are issued by another process now"
    )
    assert not [record for record in caplog.records if record.exc_info]


async def test_training_that_lost_the_lease_stops(
    turns: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    turns.models.away = 0
    await turns.turn()
    turns.trainings.error = LeaseLostError("work")
    await turns.rest()
    assert turns.trainings.status.state is not TrainingState.FAILED
    assert not [record for record in caplog.records if record.exc_info]
