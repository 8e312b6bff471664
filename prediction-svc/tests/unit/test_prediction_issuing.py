"""What the loop does when a session has closed, and when parts of it fail."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from prediction_svc import batches
from prediction_svc.backtesting import backtest_market
from prediction_svc.market import TIMED_OUT, Refusal
from prediction_svc.scores import Score
from prediction_svc.track_record import Basis
from prediction_svc.trainings import TrainingState

Fixture = Any


async def test_no_learning_answers_at_once_and_models_once_they_are_backtested(
    turns: Fixture,
) -> None:
    assert await turns.turn() == 0.5
    assert turns.forecasters == {"S0": False, "S1": False}
    assert not turns.edition.finished
    edition = await turns.finished()
    assert turns.forecasters == {"S0": True, "S1": True}
    versions = tuple(model.version for model in reversed(turns.models.kept))
    assert edition.promotion is not None
    assert edition.promotion.model_versions == versions
    assert [set(each) for each in edition.promotion.scores.values()] == 3 * [{"S0", "S1"}]
    assert set(edition.forecasts) == {1, 5, 20}
    assert set(edition.standing) == {1, 5, 20}
    assert turns.records.written == [edition]
    assert set(turns.track_records.kept["demo:1", Basis.BACKTEST]) == {1, 5, 20}
    reads, calls = turns.market.reads, turns.workers.calls.copy()
    await turns.turn()
    assert (turns.market.reads, turns.workers.calls) == (reads, calls)


async def test_the_backtest_is_made_once_a_promotion(turns: Fixture) -> None:
    await turns.finished()
    tested = turns.workers.calls[backtest_market]
    for turns.market.session in ("2021-08-16", "2021-08-17"):
        await turns.turn()
        await turns.rest()
    assert turns.workers.calls[backtest_market] == tested == 2  # without learning, and with models
    assert turns.edition.closed_sessions == {("XTST", "2021-08-17")}
    assert set(turns.forecasters.values()) == {True}


async def test_a_close_wakes_the_loop(turns: Fixture) -> None:
    turns.issuer._poll_seconds = 100.0
    running = asyncio.create_task(turns.issuer.run())
    await _until(lambda: turns.editions.published and turns.edition.finished)
    turns.market.session = "2021-08-16"
    turns.market.closed.set()
    await _until(lambda: turns.edition.closed_sessions == {("XTST", "2021-08-16")})
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _until(reached: Any) -> None:
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0.01)


async def test_a_symbol_whose_history_comes_later_is_forecast_by_itself(turns: Fixture) -> None:
    turns.market.unknown = {"S1"}
    await turns.turn()
    assert set(turns.forecasters) == {"S0"}
    reads, before = turns.market.reads, turns.edition.next_forecasts["S0"]
    turns.market.unknown = set()
    await turns.turn()
    assert set(turns.forecasters) == {"S0", "S1"}
    assert turns.market.reads == reads + 1
    assert turns.edition.next_forecasts["S0"] is before
    assert turns.edition.known == {"S0", "S1"}


async def test_a_growing_market_is_learned_from_when_it_has_grown(turns: Fixture) -> None:
    turns.market.unknown = {"S1"}
    turns.market.histories |= {"S2": replace(turns.market.histories["S0"], symbol="S2")}
    turns.market.unknown |= {"S2"}
    await turns.turn()
    turns.market.unknown = {"S2"}
    turns.seconds = 100.0
    await turns.turn()
    turns.seconds = 129.0
    await turns.turn()
    assert turns.training._task is turns.judge._task is None
    turns.seconds = 130.0
    await turns.turn()
    assert turns.training._task is not None


async def test_who_comes_after_the_backtest_is_backtested_too(turns: Fixture) -> None:
    turns.market.unknown = {"S1"}
    await turns.turn()
    turns.seconds = 100.0
    edition = await turns.finished()
    assert set(edition.promotion.scores[1]) == {"S0"}
    turns.market.unknown = set()
    await turns.turn()
    turns.seconds = 200.0
    edition = await turns.finished()
    assert set(edition.promotion.scores[1]) == {"S0", "S1"}
    assert turns.edition.next_forecasts["S1"].score == edition.promotion.scores[1]["S1"]


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
    assert turns.edition.closed_sessions == {("XTST", "2021-08-13")}


async def test_an_absent_market_is_logged_once(
    turns: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    await turns.turn()
    turns.market.away = True
    for _ in range(3):
        assert await turns.turn() == 0.5
    assert set(turns.forecasters) == {"S0", "S1"}
    assert [record.message for record in caplog.records].count(
        "the market does not answer (away); forecasts stay as they are"
    ) == 1


async def test_dead_workers_are_tried_again_ever_later(turns: Fixture) -> None:
    turns.workers.deaths[batches.forecast] = 8
    assert [await turns.turn() for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert await turns.turn() == 0.5
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_training_that_fails_says_so_and_forecasts_go_on(turns: Fixture) -> None:
    whole = dict(turns.market.histories)
    turns.market.histories = {s: history.first(699) for s, history in whole.items()}
    turns.models.full = True
    await turns.turn()
    await turns.rest()
    assert turns.trainings.status.state is TrainingState.FAILED
    assert turns.trainings.status.message == "OSError: disk full"
    turns.models.full = False
    await turns.turn()
    assert turns.trainings.status.state is TrainingState.FAILED  # until the next session
    turns.market.histories, turns.market.session = whole, "2021-08-16"
    await turns.finished()
    assert turns.forecasters == {"S0": True, "S1": True}


async def test_a_new_fixed_date_is_answered_by_the_models_before_it(turns: Fixture) -> None:
    whole = dict(turns.market.histories)
    before = {s: history.first(666) for s, history in whole.items()}  # until 28 June
    turns.market.histories = before
    edition = await turns.finished()
    assert edition.model is not None
    assert edition.model.fit_date.isoformat() == "2021-01-01"
    turns.market.histories, turns.market.session = whole, "2021-08-16"
    await turns.turn()
    assert turns.edition.model == edition.model
    assert not turns.edition.finished
    edition = await turns.finished()
    assert edition.model is not None
    assert edition.model.fit_date.isoformat() == "2021-07-01"
    assert len(turns.models.kept) == 4


async def test_a_short_market_is_forecast_without_learning(
    make_history: Fixture, make_turns: Fixture
) -> None:
    turns = make_turns([make_history(f"S{i}", sessions=150) for i in range(3)])
    await turns.finished()
    assert turns.models.kept == []
    assert set(turns.forecasters.values()) == {False}
    assert turns.trainings.status.state is TrainingState.IDLE


async def test_a_backtest_that_breaks_is_made_after_the_next_close(
    turns: Fixture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("it breaks")

    with monkeypatch.context() as breaking:
        breaking.setattr("prediction_svc.judging.backtest_market", broken)
        await turns.turn()
        await turns.rest()
    assert "forecasts were not judged; again after the next close" in caplog.messages
    turns.market.session = "2021-08-16"
    await turns.finished()
    assert set(turns.forecasters.values()) == {True}


async def test_live_scores_are_told_where_there_are_enough_sessions(turns: Fixture) -> None:
    edition = await turns.finished()
    live = Score(2.5, 1.0, 4.0, 150)
    few = Score(None, None, None, 149)
    told = replace(edition, live_scores={1: {"S0": live, "S1": few}}).scored()
    one, other = told.next_forecasts["S0"], told.next_forecasts["S1"]
    assert (one.score, one.basis) == (live, Basis.LIVE)
    assert other is edition.next_forecasts["S1"]
    assert other.basis is Basis.BACKTEST


async def test_an_unlearned_forecast_has_no_score_of_the_models(turns: Fixture) -> None:
    edition = await turns.finished()
    unlearned = replace(edition.next_forecasts["S0"], model_version="")
    told = replace(edition, forecasts={1: {"S0": unlearned}}).scored()
    assert told.next_forecasts["S0"].score.value is None
    assert edition.next_forecasts["S0"].score.value is not None


async def test_a_direction_goes_on_until_the_live_record_decides_against_it(
    turns: Fixture,
) -> None:
    edition = await turns.finished()
    promotion = replace(edition.promotion, directions=frozenset({"KEPT", "LOST"}))
    live = {"LOST": False, "WON": True, "NEVER": False}
    told = replace(edition, promotion=promotion, live_directions=live)
    assert told.directions == {"KEPT", "WON"}
