"""What the loop does when parts of it fail; time and the market are the test's."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from prediction_svc import jobs
from prediction_svc.histories import History
from prediction_svc.issuing import Issuer
from prediction_svc.market import (
    TIMED_OUT,
    MarketClock,
    MarketUnavailableError,
    Refusal,
    SymbolBars,
    Universe,
)
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.scores import Score
from prediction_svc.training import Training, TrainingState
from prediction_svc.workers import WorkerDiedError

MakeHistory = Any


class FakeMarket:
    def __init__(self, histories: list[History]) -> None:
        self.histories = {history.symbol: history for history in histories}
        self.session = "2021-08-13"
        self.away = False
        self.timed_out: set[str] = set()
        self.reads = 0

    async def clock(self) -> MarketClock:
        if self.away:
            raise MarketUnavailableError("away")
        now = datetime(2021, 8, 13, 22, tzinfo=UTC)
        return MarketClock("demo:1", now, frozenset({("XTST", self.session)}), 30.0)

    async def universe(self) -> Universe:
        return Universe("demo:1", frozenset(self.histories))

    async def bars(self, symbol: str) -> SymbolBars | Refusal:
        self.reads += 1
        if symbol in self.timed_out:
            return Refusal(TIMED_OUT, "Too late.")
        return SymbolBars("demo:1", self.histories[symbol], "USD", 2, "2021-08-16", False)


class InProcess:
    """Runs work at once; dies as often as it is told to."""

    def __init__(self) -> None:
        self.deaths: dict[Callable[..., Any], int] = {}

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.deaths.get(function, 0):
            self.deaths[function] -= 1
            raise WorkerDiedError("a worker process died")
        return function(*args)


class KeptModels:
    def __init__(self) -> None:
        self.kept: list[TrainedModel] = []
        self.scores: dict[str, Mapping[str, Score]] = {}
        self.full = False

    async def load(self, market_id: str) -> list[TrainedModel]:
        return self.kept

    async def add(self, market_id: str, model: TrainedModel) -> None:
        if self.full:
            raise OSError("disk full")
        self.kept.append(model)

    async def record_scores(
        self, market_id: str, version: str, scores: Mapping[str, Score]
    ) -> None:
        self.scores[version] = scores


class Turns:
    """An issuer that is turned by hand."""

    def __init__(self, market: FakeMarket, recipe: Recipe) -> None:
        self.market, self.workers, self.models = market, InProcess(), KeptModels()
        self.issuer = Issuer(market, self.workers, self.models, recipe)  # type: ignore[arg-type]

    async def turn(self) -> float:
        return await self.issuer._turn()

    async def trained(self) -> None:
        task = self.issuer.training._task
        assert task is not None
        await task
        await self.issuer._wait(0.05)

    @property
    def forecasters(self) -> dict[str, bool]:
        """Whether each symbol's forecast was learned."""
        edition = self.issuer.book.edition
        assert edition is not None
        return {s: bool(issued.made.model_version) for s, issued in edition.forecasts.items()}


@pytest.fixture
def turns(make_history: MakeHistory, quick_recipe: Recipe) -> Turns:
    histories = [make_history(f"S{i}", sessions=700) for i in range(2)]
    return Turns(FakeMarket(histories), quick_recipe)


async def test_it_asks_again_shortly_after_the_next_change(turns: Turns) -> None:
    assert await turns.turn() == 2.0
    assert turns.forecasters == {"S0": False, "S1": False}
    await turns.trained()
    await turns.turn()
    assert turns.forecasters == {"S0": True, "S1": True}
    assert set(turns.models.scores[turns.models.kept[0].version]) == {"S0", "S1"}
    reads = turns.market.reads
    await turns.turn()
    assert turns.market.reads == reads


async def test_a_symbol_that_timed_out_is_asked_for_again(turns: Turns) -> None:
    turns.market.timed_out = {"S0"}
    await turns.turn()
    assert set(turns.forecasters) == {"S1"}
    assert turns.issuer.book.find("S0") == Refusal(TIMED_OUT, "Too late.")
    turns.market.timed_out = set()
    await turns.turn()
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_when_all_time_out_the_old_forecasts_stay(turns: Turns) -> None:
    await turns.turn()
    turns.market.session = "2021-08-16"
    turns.market.timed_out = {"S0", "S1"}
    await turns.turn()
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_an_absent_market_is_logged_once(
    turns: Turns, caplog: pytest.LogCaptureFixture
) -> None:
    await turns.turn()
    turns.market.away = True
    for _ in range(3):
        assert await turns.turn() == 2.0
    assert set(turns.forecasters) == {"S0", "S1"}
    assert [record.message for record in caplog.records].count(
        "the market does not answer (away); forecasts stay as they are"
    ) == 1


async def test_dead_workers_are_tried_again_ever_later(turns: Turns) -> None:
    turns.workers.deaths[jobs.forecast_without_learning] = 6
    assert [await turns.turn() for _ in range(6)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert await turns.turn() == 2.0
    assert set(turns.forecasters) == {"S0", "S1"}


async def test_training_outlives_dead_workers(turns: Turns, make_history: MakeHistory) -> None:
    pauses: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        assert training.state is TrainingState.FAILED

    recipe = turns.issuer._recipe
    training = Training(turns.workers, turns.models, recipe, done.set, sleep)  # type: ignore[arg-type]
    await training.open("demo:1")
    turns.workers.deaths[jobs.train_model] = 3
    histories = list(turns.market.histories.values())
    assert training.serving_models(histories) == []
    training.train_missing(histories)
    await asyncio.wait_for(done.wait(), 10)
    assert pauses == [1.0, 2.0, 4.0]
    assert training.state is TrainingState.IDLE
    fits = [model.fit.session_date.isoformat() for model in turns.models.kept]
    assert fits == ["2021-07-01", "2021-01-01", "2020-07-01", "2020-01-01"]
    assert len(training.serving_models(histories)) == 4


async def test_training_that_fails_says_so_and_forecasts_go_on(turns: Turns) -> None:
    turns.models.full = True
    await turns.turn()
    await turns.trained()
    assert turns.issuer.training.state is TrainingState.FAILED
    assert turns.issuer.training.message == "OSError: disk full"
    turns.models.full = False
    turns.market.session = "2021-08-16"
    await turns.turn()
    await turns.trained()
    await turns.turn()
    assert turns.forecasters == {"S0": True, "S1": True}


async def test_a_new_fixed_date_is_answered_by_the_models_before_it(
    turns: Turns, make_history: MakeHistory
) -> None:
    whole = dict(turns.market.histories)
    before = {s: history.first(666) for s, history in whole.items()}  # until 28 June
    turns.market.histories = before
    await turns.turn()
    await turns.trained()
    await turns.turn()
    edition = turns.issuer.book.edition
    assert edition is not None
    assert edition.model is not None
    assert edition.model.fit.session_date.isoformat() == "2021-01-01"
    turns.market.histories, turns.market.session = whole, "2021-08-16"
    await turns.turn()
    assert turns.issuer.book.edition is not None
    assert turns.issuer.book.edition.model == edition.model
    await turns.trained()
    await turns.turn()
    assert turns.issuer.book.edition.model is not None
    assert turns.issuer.book.edition.model.fit.session_date.isoformat() == "2021-07-01"
    assert len(turns.models.kept) == 4


async def test_a_short_market_is_forecast_without_learning(
    make_history: MakeHistory, quick_recipe: Recipe
) -> None:
    histories = [make_history(f"S{i}", sessions=150) for i in range(3)]
    turns = Turns(FakeMarket(histories), quick_recipe)
    await turns.turn()
    await turns.trained()
    await turns.turn()
    assert turns.models.kept == []
    assert set(turns.forecasters.values()) == {False}
    assert turns.issuer.training.state is TrainingState.IDLE
