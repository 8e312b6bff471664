"""Which models serve, and what is trained when, with workers and stores of the test's own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.market import MarketUnavailableError
from prediction_svc.metrics import Metrics
from prediction_svc.models import TrainedModel
from prediction_svc.promotion import Promotion
from prediction_svc.recipe import Recipe
from prediction_svc.training import ALARM_SESSIONS, MOST_DEATHS, Training
from prediction_svc.training_job import train_model, try_recipe
from prediction_svc.trainings import TrainingState, TrainingStatus
from prediction_svc.workers import Progress, WorkerDiedError

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


@pytest.fixture
def setting() -> Setting:
    return Setting()


def dates(fits: Sequence[Fit]) -> list[date]:
    return [fit.session_date for fit in fits]


async def test_the_latest_fixed_dates_are_trained_the_latest_first(setting: Setting) -> None:
    await setting.training.open("demo:1")
    assert setting.serving() == []
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.workers.fits == FITS[:1:-1]
    assert setting.serving() == dates(FITS[2:])
    assert setting.done == 1
    assert setting.trainings.status.state is TrainingState.IDLE
    assert setting.trainings.status.model_version == model_of(FITS[-1]).version
    setting.training.train_missing(FITS, LATEST)
    assert len(setting.workers.fits) == 4
    count = setting.metrics.registry.get_sample_value("foretick_training_duration_seconds_count")
    assert count == 4


async def test_what_is_stored_is_not_trained_again(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS[1:]]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    assert setting.training._task is None
    assert setting.serving() == dates(FITS[2:])


async def test_until_a_new_fixed_date_is_trained_those_before_it_answer(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS[:5]]
    await setting.training.open("demo:1")
    assert setting.serving() == dates(FITS[1:5])
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.serving() == dates(FITS[2:])


async def test_short_histories_are_settled_without_a_model(setting: Setting) -> None:
    setting.workers.short = {FITS[2], FITS[3]}
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.serving() == dates(FITS[4:])


async def test_progress_is_of_all_that_is_trained(setting: Setting) -> None:
    setting.workers.gate.clear()
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.until(lambda: setting.training._progress.fraction == 0.125)
    assert setting.training._progress.stage == "training (model 1 of 4)"
    setting.workers.gate.set()
    await setting.ended()


async def test_who_asks_gets_a_model_of_the_latest_session(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    setting.trainings.set(asked=1)
    await setting.until(lambda: setting.training._listener is not None)
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    version = model_of(LATEST).version
    assert (setting.trainings.status.answered, setting.trainings.status.model_version) == (
        1,
        version,
    )
    assert setting.serving() == [*dates(FITS[2:]), LATEST.session_date]
    # asked from another replica, at the same session: what is there is told
    setting.trainings.set(asked=2)
    await setting.until(lambda: setting.trainings.status.answered == 2)
    assert setting.trainings.status.model_version == version
    assert setting.workers.fits == [LATEST]


async def test_an_unscheduled_model_answers_until_the_next_fixed_date(setting: Setting) -> None:
    early = fit_of(2018, 12, 3)
    setting.models.kept = [model_of(fit) for fit in [*FITS[:4], early]]
    await setting.training.open("demo:1")
    until_then = [*dates(FITS[:2]), early.session_date, *dates(FITS[2:4])]
    assert setting.serving(FITS[:4]) == until_then
    assert setting.serving(FITS[:5]) == until_then  # while that of January is not there
    assert setting.training.latest_unscheduled == early
    setting.training.train_missing(FITS[:5], LATEST)
    await setting.ended()
    assert setting.serving(FITS[:5])[-1] == date(2020, 1, 1)
    # and it is forgotten with the fixed date before it
    assert early.session_date not in setting.serving(FITS[3:])


async def test_an_alarm_refits_at_most_once_in_63_sessions(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    assert not setting.training.refit_on_alarm(LATEST, ALARM_SESSIONS - 1)
    assert not setting.training.refit_on_alarm(LATEST, 0)
    assert setting.training._task is None
    assert setting.training.refit_on_alarm(LATEST, ALARM_SESSIONS)
    await setting.ended()
    assert setting.workers.fits == [LATEST]
    later = fit_of(2020, 8, 14)
    assert setting.training.refit_on_alarm(later, None)
    await setting.ended()
    assert setting.workers.fits == [LATEST, later]
    assert setting.trainings.status.answered == 0


async def test_a_withdrawn_model_answers_no_more_and_is_not_trained_again(
    setting: Setting,
) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    setting.models.kept[-1] = model_of(FITS[-1], withdrawn=True)
    setting.trainings.set(withdrawals=1)
    await setting.until(lambda: setting.done == 1)
    assert setting.serving() == dates(FITS[2:5])
    assert setting.training.missing(FITS) == []
    setting.trainings.set(asked=1)
    setting.training.train_missing(FITS, FITS[-1])
    await setting.ended()
    assert setting.workers.fits == []
    assert setting.trainings.status.message == "The model of 2020-07-01 was withdrawn."
    assert setting.trainings.status.answered == 1


async def test_training_outlives_dead_workers_and_an_absent_market(setting: Setting) -> None:
    setting.workers.errors = [WorkerDiedError("died")] * 2 + [MarketUnavailableError("away")] * 2
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.pauses == [1.0, 2.0, 4.0, 8.0]
    told = [(status.state, status.message) for status in setting.trainings.told]
    assert (TrainingState.FAILED, "died") in told
    assert (TrainingState.FAILED, "away") in told
    assert setting.serving() == dates(FITS[2:])


async def test_a_training_that_always_dies_is_given_up_until_the_next_session(
    setting: Setting,
) -> None:
    setting.workers.errors = [WorkerDiedError("died") for _ in range(MOST_DEATHS)]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.trainings.status.state is TrainingState.FAILED
    assert setting.trainings.status.message == "WorkerDiedError: died"
    assert setting.workers.fits == []
    assert setting.done == 0
    setting.training.train_missing(FITS, LATEST)
    assert setting.training._due() is None
    # but a request is tried at once
    setting.trainings.set(asked=1)
    await setting.until(lambda: setting.workers.fits == [LATEST])
    await setting.ended()
    setting.training.train_missing(FITS, fit_of(2020, 8, 14))
    await setting.ended()
    assert setting.serving() == [*dates(FITS[2:]), LATEST.session_date]


async def test_a_model_waits_for_the_database(setting: Setting) -> None:
    setting.models.errors = [DatabaseUnavailableError("away") for _ in range(3)]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.pauses == [1.0, 1.0, 1.0]
    assert len(setting.models.kept) == 4
    assert TrainingState.FAILED not in {status.state for status in setting.trainings.told}


async def test_training_that_lost_the_lease_stops(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    setting.trainings.lost = True
    await setting.ended()
    assert setting.done == 0
    assert setting.workers.fits == []
    assert not [record for record in caplog.records if record.exc_info]


async def test_closing_stops_what_is_under_way(setting: Setting) -> None:
    setting.workers.gate.clear()
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.until(lambda: setting.trainings.status.state is TrainingState.RUNNING)
    await setting.training.close()
    assert setting.training._task is None
    assert setting.workers.fits == []


def trial(t: float) -> Promotion:
    return Promotion(t >= -2, t / 1000, t, 0.8, 126, 63_000)


async def test_the_first_recipe_serves_untried(setting: Setting) -> None:
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert setting.trainings.status.recipe == asdict(RECIPE)
    told = len(setting.trainings.told)
    await setting.training.open("demo:1")
    assert len(setting.trainings.told) == told
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.workers.tried == []


async def test_a_recipe_that_is_no_worse_takes_over_once_it_is_trained(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    setting.models.others = [model_of(fit) for fit in FITS[2:5]]
    setting.workers.trial = trial(-1.9)
    await setting.training.open("demo:1")
    assert setting.training.recipe == BEFORE
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    # what misses of the old one comes first, since it answers until then
    assert setting.workers.recipes == [BEFORE, *[RECIPE] * 4]
    assert setting.workers.tried == [(BEFORE, RECIPE)]
    assert setting.training.recipe == RECIPE
    assert [model.fit for model in setting.models.kept] == FITS[:1:-1]
    assert setting.serving() == dates(FITS[2:])
    status = setting.trainings.status
    assert status.recipe == asdict(RECIPE)
    assert status.recipe_note.startswith("The recipe of this version is promoted: -0.00190 σ")


async def test_a_recipe_that_is_worse_does_not_serve_and_is_not_tried_again(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    setting.models.others = [model_of(fit) for fit in FITS]
    setting.workers.trial = trial(-2.1)
    for _ in range(2):
        await setting.training.open("demo:1")
        setting.training.train_missing(FITS, LATEST)
        if setting.training._task is not None:
            await setting.ended()
        assert setting.training.recipe == BEFORE
        assert setting.serving() == dates(FITS[2:])
    assert setting.workers.tried == [(BEFORE, RECIPE)]
    assert setting.workers.recipes == []
    note = setting.trainings.status.recipe_note
    assert note.startswith("The recipe of this version is rejected: -0.00210 σ")
    assert note in caplog.messages


async def test_a_recipe_of_other_features_serves_untested(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(replace(BEFORE, features=0)))
    setting.models.others = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert setting.serving() == []
    assert "untested: it has other features" in setting.trainings.status.recipe_note


async def test_numbers_of_other_names_are_a_recipe_of_another_version(setting: Setting) -> None:
    setting.trainings.set(recipe={"trees": 100})
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert "untested" in setting.trainings.status.recipe_note


async def test_a_recipe_that_nothing_was_learned_by_is_not_tried_against(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert setting.trainings.status.recipe_note == ""


async def test_back_at_the_old_version_nothing_is_said_of_the_new_one(setting: Setting) -> None:
    note = "The recipe of this version is rejected"
    setting.trainings.set(
        recipe=asdict(RECIPE), rejected_recipe=BEFORE.fingerprint(), recipe_note=note
    )
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    assert setting.trainings.status.recipe_note == ""
    assert setting.serving() == dates(FITS[2:])


async def test_with_histories_too_short_for_a_trial_a_recipe_serves(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    setting.models.others = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.training.recipe == RECIPE
    assert "untested: histories are too short" in setting.trainings.status.recipe_note
