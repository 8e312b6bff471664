"""An issuer whose time, market, workers and stores are the test's."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from foretick_rpc.errors import DatabaseUnavailableError
from prediction_svc.book import Book, Edition, IssuedForecast
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
from prediction_svc.outcomes import TradedBars
from prediction_svc.recipe import Recipe
from prediction_svc.trainings import TrainingState, TrainingStatus
from prediction_svc.workers import Progress, WorkerDiedError


class FakeMarket:
    def __init__(self, histories: list[History]) -> None:
        self.histories = {history.symbol: history for history in histories}
        self.session = "2021-08-13"
        self.away = False
        self.timed_out: set[str] = set()
        self.behind: set[str] = set()
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
        target = self.session if symbol in self.behind else "2021-08-31"
        return bars_of(self.histories[symbol], target)


def bars_of(history: History, target: str) -> SymbolBars:
    """What the market says of a symbol whose next session is `target`, 9:30 to 16:00."""
    opening = datetime.fromisoformat(f"{target}T09:30:00+00:00")
    nothing = np.zeros(len(history))
    return SymbolBars(
        market_id="demo:1",
        exchange_code="XTST",
        history=history,
        currency_code="USD",
        price_decimals=2,
        next_session_date=target,
        next_session_inferred=False,
        next_open=opening,
        next_close=opening + timedelta(hours=6.5),
        traded=TradedBars(history.days, history.closes, history.volumes, nothing, nothing + 1),
    )


class InProcess:
    """Runs work at once; dies as often as it is told to."""

    def __init__(self) -> None:
        self.deaths: dict[Callable[..., Any], int] = {}

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.deaths.get(function, 0):
            self.deaths[function] -= 1
            raise WorkerDiedError("a worker process died")
        return function(*args)

    async def train(
        self, function: Callable[..., Any], *args: Any, told: Callable[[Progress], None]
    ) -> Any:
        return await self.run(function, *args, lambda share, stage: told(Progress(stage, share)))


class KeptTrainings:
    """The row in memory, where nobody asks for anything."""

    def __init__(self) -> None:
        self.status = TrainingStatus()
        self.changed = asyncio.Event()
        self.error: Exception | None = None

    def _set(self, **values: Any) -> TrainingStatus:
        if self.error:
            raise self.error
        self.status = replace(self.status, **values)
        return self.status

    async def open(self, market_id: str) -> TrainingStatus:
        return self._set(market_id=market_id)

    async def begin(self, market_id: str) -> int:
        return self._set(state=TrainingState.RUNNING, message="").asked

    async def tell(self, market_id: str, progress: Progress, problem: str = "") -> None:
        state = TrainingState.FAILED if problem else TrainingState.RUNNING
        self._set(state=state, stage=progress.stage, fraction=progress.fraction, message=problem)

    async def end(
        self, market_id: str, *, model_version: str = "", problem: str = "", answered: int = 0
    ) -> None:
        state = TrainingState.FAILED if problem else TrainingState.IDLE
        self._set(state=state, message=problem, model_version=model_version)


class KeptModels:
    def __init__(self) -> None:
        self.kept: list[TrainedModel] = []
        self.full = False
        self.away = 0

    async def load(self, market_id: str, recipe: Recipe) -> list[TrainedModel]:
        return self.kept

    async def add(self, market_id: str, model: TrainedModel, recipe: Recipe) -> None:
        if self.full:
            raise OSError("disk full")
        if self.away:
            raise DatabaseUnavailableError("away")
        self.kept.append(model)


class KeptEditions:
    """Kept in memory and served at once; `error` is what writing fails with."""

    def __init__(self) -> None:
        self.book = Book()
        self.published: list[Edition] = []
        self.error: Exception | None = None

    async def kept(self, market_id: str) -> Edition | None:
        return next((e for e in reversed(self.published) if e.market_id == market_id), None)

    async def publish(self, edition: Edition) -> None:
        if self.error:
            raise self.error
        self.published.append(edition)
        self.book.edition = edition


class KeptRecords:
    """Numbers what it is given to write down, in memory."""

    def __init__(self) -> None:
        self.written: list[Edition] = []
        self.error: Exception | None = None

    async def write_down(
        self,
        edition: Edition,
        bars: Mapping[str, SymbolBars],
        clock: MarketClock,
        earlier: Mapping[str, IssuedForecast],
    ) -> Edition:
        if self.error:
            raise self.error
        assert set(edition.forecasts) <= set(bars)
        self.written.append(edition)
        return edition

    async def resolve(
        self, market_id: str, bars: Mapping[str, SymbolBars], market_time: datetime
    ) -> int:
        return 0


class Turns:
    """An issuer that is turned by hand."""

    def __init__(self, market: FakeMarket, recipe: Recipe) -> None:
        self.market, self.workers = market, InProcess()
        self.models, self.editions, self.records = KeptModels(), KeptEditions(), KeptRecords()
        self.trainings = KeptTrainings()
        self.recipe = recipe
        self.seconds = 0.0
        self.issuer = self.new_issuer()

    def new_issuer(self) -> Issuer:
        """As of a process that takes over."""
        return Issuer(
            self.market,
            self.workers,  # type: ignore[arg-type]
            self.models,
            trainings=self.trainings,
            editions=self.editions,
            records=self.records,
            recipe=self.recipe,
            monotonic=lambda: self.seconds,
        )

    @property
    def book(self) -> Book:
        return self.editions.book

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
        edition = self.book.edition
        assert edition is not None
        return {s: bool(issued.made.model_version) for s, issued in edition.forecasts.items()}

    async def finished(self) -> Edition:
        """The edition after which nothing is left to do."""
        await self.turn()
        await self.trained()
        await self.turn()
        edition = self.book.edition
        assert edition is not None
        assert edition.finished
        return edition


MakeTurns = Callable[[list[History]], Turns]


@pytest.fixture
def make_turns(quick_recipe: Recipe) -> MakeTurns:
    """An issuer of the symbols of some histories."""
    return lambda histories: Turns(FakeMarket(histories), quick_recipe)


@pytest.fixture
def turns(make_history: Callable[..., History], make_turns: MakeTurns) -> Turns:
    """An issuer of two symbols, S0 and S1."""
    return make_turns([make_history(f"S{i}", sessions=700) for i in range(2)])
