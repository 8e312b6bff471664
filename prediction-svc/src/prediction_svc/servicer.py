"""PredictionService: from messages to the domain and back, and nothing else."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from grpc import StatusCode

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1 import prediction_pb2_grpc
from foretick_rpc.errors import AppError, invalid_argument
from foretick_rpc.symbols import parse_symbol
from prediction_svc.book import Book, IssuedForecast
from prediction_svc.ledger import Ledger
from prediction_svc.market import Refusal
from prediction_svc.messages import (
    Messages,
    asked_horizon,
    explanation_message,
    missing,
)
from prediction_svc.model_store import ModelStore
from prediction_svc.recipe import HORIZON, HORIZONS
from prediction_svc.servicer_ledger import LedgerCalls
from prediction_svc.servicer_records import RecordCalls, symbol_record_message
from prediction_svc.servicer_training import TrainingCalls
from prediction_svc.track_record import Basis
from prediction_svc.track_record_store import TrackRecords
from prediction_svc.trainings import Trainings
from prediction_svc.watching import WatchingEnded, watch

MOST_SYMBOLS = 500
MOST_FORECASTS, USUAL_FORECASTS = 1000, 500
_VERSION_AND_PLACE = re.compile(r"([1-9][0-9]{0,17})\.([1-9][0-9]{0,8})")


class PredictionServicer(
    TrainingCalls, RecordCalls, LedgerCalls, prediction_pb2_grpc.PredictionServiceServicer
):
    """Answers forecasts from memory, and what was written down from the ledger."""

    def __init__(
        self,
        book: Book,
        ledger: Ledger,
        trainings: Trainings,
        models: ModelStore,
        records: TrackRecords,
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._trainings = trainings
        self._models = models
        self._records = records
        self._messages = Messages(book)

    async def BatchGetForecasts(
        self, request: pb.BatchGetForecastsRequest, _context: object
    ) -> pb.BatchGetForecastsResponse:
        """Return the latest forecasts, and why the rest is missing."""
        horizon = asked_horizon(request.horizon)
        _require_symbols(request.symbols)
        answers = {asked: self._book.find(asked, horizon) for asked in request.symbols}
        return pb.BatchGetForecastsResponse(
            market_id=self._book.market_id,
            forecasts=self._messages.forecasts(answers),
            missing=missing(answers),
            version=self._book.version,
            progress=self._under_way(),
        )

    async def ListForecasts(
        self, request: pb.ListForecastsRequest, _context: object
    ) -> pb.ListForecastsResponse:
        """Return all forecasts, page by page."""
        horizon = asked_horizon(request.horizon)
        if not 0 <= request.page_size <= MOST_FORECASTS:
            raise invalid_argument("page_size", f"page_size must be 0 to {MOST_FORECASTS}")
        begin = self._place(request.page_token, horizon) if request.page_token else 0
        return self._messages.page(horizon, begin, request.page_size or USUAL_FORECASTS)

    def _place(self, page_token: str, horizon: int) -> int:
        """Where a page begins. Versions are the same everywhere, so any replica can go on."""
        token = _VERSION_AND_PLACE.fullmatch(page_token)
        if token is None:
            raise invalid_argument("page_token", "page_token is not one that was given out")
        version, place = map(int, token.groups())
        if version != self._book.version:
            # Going on by symbol would pass two sessions' forecasts off as one listing.
            message = "other forecasts are served by now; list again without page_token"
            raise AppError(StatusCode.ABORTED, "EDITION_CHANGED", message, field="page_token")
        edition = self._book.edition
        if edition is None or place >= len(edition.forecasts.get(horizon, {})):
            raise invalid_argument("page_token", "page_token is not one that was given out")
        return place

    async def WatchForecasts(
        self, request: pb.WatchForecastsRequest, _context: object
    ) -> AsyncIterator[pb.WatchForecastsResponse]:
        """Tell the latest forecasts, then each that changes."""
        horizon = asked_horizon(request.horizon)
        _require_symbols(request.symbols)
        try:
            async with aclosing(watch(self._book, request.symbols, horizon)) as changes:
                async for news in changes:
                    yield pb.WatchForecastsResponse(
                        market_id=news.market_id,
                        snapshot=news.is_snapshot,
                        forecasts=self._messages.forecasts(news.answers),
                        missing=missing(news.answers),
                        version=news.version,
                    )
        except WatchingEnded as error:
            message = "the service is stopping; ask again"
            raise AppError(StatusCode.UNAVAILABLE, "SERVICE_STOPPING", message) from error

    async def GetSymbolOutlook(
        self, request: pb.GetSymbolOutlookRequest, _context: object
    ) -> pb.GetSymbolOutlookResponse:
        """Return all that is known of one symbol."""
        try:
            symbol = parse_symbol(request.symbol)
        except ValueError as error:
            raise invalid_argument("symbol", str(error)) from error
        answer = pb.GetSymbolOutlookResponse(
            market_id=self._book.market_id, version=self._book.version
        )
        await self._add_entries(answer, symbol, request.entry_count, request.entry_horizon)
        found = {horizon: self._book.find(symbol, horizon) for horizon in HORIZONS}
        answer.forecasts.extend(
            self._messages.forecast(each)
            for each in found.values()
            if isinstance(each, IssuedForecast)
        )
        of_next = found[HORIZON]
        if isinstance(of_next, Refusal):
            answer.missing.CopyFrom(missing({symbol: of_next})[0])
        elif of_next.explanation is not None:
            answer.explanation.CopyFrom(explanation_message(of_next.explanation))
        for basis, record in ((Basis.LIVE, answer.live), (Basis.BACKTEST, answer.backtest)):
            kept = await self._records.load(answer.market_id, basis, HORIZON)
            if kept is not None and (own := kept.symbols.get(symbol)) is not None:
                record.CopyFrom(symbol_record_message(own, basis))
        return answer


def _require_symbols(symbols: Sequence[str]) -> None:
    if not 1 <= len(symbols) <= MOST_SYMBOLS:
        raise invalid_argument("symbols", f"symbols must be 1 to {MOST_SYMBOLS}")
