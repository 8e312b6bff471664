"""PredictionService: from messages to the domain and back, and nothing else."""

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1 import prediction_pb2_grpc
from foretick_rpc.convert import date_of_epoch_day, timestamp
from foretick_rpc.errors import invalid_argument
from prediction_svc.book import Book, IssuedForecast, TrainingState
from prediction_svc.market import Refusal
from prediction_svc.models import ModelFacts
from prediction_svc.recipe import HORIZON
from prediction_svc.scores import Score

MOST_SYMBOLS = 500
_STATES = {
    TrainingState.IDLE: pb.TRAINING_STATE_IDLE,
    TrainingState.RUNNING: pb.TRAINING_STATE_RUNNING,
    TrainingState.FAILED: pb.TRAINING_STATE_FAILED,
}


class PredictionServicer(prediction_pb2_grpc.PredictionServiceServicer):
    """Answers from memory."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def BatchGetForecasts(
        self, request: pb.BatchGetForecastsRequest, _context: object
    ) -> pb.BatchGetForecastsResponse:
        """Return the latest forecasts, and why the rest is missing."""
        if request.horizon not in {0, HORIZON}:
            raise invalid_argument("horizon", f"horizon must be 0 or {HORIZON}")
        if not 1 <= len(request.symbols) <= MOST_SYMBOLS:
            raise invalid_argument("symbols", f"symbols must be 1 to {MOST_SYMBOLS}")
        response = pb.BatchGetForecastsResponse(market_id=self._book.market_id)
        answered: set[str] = set()
        for asked in dict.fromkeys(request.symbols):
            found = self._book.find(asked)
            if isinstance(found, Refusal):
                response.missing.append(
                    pb.Missing(symbol=asked, reason=found.reason, message=found.message)
                )
            elif found.made.symbol not in answered:
                answered.add(found.made.symbol)
                response.forecasts.append(_forecast(found))
        return response

    async def GetModelStatus(
        self, _request: pb.GetModelStatusRequest, _context: object
    ) -> pb.GetModelStatusResponse:
        """Return which model answers, and where training is."""
        edition = self._book.edition
        model = edition.model if edition else None
        return pb.GetModelStatusResponse(
            market_id=self._book.market_id,
            model=None if model is None else _model(model),
            training_state=_STATES[self._book.training.state],
            training_message=self._book.training.message,
        )


def _forecast(issued: IssuedForecast) -> pb.Forecast:
    made = issued.made
    return pb.Forecast(
        symbol=made.symbol,
        horizon=HORIZON,
        as_of_session_date=date_of_epoch_day(made.as_of_day).isoformat(),
        target_session_date=issued.target_session_date,
        target_inferred=issued.target_inferred,
        reference_close=made.close,
        currency_code=issued.currency_code,
        price_decimals=issued.price_decimals,
        quantiles=[
            pb.Quantile(probability=probability, price=price)
            for probability, price in issued.quantile_prices
        ],
        expected_close=issued.expected_close,
        forecaster=(pb.FORECASTER_SCALE_MODEL if made.model_version else pb.FORECASTER_NO_LEARNING),
        model_version=made.model_version,
        score=_score(made.score),
        issue_time=timestamp(issued.issue_time),
    )


def _score(score: Score) -> pb.PredictScore:
    return pb.PredictScore(
        value=score.value,
        low=score.low,
        high=score.high,
        scored_sessions=score.scored_sessions,
        basis=pb.SCORE_BASIS_BACKTEST,
    )


def _model(model: ModelFacts) -> pb.Model:
    return pb.Model(
        model_version=model.version,
        horizon=HORIZON,
        fit_date=model.fit_date.isoformat(),
        train_start_date=model.train_start.isoformat(),
        train_rows=model.train_rows,
        train_symbols=model.train_symbols,
        create_time=timestamp(model.create_time),
    )
