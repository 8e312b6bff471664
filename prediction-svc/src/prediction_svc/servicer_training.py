"""The calls of PredictionService that are about models: from messages to the domain and back."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

from grpc import StatusCode

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError, invalid_argument
from prediction_svc.book import Book
from prediction_svc.model_store import ModelNotFoundError, ModelStore
from prediction_svc.models import ModelFacts
from prediction_svc.recipe import HORIZON
from prediction_svc.trainings import Trainings, TrainingState, TrainingStatus

MOST_MODELS, USUAL_MODELS = 500, 50
_PLACE = re.compile(r"[1-9][0-9]{0,8}")
_STATES = {
    TrainingState.IDLE: pb.TRAINING_STATE_IDLE,
    TrainingState.RUNNING: pb.TRAINING_STATE_RUNNING,
    TrainingState.FAILED: pb.TRAINING_STATE_FAILED,
}


class TrainingCalls:
    """Part of PredictionServicer."""

    _book: Book
    _trainings: Trainings
    _models: ModelStore

    async def GetModelStatus(
        self, _request: pb.GetModelStatusRequest, _context: object
    ) -> pb.GetModelStatusResponse:
        """Return which model answers, and where training is."""
        edition, status = self._book.edition, self._trainings.status
        model = edition.model if edition else None
        return pb.GetModelStatusResponse(
            market_id=self._book.market_id,
            model=None if model is None else self._model(model),
            training_state=_STATES[status.state],
            training_message=" ".join(filter(None, (status.message, status.recipe_note))),
            progress=self._progress(status),
        )

    async def TrainModel(
        self, _request: pb.TrainModelRequest, _context: object
    ) -> AsyncIterator[pb.TrainModelResponse]:
        """Ask for a model, or join the training under way, and tell how far it is."""
        if not (market_id := self._book.market_id):
            message = "no market is followed yet; ask again"
            raise AppError(StatusCode.UNAVAILABLE, "FORECAST_PENDING", message)
        ticket = await self._trainings.ask(market_id)
        while not ticket.is_done(status := self._trainings.status):
            changed = self._trainings.changed
            if self._trainings.stopped:
                message = "the service is stopping; ask again"
                raise AppError(StatusCode.UNAVAILABLE, "SERVICE_STOPPING", message)
            if status.market_id != market_id:
                message = f"{market_id} is not followed any more"
                raise AppError(StatusCode.ABORTED, "MARKET_CHANGED", message)
            waiting = _under_way(status, self._trainings.clock())
            yield pb.TrainModelResponse(progress=self._progress(waiting))
            await changed.wait()
        model = await self._models.find(market_id, status.model_version)
        yield pb.TrainModelResponse(
            progress=self._progress(status), model=None if model is None else self._model(model)
        )

    async def ListModels(
        self, request: pb.ListModelsRequest, _context: object
    ) -> pb.ListModelsResponse:
        """Return the models of the market, page by page."""
        if not 0 <= request.page_size <= MOST_MODELS:
            raise invalid_argument("page_size", f"page_size must be 0 to {MOST_MODELS}")
        if request.page_token and not _PLACE.fullmatch(request.page_token):
            raise invalid_argument("page_token", "page_token is not one that was given out")
        first, count = int(request.page_token or 0), request.page_size or USUAL_MODELS
        market_id = self._book.market_id
        found = await self._models.listed(market_id, first, count + 1)
        return pb.ListModelsResponse(
            market_id=market_id,
            models=map(self._model, found[:count]),
            next_page_token=str(first + count) if len(found) > count else "",
        )

    async def RollBackModel(
        self, request: pb.RollBackModelRequest, _context: object
    ) -> pb.RollBackModelResponse:
        """Withdraw a model."""
        edition = self._book.edition
        serving = edition.model.version if edition and edition.model else ""
        if not (version := request.model_version or serving):
            raise AppError(StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", "no model serves")
        try:
            done = await self._models.withdraw(self._book.market_id, version)
        except ModelNotFoundError as error:
            message = f"there is no model {version}"
            raise AppError(StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", message) from error
        answer = pb.RollBackModelResponse(withdrawn=self._model(done.withdrawn))
        answer.withdrawn.serving = False
        if done.answering is not None:
            answer.serving.CopyFrom(self._model(done.answering))
            answer.serving.serving = True
        return answer

    def _under_way(self) -> pb.TrainingProgress | None:
        status = self._trainings.status
        return self._progress(status) if status.state is TrainingState.RUNNING else None

    def _progress(self, status: TrainingStatus) -> pb.TrainingProgress:
        now = self._trainings.clock()
        progress = pb.TrainingProgress(
            state=_STATES[status.state],
            stage=status.stage,
            fraction=status.fraction,
            message=status.message,
        )
        if status.state is TrainingState.RUNNING:
            progress.elapsed.FromTimedelta(timedelta(seconds=status.elapsed_seconds(now)))
        if (seconds := status.remaining_seconds(now)) is not None:
            progress.remaining.FromTimedelta(timedelta(seconds=seconds))
        return progress

    def _model(self, model: ModelFacts) -> pb.Model:
        edition = self._book.edition
        serving = edition.model.version if edition and edition.model else ""
        return pb.Model(
            model_version=model.version,
            horizon=HORIZON,
            fit_date=model.fit_date.isoformat(),
            train_start_date=model.train_start.isoformat(),
            train_rows=model.train_rows,
            train_symbols=model.train_symbols,
            create_time=timestamp(model.create_time),
            serving=model.version == serving,
            withdrawn=model.withdrawn,
        )


def _under_way(status: TrainingStatus, now: float) -> TrainingStatus:
    """As it is told to who waits for its end: neither idle nor failed before that."""
    running = replace(status, state=TrainingState.RUNNING)
    if status.stage:
        return running
    stage = "" if status.state is TrainingState.RUNNING else "waiting for its turn"
    start = status.start_seconds if status.state is TrainingState.RUNNING else now
    return replace(running, stage=stage, fraction=0.0, message="", start_seconds=start)
