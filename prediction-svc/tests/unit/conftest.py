"""An issuer whose time, market, workers and stores are the test's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from foretick_rpc.errors import DatabaseUnavailableError
from prediction_svc.backtesting import score_market
from prediction_svc.batches import Draft, RecordedTo
from prediction_svc.book import Book, Edition, Forecasts
from prediction_svc.forecasting import Standing
from prediction_svc.histories import History
from prediction_svc.issuing import Issuer
from prediction_svc.judging import Judge
from prediction_svc.market import (
    TIMED_OUT,
    Fetched,
    MarketClock,
    MarketUnavailableError,
    Progress,
    Refusal,
    SymbolBars,
)
from prediction_svc.metrics import Metrics
from prediction_svc.models import TrainedModel
from prediction_svc.outcomes import TradedBars
from prediction_svc.recipe import Recipe
from prediction_svc.track_record import Basis, TrackRecord
from prediction_svc.training import Training
from prediction_svc.trainings import TrainingState, TrainingStatus
from prediction_svc.workers import Progress as WorkProgress
from prediction_svc.workers import WorkerDiedError
from training_setting import Setting


class FakeMarket:
    """A market, and a reader of its bars."""

    def __init__(self, histories: list[History]) -> None:
        self.histories = {history.symbol: history for history in histories}
        self.session = "2021-08-13"
        self.away = False
        self.timed_out: set[str] = set()
        self.behind: set[str] = set()
        self.unknown: set[str] = set()
        self.reads = 0
        self.closed = asyncio.Event()

    async def clock(self) -> MarketClock:
        if self.away:
            raise MarketUnavailableError("away")
        now = datetime(2021, 8, 13, 22, tzinfo=UTC)
        return MarketClock("demo:1", now, frozenset({("XTST", self.session)}), 30.0)

    async def progress(self) -> Progress:
        known, total = len(self.histories) - len(self.unknown), len(self.histories)
        return Progress("demo:1", known, 0, total)

    async def closes(self) -> AsyncIterator[object]:
        while True:
            await self.closed.wait()
            self.closed.clear()
            yield "XTST", self.session

    def read(self, have: frozenset[str] = frozenset()) -> Fetched:
        known = self.histories.keys() - self.unknown
        bars, refusals = {}, {}
        for symbol in known - have:
            self.reads += 1
            if symbol in self.timed_out:
                refusals[symbol] = Refusal(TIMED_OUT, "Too late.")
            else:
                target = self.session if symbol in self.behind else "2021-08-31"
                bars[symbol] = bars_of(self.histories[symbol], target)
        if refusals and not bars:
            raise MarketUnavailableError("no history came in time")
        return Fetched("demo:1", frozenset(known), bars, refusals)


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
        next_session_days=np.busday_offset(np.datetime64(target), np.arange(20)).astype(np.int64),
        known_next_sessions=15,
        lost_session_days=np.empty(0, dtype=np.int64),
        next_open=opening,
        next_close=opening + timedelta(hours=6.5),
        traded=TradedBars(history.days, history.closes, history.volumes, nothing, nothing + 1),
    )


class InProcess:
    """Runs work at once; dies as often as it is told to."""

    def __init__(self) -> None:
        self.deaths: dict[Callable[..., Any], int] = {}
        self.calls: Counter[Callable[..., Any]] = Counter()
        # There is no ledger to score.
        self.answers: dict[Callable[..., Any], Any] = {score_market: {}}

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        self.calls[function] += 1
        if self.deaths.get(function, 0):
            self.deaths[function] -= 1
            raise WorkerDiedError("a worker process died")
        return self.answers[function] if function in self.answers else function(*args)

    async def train(
        self, function: Callable[..., Any], *args: Any, told: Callable[[WorkProgress], None]
    ) -> Any:
        return await self.run(
            function, *args, lambda fraction, stage: told(WorkProgress(stage, fraction))
        )


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


class KeptTrainings:
    """Where training is, in memory; `error` is what writing fails with."""

    def __init__(self) -> None:
        self.status = TrainingStatus()
        self.changed = asyncio.Event()
        self.error: Exception | None = None

    async def open(self, market_id: str) -> TrainingStatus:
        self._set(market_id=market_id)
        return self.status

    async def begin(self, market_id: str) -> int:
        self._set(state=TrainingState.RUNNING, message="")
        return self.status.asked

    async def tell(self, market_id: str, progress: WorkProgress, problem: str = "") -> None:
        state = TrainingState.FAILED if problem else TrainingState.RUNNING
        self._set(state=state, message=problem)

    async def end(
        self, market_id: str, *, model_version: str = "", problem: str = "", answered: int = 0
    ) -> None:
        state = TrainingState.FAILED if problem else TrainingState.IDLE
        self._set(state=state, message=problem, model_version=model_version, answered=answered)

    async def serve_recipe(self, market_id: str, recipe: Recipe, note: str) -> None:
        self._set(recipe=asdict(recipe), recipe_note=note)

    def _set(self, **values: Any) -> None:
        if self.error:
            raise self.error
        self.status = replace(self.status, **values)


class KeptEditions:
    """Kept in memory and served at once; `error` is what writing fails with."""

    def __init__(self) -> None:
        self.book = Book()
        self.published: list[Edition] = []
        self.error: Exception | None = None

    async def kept(self, market_id: str) -> Edition | None:
        return next((e for e in reversed(self.published) if e.market_id == market_id), None)

    async def publish(self, edition: Edition) -> Edition:
        if self.error:
            raise self.error
        self.published.append(edition)
        self.book.edition = edition
        return edition


class KeptRecords:
    """A ledger that keeps nothing but what it was given."""

    def __init__(self) -> None:
        self.written: list[Edition] = []
        self.error: Exception | None = None

    async def resolve(self, market_id: str, outcomes: Sequence[object], now: datetime) -> int:
        return 0

    async def advance(
        self, edition: Edition, groups: Mapping[str, str], recipe: Recipe
    ) -> tuple[dict[int, Standing], int]:
        return dict(edition.standing), edition.resolved_number

    async def recorded_to(self, market_id: str) -> RecordedTo:
        return {}

    async def write_down(
        self, edition: Edition, draft: Draft, market_time: datetime, earlier: Forecasts
    ) -> Edition:
        if self.error:
            raise self.error
        self.written.append(edition)
        return edition


class KeptTrackRecords:
    """Track records by market and basis."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, Basis], Mapping[int, TrackRecord]] = {}

    async def save(self, market_id: str, basis: Basis, records: Mapping[int, TrackRecord]) -> None:
        self.kept[market_id, basis] = records


class Turns:
    """An issuer that is turned by hand."""

    def __init__(self, market: FakeMarket, recipe: Recipe) -> None:
        self.market, self.workers = market, InProcess()
        self.models, self.editions, self.records = KeptModels(), KeptEditions(), KeptRecords()
        self.trainings, self.track_records = KeptTrainings(), KeptTrackRecords()
        self.recipe = recipe
        self.seconds = 0.0
        self.take_over()

    def take_over(self) -> None:
        """By another process."""
        changed = asyncio.Event()
        self.training = Training(
            self.workers,  # type: ignore[arg-type]
            self.market,
            self.models,  # type: ignore[arg-type]
            self.trainings,  # type: ignore[arg-type]
            self.recipe,
            metrics=Metrics(),
            done=changed.set,
        )
        self.judge = Judge(
            self.workers,  # type: ignore[arg-type]
            self.market,
            self.track_records,
            database_url="",
            done=changed.set,
        )
        self.issuer = Issuer(
            self.market,
            self.market,
            self.workers,  # type: ignore[arg-type]
            editions=self.editions,  # type: ignore[arg-type]
            records=self.records,  # type: ignore[arg-type]
            training=self.training,
            judge=self.judge,
            metrics=Metrics(),
            database_url=None,
            changed=changed,
            monotonic=lambda: self.seconds,
        )

    @property
    def book(self) -> Book:
        return self.editions.book

    @property
    def edition(self) -> Edition:
        assert self.book.edition is not None
        return self.book.edition

    async def turn(self) -> float:
        return await self.issuer._turn()

    async def rest(self) -> None:
        """Let what is under way in the background come to its end."""
        tasks = [task for task in (self.training._task, self.judge._task) if task is not None]
        await asyncio.gather(*tasks)

    @property
    def forecasters(self) -> dict[str, bool]:
        """Whether each symbol's forecast was learned."""
        forecasts = self.edition.next_forecasts
        return {s: bool(issued.model_version) for s, issued in forecasts.items()}

    async def finished(self) -> Edition:
        """The edition after which nothing is left to do."""
        for _ in range(6):
            await self.turn()
            await self.rest()
        assert self.edition.finished
        return self.edition


MakeTurns = Callable[[list[History]], Turns]


@pytest.fixture
def make_turns(quick_recipe: Recipe) -> MakeTurns:
    """An issuer of the symbols of some histories."""
    return lambda histories: Turns(FakeMarket(histories), quick_recipe)


@pytest.fixture
def turns(make_history: Callable[..., History], make_turns: MakeTurns) -> Turns:
    """An issuer of two symbols, S0 and S1."""
    return make_turns([make_history(f"S{i}", sessions=700) for i in range(2)])


@pytest.fixture
def setting() -> Setting:
    return Setting()
