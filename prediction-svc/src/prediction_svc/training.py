"""Which models a market needs, which are there, and training those that are not."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TypeVar

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from prediction_svc import training_job
from prediction_svc.fits import Fit
from prediction_svc.market import MarketReader, MarketUnavailableError
from prediction_svc.metrics import Metrics
from prediction_svc.model_store import ModelStore
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.trainings import Trainings, TrainingStatus, recipe_of
from prediction_svc.workers import Progress, WorkerDiedError, Workers

T = TypeVar("T")
_log = logging.getLogger("foretick.training")
LONGEST_PAUSE_SECONDS = 60.0
STORE_PAUSE_SECONDS = 1.0
TELL_SECONDS = 0.5
MOST_DEATHS = 8
"""A training whose process dies so often in a row is given up until the next session."""
ALARM_SESSIONS = 63
"""Between unscheduled fits, so that an alarm that goes on ringing does not fit to noise."""


Settled = dict[date | int, TrainedModel | None]
"""By session of the fixed date, or instant of what is unscheduled. None: too short histories."""


class WithdrawnError(Exception):
    """The model that was asked for has been withdrawn, and is not trained again."""


@dataclass(frozen=True)
class _Job:
    fits: Sequence[Fit]
    answers: bool = False
    """Whether it is what was asked for."""
    is_trial: bool = False
    """Whether the recipe of this version is to be tried first, which these are the fits of."""


class Training:
    """The models of the market that is served.

    `recipe` are the numbers that they are trained with, and must be forecast with: those of this
    version, or others that served before as long as these are untried, or have lost against them.
    `done` is called when other models are there to forecast with.
    """

    def __init__(  # noqa: PLR0913 - one is a callback, and one is for tests
        self,
        workers: Workers,
        reader: MarketReader,
        models: ModelStore,
        trainings: Trainings,
        recipe: Recipe,
        *,
        metrics: Metrics,
        done: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.recipe = self._own_recipe = recipe
        self._challenger: Recipe | None = None
        self._workers = workers
        self._reader = reader
        self._models = models
        self._trainings = trainings
        self._metrics = metrics
        self._done = done
        self._sleep = sleep
        self._market_id = ""
        self._settled: Settled = {}
        self._fits: Sequence[Fit] = ()
        self._latest: Fit | None = None
        self._ordered: Fit | None = None
        self._under_way: Sequence[Fit] = ()
        self._failed = False
        self._progress = Progress("", 0.0)
        self._task: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None

    async def open(self, market_id: str) -> None:
        """Turn to a market: forget another's models, load what is stored of this one."""
        await self.close()
        self._fits, self._latest, self._ordered, self._failed = (), None, None, False
        self._market_id = market_id
        self._settled = {}
        status = await self._trainings.open(market_id)
        await self._choose_recipe(status)
        self._listener = asyncio.create_task(self._listen(status.withdrawals))

    async def close(self) -> None:
        """Stop what is under way."""
        tasks = [task for task in (self._listener, self._task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener = self._task = None

    def serving_models(self, fits: Sequence[Fit]) -> list[TrainedModel]:
        """Return the models to forecast with now, rising; empty where no-learning must answer.

        Those of the latest fixed dates once they are all settled; until then those from before
        the latest fixed date, if those are. Besides, all later ones that were not scheduled: each
        answers until the next fit.
        """
        count = self.recipe.fits
        for wanted in (fits[-count:], fits[-count - 1 : -1]):
            if all(_key(fit) in self._settled for fit in wanted):
                first = wanted[0].second if wanted else 0
                keys = {_key(fit) for fit in wanted}
                found = [
                    model
                    for key, model in self._settled.items()
                    if model is not None and not model.withdrawn
                    if key in keys or (not model.fit.scheduled and model.fit.second > first)
                ]
                return sorted(found, key=lambda model: model.fit.second)
        return []

    def models(self, versions: Collection[str]) -> list[TrainedModel]:
        """Return those of some versions that have not been withdrawn, rising by their fits."""
        settled = (model for model in self._settled.values() if model is not None)
        found = [each for each in settled if each.version in versions and not each.withdrawn]
        return sorted(found, key=lambda model: model.fit.second)

    def missing(self, fits: Sequence[Fit]) -> list[Fit]:
        """Return what has not been trained, the latest fixed date first."""
        wanted = reversed(fits[-self.recipe.fits :])
        return [fit for fit in wanted if _key(fit) not in self._settled]

    def train_missing(self, fits: Sequence[Fit], latest: Fit | None) -> None:
        """Begin to train what is not there, and what is asked for, unless under way.

        `fits` are all fixed dates of the market, rising, `latest` its latest closed session. What
        has failed is tried again at the next one.
        """
        self._failed = self._failed and latest == self._latest
        self._fits, self._latest = tuple(fits), latest
        self._go_on()

    def refit(self, fit: Fit) -> None:
        """Fit a model at a session, once what is under way has ended."""
        self._ordered = fit
        self._go_on()

    def refit_on_alarm(self, fit: Fit, sessions_since_unscheduled: int | None) -> bool:
        """Fit a model at a session since an alarm rings, unless that was done lately.

        Args:
            fit: the latest closed session.
            sessions_since_unscheduled: how many there have been since `latest_unscheduled`; None
                where there was none.

        Returns whether it is fitted.
        """
        if sessions_since_unscheduled is not None and sessions_since_unscheduled < ALARM_SESSIONS:
            return False
        _log.warning("an alarm rings: a model is fitted at %s", fit.session_date)
        self.refit(fit)
        return True

    @property
    def latest_unscheduled(self) -> Fit | None:
        """The latest fit on an alarm or request: done, withdrawn or not, under way or ordered.

        A training takes many sessions of a quick market, and the alarm rings in all of them.
        """
        fits = [model.fit for model in self._settled.values() if model is not None]
        fits += [*self._under_way, *([] if self._ordered is None else [self._ordered])]
        unscheduled = [fit for fit in fits if not fit.scheduled]
        return max(unscheduled, key=lambda fit: fit.second, default=None)

    async def _choose_recipe(self, status: TrainingStatus) -> None:
        """Take up the recipe that served before, where this version's must be tried against it."""
        own, before = self._own_recipe, recipe_of(status.recipe or {})
        self.recipe, self._challenger, note = before or own, None, ""
        await self._load()
        if before == own and not status.rejected_recipe:
            return
        if before is not None and before != own and before.features == own.features:
            if self._settled:  # or else nothing was learned by it
                self._challenger = own if status.rejected_recipe != own.fingerprint() else None
                return
        elif before != own and status.recipe is not None:
            note = "The recipe of this version serves untested: it has other features."
            _log.warning(note)
        if self.recipe != own:
            self.recipe, self._settled = own, {}
            await self._load()
        await self._trainings.serve_recipe(self._market_id, own, note)

    async def _load(self) -> None:
        for model in await self._models.load(self._market_id, self.recipe):
            self._settled[_key(model.fit)] = model

    async def _listen(self, withdrawals: int) -> None:
        """Notice what other replicas were asked for."""
        while True:
            changed, status = self._trainings.changed, self._trainings.status
            if status.withdrawals != withdrawals:
                await self._stored(self._load)
                withdrawals = status.withdrawals
                self._done()
            self._go_on()
            await changed.wait()

    def _go_on(self) -> None:
        if (self._task is None or self._task.done()) and self._due() is not None:
            self._task = asyncio.create_task(self._work())

    def _due(self) -> _Job | None:
        """What to do next: fixed dates, what was asked for, what an alarm demands."""
        if not self._failed and (missing := self.missing(self._fits)):
            return _Job(missing)
        status = self._trainings.status
        if self._latest is not None and status.asked > status.answered:
            return _Job([self._latest], answers=True)
        if self._ordered is not None:
            return _Job([self._ordered])
        if self._challenger is not None and self._fits and not self._failed:
            return _Job(self._fits[: -self._challenger.fits - 1 : -1], is_trial=True)
        return None

    async def _work(self) -> None:
        try:
            while (job := self._due()) is not None:
                await self._run(job)
        except LeaseLostError:
            _log.info("training ends here: another process has taken over")

    async def _run(self, job: _Job) -> None:
        self._ordered = self._ordered if self._ordered not in job.fits else None
        self._under_way = job.fits
        market_id = self._market_id
        asked = await self._stored(partial(self._trainings.begin, market_id))
        answered = asked if job.answers else 0
        self._progress = Progress("", 0.0)
        telling = asyncio.create_task(self._tell_on())
        problem, version = "", ""
        try:
            version = await self._do(job)
        except LeaseLostError:
            raise
        except WithdrawnError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - logged; forecasts go on without it
            _log.exception("training failed; fixed dates are tried again after the next session")
            problem = f"{type(error).__name__}: {error}"
        finally:
            self._under_way = ()
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        self._failed = self._failed or bool(problem)
        end = partial(self._trainings.end, model_version=version, problem=problem)
        await self._stored(partial(end, market_id, answered=answered))
        if not problem:
            self._done()

    async def _do(self, job: _Job) -> str:
        if job.is_trial:
            return await self._try(job.fits)
        return await self._train(job.fits, self.recipe, self._settled)

    async def _try(self, fits: Sequence[Fit]) -> str:
        """Try the recipe of this version: unless it is worse, train its models and serve them."""
        if (challenger := self._challenger) is None:
            return ""

        def told(progress: Progress) -> None:
            self._progress = Progress(progress.stage, progress.fraction / 2)

        trial = await self._workers.train(
            training_job.try_recipe, self._reader, self.recipe, challenger, told=told
        )
        version = ""
        note = f"The recipe of this version is {trial or 'untested: histories are too short'}."
        _log.warning(note)
        if trial is not None and not trial.promoted:
            decide = self._trainings.reject_recipe
        else:
            # those of the old one answer meanwhile
            stored = await self._models.load(self._market_id, challenger)
            settled: Settled = {_key(model.fit): model for model in stored}
            version = await self._train(fits, challenger, settled, begin=0.5)
            self.recipe, self._settled = challenger, settled
            decide = self._trainings.serve_recipe
        self._challenger = None
        await self._stored(partial(decide, self._market_id, challenger, note))
        return version

    async def _train(
        self, fits: Sequence[Fit], recipe: Recipe, settled: Settled, begin: float = 0.0
    ) -> str:
        """Train all; return the version of the first, or nothing if the histories are too short.

        `begin` is the part of the work that came before.
        """
        part = (1 - begin) / len(fits)
        for done, fit in enumerate(fits):
            if (key := _key(fit)) not in settled:
                which = f" (model {done + 1} of {len(fits)})" if len(fits) > 1 else ""
                model = await self._train_one(fit, recipe, which, (begin + done * part, part))
                if model is not None:
                    await self._stored(partial(self._models.add, self._market_id, model, recipe))
                settled[key] = model
            model = settled[key]
            if model is not None and model.withdrawn:
                raise WithdrawnError(f"The model of {fit.session_date} was withdrawn.")
        first = settled[_key(fits[0])]
        return "" if first is None else first.version

    async def _train_one(
        self, fit: Fit, recipe: Recipe, which: str, share: tuple[float, float]
    ) -> TrainedModel | None:
        begin, part = share

        def told(progress: Progress) -> None:
            self._progress = Progress(progress.stage + which, begin + part * progress.fraction)

        pause, deaths = 1.0, 0
        while True:
            began = time.monotonic()
            try:
                job = training_job.train_model
                model = await self._workers.train(job, self._reader, fit, recipe, told=told)
            except (WorkerDiedError, MarketUnavailableError) as error:
                deaths += isinstance(error, WorkerDiedError)
                if deaths == MOST_DEATHS:
                    raise
                _log.warning("training of %s: %s; again in %g s", fit.session_date, error, pause)
                waiting = Progress("waiting to try again", begin)
                await self._stored(partial(self._report, waiting, str(error)))
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._metrics.training.observe(time.monotonic() - began)
                outcome = "histories are too short" if model is None else model.version
                _log.info("model of %s: %s", fit.session_date, outcome)
                return model

    async def _tell_on(self) -> None:
        """Store the progress when it changes, twice a second at most."""
        told = Progress("", 0.0)
        while True:
            if told != self._progress:
                told = self._progress
                with suppress(DatabaseUnavailableError):
                    await self._report(told)
            await asyncio.sleep(TELL_SECONDS)

    async def _report(self, progress: Progress, problem: str = "") -> None:
        await self._trainings.tell(self._market_id, progress, problem)

    async def _stored(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write until the database has it: a training is too long to be lost to its restart."""
        while True:
            try:
                return await write()
            except DatabaseUnavailableError:
                await self._sleep(STORE_PAUSE_SECONDS)


def _key(fit: Fit) -> date | int:
    # the close of a fixed date's session moves when a symbol of another exchange is added
    return fit.session_date if fit.scheduled else fit.second
