"""PredictionService: from messages to the domain and back, and nothing else."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from grpc import StatusCode

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1 import prediction_pb2_grpc
from foretick_rpc.convert import date_of_epoch_day, timestamp
from foretick_rpc.errors import AppError, invalid_argument
from foretick_rpc.symbols import parse_symbol
from prediction_svc.book import Book, IssuedForecast
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_reading import Written
from prediction_svc.ledger_rows import MissedForecast
from prediction_svc.ledger_writing import Head
from prediction_svc.market import Refusal
from prediction_svc.model_store import ModelStore
from prediction_svc.recipe import HORIZON
from prediction_svc.scores import Score
from prediction_svc.servicer_training import TrainingCalls
from prediction_svc.trainings import Trainings
from prediction_svc.verifying import ExpectedHead
from prediction_svc.watching import WatchingEnded, watch

MOST_SYMBOLS = 500
MOST_ENTRIES, USUAL_ENTRIES = 500, 50
MOST_FORECASTS, USUAL_FORECASTS = 1000, 500
_PAGES_KEPT = 8
_ROW_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_VERSION_AND_PLACE = re.compile(r"([1-9][0-9]{0,17})\.([1-9][0-9]{0,8})")
_OUTCOMES = {
    None: pb.OUTCOME_STATE_OPEN,
    "resolved": pb.OUTCOME_STATE_RESOLVED,
    "unresolved": pb.OUTCOME_STATE_UNRESOLVED,
    "revised": pb.OUTCOME_STATE_REVISED,
}


class PredictionServicer(TrainingCalls, prediction_pb2_grpc.PredictionServiceServicer):
    """Answers forecasts from memory, and what was written down from the ledger."""

    def __init__(
        self, book: Book, ledger: Ledger, trainings: Trainings, models: ModelStore
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._trainings = trainings
        self._models = models
        self._messages = _Messages(book)

    async def BatchGetForecasts(
        self, request: pb.BatchGetForecastsRequest, _context: object
    ) -> pb.BatchGetForecastsResponse:
        """Return the latest forecasts, and why the rest is missing."""
        _require_horizon(request.horizon)
        _require_symbols(request.symbols)
        answers = {asked: self._book.find(asked) for asked in request.symbols}
        return pb.BatchGetForecastsResponse(
            market_id=self._book.market_id,
            forecasts=self._messages.forecasts(answers),
            missing=_missing(answers),
            version=self._book.version,
        )

    async def ListForecasts(
        self, request: pb.ListForecastsRequest, _context: object
    ) -> pb.ListForecastsResponse:
        """Return all forecasts, page by page."""
        _require_horizon(request.horizon)
        if not 0 <= request.page_size <= MOST_FORECASTS:
            raise invalid_argument("page_size", f"page_size must be 0 to {MOST_FORECASTS}")
        begin = self._place(request.page_token) if request.page_token else 0
        return self._messages.page(begin, request.page_size or USUAL_FORECASTS)

    def _place(self, page_token: str) -> int:
        """Where a page begins. Versions are the same everywhere, so any replica can go on."""
        token = _VERSION_AND_PLACE.fullmatch(page_token)
        if token is None:
            raise invalid_argument("page_token", "page_token is not one that was given out")
        version, place = map(int, token.groups())
        if version != self._book.version:
            # Going on by symbol would pass two sessions' forecasts off as one listing.
            message = "other forecasts are served by now; list again without page_token"
            raise AppError(StatusCode.ABORTED, "EDITION_CHANGED", message, field="page_token")
        if self._book.edition is None or place >= len(self._book.edition.forecasts):
            raise invalid_argument("page_token", "page_token is not one that was given out")
        return place

    async def WatchForecasts(
        self, request: pb.WatchForecastsRequest, _context: object
    ) -> AsyncIterator[pb.WatchForecastsResponse]:
        """Tell the latest forecasts, then each that changes."""
        _require_horizon(request.horizon)
        _require_symbols(request.symbols)
        try:
            async with aclosing(watch(self._book, request.symbols)) as changes:
                async for news in changes:
                    yield pb.WatchForecastsResponse(
                        market_id=news.market_id,
                        snapshot=news.is_snapshot,
                        forecasts=self._messages.forecasts(news.answers),
                        missing=_missing(news.answers),
                        version=news.version,
                    )
        except WatchingEnded as error:
            message = "the service is stopping; ask again"
            raise AppError(StatusCode.UNAVAILABLE, "SERVICE_STOPPING", message) from error

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


class _Messages:
    """The forecasts of the book as messages, each made once however many ask for it."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._version = -1
        self._symbols: Sequence[str] = ()
        self._forecasts: dict[str, tuple[IssuedForecast, pb.Forecast]] = {}
        # Whole pages too: to copy 1,000 messages costs three times as much as to encode them.
        self._pages: dict[tuple[int, int], pb.ListForecastsResponse] = {}

    def forecasts(self, answers: Mapping[str, IssuedForecast | Refusal]) -> list[pb.Forecast]:
        """Return those among the answers, one that was asked for in two spellings once."""
        self._turn()
        issued = (each for each in answers.values() if isinstance(each, IssuedForecast))
        return list({each.made.symbol: self._forecast(each) for each in issued}.values())

    def page(self, begin: int, size: int) -> pb.ListForecastsResponse:
        """Return `size` forecasts by symbol, from the one at place `begin`."""
        self._turn()
        if (kept := self._pages.get((begin, size))) is not None:
            return kept
        edition, end = self._book.edition, begin + size
        forecasts = edition.forecasts if edition else {}
        page = pb.ListForecastsResponse(
            market_id=self._book.market_id,
            forecasts=[self._forecast(forecasts[each]) for each in self._symbols[begin:end]],
            next_page_token=f"{self._version}.{end}" if end < len(self._symbols) else "",
            version=self._version,
        )
        if len(self._pages) == _PAGES_KEPT:
            del self._pages[next(iter(self._pages))]
        self._pages[begin, size] = page
        return page

    def _forecast(self, issued: IssuedForecast) -> pb.Forecast:
        kept = self._forecasts.get(issued.made.symbol)
        if kept is not None and kept[0] is issued:
            return kept[1]
        message = _forecast(issued)
        self._forecasts[issued.made.symbol] = issued, message
        return message

    def _turn(self) -> None:
        """Forget the messages of another version."""
        if self._version != self._book.version:
            self._version = self._book.version
            self._symbols = sorted(self._book.edition.forecasts) if self._book.edition else ()
            self._forecasts, self._pages = {}, {}


def _require_horizon(horizon: int) -> None:
    if horizon not in {0, HORIZON}:
        raise invalid_argument("horizon", f"horizon must be 0 or {HORIZON}")


def _require_symbols(symbols: Sequence[str]) -> None:
    if not 1 <= len(symbols) <= MOST_SYMBOLS:
        raise invalid_argument("symbols", f"symbols must be 1 to {MOST_SYMBOLS}")


def _missing(answers: Mapping[str, IssuedForecast | Refusal]) -> list[pb.Missing]:
    return [
        pb.Missing(symbol=asked, reason=answer.reason, message=answer.message)
        for asked, answer in answers.items()
        if isinstance(answer, Refusal)
    ]


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
