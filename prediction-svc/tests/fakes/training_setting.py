"""Workers and stores that a training is put among, in memory."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any

from foretick_rpc.leases import LeaseLostError
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.metrics import Metrics
from prediction_svc.models import TrainedModel
from prediction_svc.promotion import Promotion
from prediction_svc.recipe import Recipe
from prediction_svc.training import Training
from prediction_svc.training_job import train_model, try_recipe
from prediction_svc.trainings import TrainingState, TrainingStatus
from prediction_svc.workers import Progress

RECIPE = Recipe()
BEFORE = replace(RECIPE, rounds=100)


def fit_of(year: int, month: int, day: int = 1) -> Fit:
    """A fit of a market that has a session every day."""
    session = date(year, month, day)
    return Fit(session, session, (session - EPOCH).days * 86_400 + 75_600)


FITS = [fit_of(year, month) for year in (2018, 2019, 2020) for month in (1, 7)]
LATEST = fit_of(2020, 8, 13)


def model_of(fit: Fit, *, withdrawn: bool = False) -> TrainedModel:
    return TrainedModel(
        fit=fit,
        booster=str(fit.second).encode(),
        feature_names=("one",),
        train_start=EPOCH,
        train_rows=1,
        train_symbols=1,
        rows_hash=str(fit.second),
        create_time=datetime(2020, 1, 1, tzinfo=UTC),
        withdrawn=withdrawn,
    )


class FakeWorkers:
    """Trains at once; fails with what is given, first come, first served."""

    def __init__(self) -> None:
        self.fits: list[Fit] = []
        self.errors: list[Exception] = []
        self.short: set[Fit] = set()
        self.recipes: list[Recipe] = []
        self.tried: list[tuple[Recipe, Recipe]] = []
        self.trial: Promotion | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def train(
        self,
        function: Callable[..., Any],
        reader: object,
        *args: Any,
        told: Callable[[Progress], None],
    ) -> Any:
        assert reader == "reader"
        if function is try_recipe:
            self.tried.append(args)
            told(Progress("trying", 1.0))
            return self.trial
        fit, recipe = args
        assert function is train_model
        self.recipes.append(recipe)
        told(Progress("training", 0.5))
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.fits.append(fit)
        return None if fit in self.short else model_of(fit)


class FakeModels:
    def __init__(self) -> None:
        self.kept: list[TrainedModel] = []
        self.others: list[TrainedModel] = []
        self.errors: list[Exception] = []

    async def load(self, market_id: str, recipe: Recipe) -> list[TrainedModel]:
        return list(self.kept if recipe == RECIPE else self.others)

    async def add(self, market_id: str, model: TrainedModel, recipe: Recipe) -> None:
        if self.errors:
            raise self.errors.pop(0)
        (self.kept if recipe == RECIPE else self.others).append(model)


class FakeTrainings:
    """The row in memory, with all that was ever told."""

    def __init__(self) -> None:
        self.status = TrainingStatus("demo:1")
        self.changed = asyncio.Event()
        self.told: list[TrainingStatus] = []
        self.lost = False

    def set(self, **values: Any) -> TrainingStatus:
        if self.lost:
            raise LeaseLostError("work")
        self.status = replace(self.status, **values)
        self.told.append(self.status)
        self.changed.set()
        self.changed = asyncio.Event()
        return self.status

    async def open(self, market_id: str) -> TrainingStatus:
        return self.status

    async def begin(self, market_id: str) -> int:
        return self.set(state=TrainingState.RUNNING).asked

    async def tell(self, market_id: str, progress: Progress, problem: str = "") -> None:
        state = TrainingState.FAILED if problem else TrainingState.RUNNING
        self.set(state=state, stage=progress.stage, fraction=progress.fraction, message=problem)

    async def end(
        self, market_id: str, *, model_version: str = "", problem: str = "", answered: int = 0
    ) -> None:
        state = TrainingState.FAILED if problem else TrainingState.IDLE
        answered = max(answered, self.status.answered)
        self.set(state=state, message=problem, model_version=model_version, answered=answered)

    async def serve_recipe(self, market_id: str, recipe: Recipe, note: str) -> None:
        self.set(recipe=asdict(recipe), rejected_recipe="", recipe_note=note)

    async def reject_recipe(self, market_id: str, recipe: Recipe, note: str) -> None:
        self.set(rejected_recipe=recipe.fingerprint(), recipe_note=note)


class Setting:
    """A training with all that is around it."""

    def __init__(self) -> None:
        self.workers, self.models, self.trainings = FakeWorkers(), FakeModels(), FakeTrainings()
        self.metrics = Metrics()
        self.pauses: list[float] = []
        self.done = 0
        self.training = Training(
            self.workers,  # type: ignore[arg-type]
            "reader",  # type: ignore[arg-type]
            self.models,  # type: ignore[arg-type]
            self.trainings,  # type: ignore[arg-type]
            RECIPE,
            metrics=self.metrics,
            done=self.count,
            sleep=self.sleep,
        )

    def count(self) -> None:
        self.done += 1

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def ended(self) -> None:
        task = self.training._task
        assert task is not None
        await asyncio.wait_for(task, 10)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never came")

    def serving(self, fits: Sequence[Fit] = FITS) -> list[date]:
        return [model.fit.session_date for model in self.training.serving_models(fits)]
