"""Which models a market needs, which are there, and training those that are not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Protocol

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from prediction_svc import jobs
from prediction_svc.book import TrainingState, TrainingStatus
from prediction_svc.fits import Fit, fits_of
from prediction_svc.histories import History
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.scores import Score
from prediction_svc.workers import WorkerDiedError, Workers

_log = logging.getLogger("foretick.training")
LONGEST_PAUSE_SECONDS = 60.0
STORE_PAUSE_SECONDS = 1.0


class Models(Protocol):
    """Where models are kept."""

    async def load(self, market_id: str) -> list[TrainedModel]:
        """Return all models of a market, the latest trained of each fit date last."""

    async def add(self, market_id: str, model: TrainedModel) -> None:
        """Keep a model."""

    async def record_scores(
        self, market_id: str, version: str, scores: Mapping[str, Score]
    ) -> None:
        """Keep what a model has been worth on each symbol beside it."""


Tell = Callable[[str, TrainingStatus], Awaitable[None]]


class Training:
    """The models of the market that is served.

    `tell` is given a market id and where training is, each time that this changes; `done` is
    called when new models are there.
    """

    def __init__(  # noqa: PLR0913 - two are callbacks, and one is for tests
        self,
        workers: Workers,
        models: Models,
        recipe: Recipe,
        *,
        tell: Tell,
        done: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._workers = workers
        self._models = models
        self._recipe = recipe
        self._tell = tell
        self._done = done
        self._sleep = sleep
        self._market_id = ""
        # None: the histories are too short for a model of that fit date
        self._settled: dict[date, TrainedModel | None] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self, market_id: str) -> None:
        """Turn to a market: forget another's models, load what is stored of this one."""
        await self.close()
        stored = await self._models.load(market_id)
        self._settled = {model.fit.session_date: model for model in stored}
        self._market_id = market_id
        await self._tell(market_id, TrainingStatus())

    async def close(self) -> None:
        """Stop what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def serving_models(self, histories: Sequence[History]) -> list[TrainedModel]:
        """Return the models to forecast with now; empty where no-learning must answer.

        Those of the latest fixed dates once they are all settled; until then those from before
        the latest fixed date, if those are.
        """
        fits, count = fits_of(histories), self._recipe.fits
        for wanted in (fits[-count:], fits[-count - 1 : -1]):
            if wanted and all(fit.session_date in self._settled for fit in wanted):
                settled = (self._settled[fit.session_date] for fit in wanted)
                return [model for model in settled if model is not None]
        return []

    def missing(self, histories: Sequence[History]) -> list[Fit]:
        """Return what has not been trained, the latest fixed date first."""
        wanted = reversed(fits_of(histories)[-self._recipe.fits :])
        return [fit for fit in wanted if fit.session_date not in self._settled]

    def train_missing(self, histories: Sequence[History]) -> None:
        """Begin to train what is not there, unless under way."""
        if self._task is not None and not self._task.done():
            return
        if missing := self.missing(histories):
            self._task = asyncio.create_task(self._train(histories, missing))

    async def record_scores(self, version: str, scores: Mapping[str, Score]) -> None:
        """Keep what a model has been worth beside it."""
        await self._models.record_scores(self._market_id, version, scores)

    async def _train(self, histories: Sequence[History], missing: Sequence[Fit]) -> None:
        try:
            await self._train_all(histories, missing)
        except LeaseLostError:
            _log.info("training ends here: another process has taken over")

    async def _train_all(self, histories: Sequence[History], missing: Sequence[Fit]) -> None:
        try:
            await self._report(TrainingState.RUNNING)
            for fit in missing:
                model = await self._train_one(histories, fit)
                if model is not None:
                    await self._stored(partial(self._models.add, self._market_id, model))
                self._settled[fit.session_date] = model
            await self._report(TrainingState.IDLE)
        except LeaseLostError:
            raise
        except Exception as error:  # noqa: BLE001 - logged; forecasts go on without it
            _log.exception("training failed; it is tried again after the next session")
            await self._report(TrainingState.FAILED, f"{type(error).__name__}: {error}")
        else:
            self._done()

    async def _train_one(self, histories: Sequence[History], fit: Fit) -> TrainedModel | None:
        pause = 1.0
        while True:
            try:
                model = await self._workers.run(jobs.train_model, histories, fit, self._recipe)
            except WorkerDiedError as error:
                _log.warning("training of %s: %s; again in %g s", fit.session_date, error, pause)
                await self._report(TrainingState.FAILED, str(error))
                await self._sleep(pause)
                await self._report(TrainingState.RUNNING)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                outcome = "histories are too short" if model is None else model.version
                _log.info("model of %s: %s", fit.session_date, outcome)
                return model

    async def _report(self, state: TrainingState, message: str = "") -> None:
        await self._stored(partial(self._tell, self._market_id, TrainingStatus(state, message)))

    async def _stored(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write until the database has it: a training is too long to be lost to its restart."""
        while True:
            try:
                return await write()
            except DatabaseUnavailableError:
                await self._sleep(STORE_PAUSE_SECONDS)
