"""PredictionService: from messages to the domain and back, and nothing else."""

import re

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1 import prediction_pb2_grpc
from foretick_rpc.convert import date_of_epoch_day, timestamp
from foretick_rpc.errors import invalid_argument
from foretick_rpc.symbols import parse_symbol
from prediction_svc.book import Book, IssuedForecast, TrainingState
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_reading import Written
from prediction_svc.ledger_rows import MissedForecast
from prediction_svc.ledger_writing import Head
from prediction_svc.market import Refusal
from prediction_svc.models import ModelFacts
from prediction_svc.recipe import HORIZON
from prediction_svc.scores import Score
from prediction_svc.verifying import ExpectedHead

MOST_SYMBOLS = 500
MOST_ENTRIES, USUAL_ENTRIES = 500, 50
_ROW_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_STATES = {
    TrainingState.IDLE: pb.TRAINING_STATE_IDLE,
    TrainingState.RUNNING: pb.TRAINING_STATE_RUNNING,
    TrainingState.FAILED: pb.TRAINING_STATE_FAILED,
}
_OUTCOMES = {
    None: pb.OUTCOME_STATE_OPEN,
    "resolved": pb.OUTCOME_STATE_RESOLVED,
    "unresolved": pb.OUTCOME_STATE_UNRESOLVED,
    "revised": pb.OUTCOME_STATE_REVISED,
}


class PredictionServicer(prediction_pb2_grpc.PredictionServiceServicer):
    """Answers forecasts from memory, and what was written down from the ledger."""

    def __init__(self, book: Book, ledger: Ledger) -> None:
        self._book = book
        self._ledger = ledger

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

    async def GetLedgerHead(
        self, _request: pb.GetLedgerHeadRequest, _context: object
    ) -> pb.GetLedgerHeadResponse:
        """Return the head of the market that is served."""
        return pb.GetLedgerHeadResponse(head=_head(await self._ledger.head(self._book.market_id)))

    async def ListLedgerEntries(
        self, request: pb.ListLedgerEntriesRequest, _context: object
    ) -> pb.ListLedgerEntriesResponse:
        """Return a symbol's rows, page by page."""
        try:
            symbol = parse_symbol(request.symbol)
        except ValueError as error:
            raise invalid_argument("symbol", str(error)) from error
        if not 0 <= request.page_size <= MOST_ENTRIES:
            raise invalid_argument("page_size", f"page_size must be 0 to {MOST_ENTRIES}")
        if request.page_token and not _ROW_NUMBER.fullmatch(request.page_token):
            raise invalid_argument("page_token", "page_token is not one that was given out")
        before = int(request.page_token) if request.page_token else None
        count = request.page_size or USUAL_ENTRIES
        market_id = self._book.market_id
        written = await self._ledger.written(market_id, symbol, before, count)
        return pb.ListLedgerEntriesResponse(
            market_id=market_id,
            entries=map(_entry, written),
            next_page_token=str(written[-1].entry.number) if len(written) == count else "",
        )

    async def VerifyLedger(
        self, request: pb.VerifyLedgerRequest, _context: object
    ) -> pb.VerifyLedgerResponse:
        """Walk a market's ledger."""
        expected = None
        if request.expected_head:
            try:
                expected = ExpectedHead.parse(request.expected_head)
            except ValueError as error:
                raise invalid_argument("expected_head", str(error)) from error
        market_id = request.market_id or self._book.market_id
        found = await self._ledger.verify(market_id, expected)
        fault = found.fault.message if found.fault else ""
        return pb.VerifyLedgerResponse(head=_head(found.head), fault=fault)

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
        up_probability=made.p_up,
        ledger_number=issued.ledger_number or 0,
    )


def _head(head: Head) -> pb.LedgerHead:
    row_hash = head.row_hash.hex() if head.count else ""
    return pb.LedgerHead(market_id=head.market_id, row_count=head.count, row_hash=row_hash)


def _entry(written: Written) -> pb.LedgerEntry:
    entry, said = written.entry, written.entry.said
    message = pb.LedgerEntry(
        row_number=entry.number,
        row_hash=entry.row_hash.hex(),
        symbol=said.symbol,
        horizon=said.horizon,
        as_of_session_date=date_of_epoch_day(said.as_of_day).isoformat(),
        target_session_date=date_of_epoch_day(said.target_day).isoformat(),
        issue_time=timestamp(entry.issue_time),
        deadline_time=timestamp(said.deadline),
        state=_OUTCOMES[written.outcome_kind],
        outcome_log_move=written.log_move,
        reason=written.reason,
    )
    if isinstance(said, MissedForecast):
        message.state = pb.OUTCOME_STATE_MISSED
        return message
    message.reference_close = said.reference_close
    message.currency_code = said.currency_code
    message.log_moves.extend(said.quantiles)
    message.up_probability = said.p_up
    message.model_version = said.model_version
    return message


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
