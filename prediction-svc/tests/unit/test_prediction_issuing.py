"""What the loop does when parts of it fail."""

from typing import Any

import pytest

from prediction_svc import jobs
from prediction_svc.market import TIMED_OUT, Refusal
from prediction_svc.trainings import TrainingState

Fixture = Any


async def test_it_asks_again_shortly_after_the_next_change(turns: Fixture) -> None:
    assert await turns.turn() == 2.0
    assert turns.forecasters == {"S0": False, "S1": False}
    await turns.trained()
    await turns.turn()
    assert turns.forecasters == {"S0": True, "S1": True}
    reads = turns.market.reads
    await turns.turn()
    assert turns.market.reads == reads


async def test_a_symbol_that_timed_out_is_asked_for_again(turns: Fixture) -> None:
    turns.market.timed_out = {"S0"}
    await turns.turn()
    assert set(turns.forecasters) == {"S1"}
    assert turns.book.find("S0") == Refusal(TIMED_OUT, "Too late.")
    turns.market.timed_out = set()
    await turns.turn()
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_when_all_time_out_the_old_forecasts_stay(turns: Fixture) -> None:
    await turns.turn()
    turns.market.session = "2021-08-16"
    turns.market.timed_out = {"S0", "S1"}
    await turns.turn()
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_an_absent_market_is_logged_once(
    turns: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    await turns.turn()
    turns.market.away = True
    for _ in range(3):
        assert await turns.turn() == 2.0
    assert set(turns.forecasters) == {"S0", "S1"}
    assert [record.message for record in caplog.records].count(
        "the market does not answer (away); forecasts stay as they are"
    ) == 1


async def test_dead_workers_are_tried_again_ever_later(turns: Fixture) -> None:
    turns.workers.deaths[jobs.forecast_without_learning] = 6
    assert [await turns.turn() for _ in range(6)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert await turns.turn() == 2.0
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_training_that_fails_says_so_and_forecasts_go_on(turns: Fixture) -> None:
    turns.models.full = True
    await turns.turn()
    await turns.trained()
    assert turns.trainings.status.state is TrainingState.FAILED
    assert turns.trainings.status.message == "OSError: disk full"
    turns.models.full = False
    turns.market.session = "2021-08-16"
    await turns.turn()
    await turns.trained()
    await turns.turn()
    assert turns.forecasters == {"S0": True, "S1": True}


async def test_a_new_fixed_date_is_answered_by_the_models_before_it(
    turns: Fixture, make_history: Fixture
) -> None:
    whole = dict(turns.market.histories)
    before = {s: history.first(666) for s, history in whole.items()}  # until 28 June
    turns.market.histories = before
    await turns.turn()
    await turns.trained()
    await turns.turn()
    edition = turns.book.edition
    assert edition is not None
    assert edition.model is not None
    assert edition.model.fit_date.isoformat() == "2021-01-01"
    turns.market.histories, turns.market.session = whole, "2021-08-16"
    await turns.turn()
    assert turns.book.edition is not None
    assert turns.book.edition.model == edition.model
    await turns.trained()
    await turns.turn()
    assert turns.book.edition.model is not None
    assert turns.book.edition.model.fit_date.isoformat() == "2021-07-01"
    assert len(turns.models.kept) == 4


async def test_a_short_market_is_forecast_without_learning(
    make_history: Fixture, make_turns: Fixture
) -> None:
    histories = [make_history(f"S{i}", sessions=150) for i in range(3)]
    turns = make_turns(histories)
    await turns.turn()
    await turns.trained()
    await turns.turn()
    assert turns.models.kept == []
    assert set(turns.forecasters.values()) == {False}
    assert turns.trainings.status.state is TrainingState.IDLE
