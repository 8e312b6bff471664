"""From the domain to messages, and what is asked of it."""

from collections.abc import Mapping, Sequence

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.convert import date_of_epoch_day, timestamp
from foretick_rpc.errors import invalid_argument
from prediction_svc.book import Book, IssuedForecast
from prediction_svc.explanation import Explanation
from prediction_svc.ledger_listing import RecordedOutcome, Written
from prediction_svc.ledger_rows import MissedForecast
from prediction_svc.ledger_writing import Head
from prediction_svc.market import Refusal
from prediction_svc.recipe import HORIZON, HORIZONS
from prediction_svc.scores import Score
from prediction_svc.track_record import Basis

_PAGES_KEPT = 8
BASES = {Basis.LIVE: pb.SCORE_BASIS_LIVE, Basis.BACKTEST: pb.SCORE_BASIS_BACKTEST}
_FORECASTERS = {True: pb.FORECASTER_SCALE_MODEL, False: pb.FORECASTER_NO_LEARNING}
_OUTCOMES = {
    None: pb.OUTCOME_STATE_OPEN,
    "resolved": pb.OUTCOME_STATE_RESOLVED,
    "unresolved": pb.OUTCOME_STATE_UNRESOLVED,
    "revised": pb.OUTCOME_STATE_REVISED,
}


class Messages:
    """The forecasts of the book as messages, each made once however many ask for it."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._version = -1
        self._symbols: dict[int, Sequence[str]] = {}
        self._forecasts: dict[tuple[int, str], tuple[IssuedForecast, pb.Forecast]] = {}
        # Whole pages too: to copy 1,000 messages costs three times as much as to encode them.
        self._pages: dict[tuple[int, int, int], pb.ListForecastsResponse] = {}

    def forecasts(self, answers: Mapping[str, IssuedForecast | Refusal]) -> list[pb.Forecast]:
        """Return those among the answers, one that was asked for in two spellings once."""
        self._turn()
        issued = (each for each in answers.values() if isinstance(each, IssuedForecast))
        return list({each.symbol: self.forecast(each) for each in issued}.values())

    def page(self, horizon: int, begin: int, size: int) -> pb.ListForecastsResponse:
        """Return `size` forecasts of a horizon by symbol, from the one at place `begin`."""
        self._turn()
        if (kept := self._pages.get((horizon, begin, size))) is not None:
            return kept
        edition, end = self._book.edition, begin + size
        forecasts = edition.forecasts.get(horizon, {}) if edition else {}
        if horizon not in self._symbols:
            self._symbols[horizon] = sorted(forecasts)
        symbols = self._symbols[horizon]
        page = pb.ListForecastsResponse(
            market_id=self._book.market_id,
            forecasts=[self.forecast(forecasts[each]) for each in symbols[begin:end]],
            next_page_token=f"{self._version}.{end}" if end < len(symbols) else "",
            version=self._version,
        )
        if len(self._pages) == _PAGES_KEPT:
            del self._pages[next(iter(self._pages))]
        self._pages[horizon, begin, size] = page
        return page

    def forecast(self, issued: IssuedForecast) -> pb.Forecast:
        """Return one forecast."""
        key = issued.horizon, issued.symbol
        kept = self._forecasts.get(key)
        if kept is not None and kept[0] is issued:
            return kept[1]
        message = _forecast(issued)
        self._forecasts[key] = issued, message
        return message

    def _turn(self) -> None:
        """Forget the messages of another version."""
        if self._version != self._book.version:
            self._version = self._book.version
            self._symbols, self._forecasts, self._pages = {}, {}, {}


def asked_horizon(asked: int) -> int:
    """The horizon of a request."""
    if asked not in {0, *HORIZONS}:
        raise invalid_argument("horizon", "horizon must be 1, 5 or 20, or 0, which means 1")
    return asked or HORIZON


def missing(answers: Mapping[str, IssuedForecast | Refusal]) -> list[pb.Missing]:
    """Why there are no forecasts, for those among the answers that are refusals."""
    return [
        pb.Missing(symbol=asked, reason=answer.reason, message=answer.message)
        for asked, answer in answers.items()
        if isinstance(answer, Refusal)
    ]


def _forecast(issued: IssuedForecast) -> pb.Forecast:
    return pb.Forecast(
        symbol=issued.symbol,
        horizon=issued.horizon,
        as_of_session_date=date_of_epoch_day(issued.as_of_day).isoformat(),
        target_session_date=date_of_epoch_day(issued.target_day).isoformat(),
        target_inferred=issued.target_inferred,
        reference_close=issued.close,
        currency_code=issued.currency_code,
        price_decimals=issued.price_decimals,
        quantiles=[
            pb.Quantile(probability=probability, price=price)
            for probability, price in issued.quantile_prices
        ],
        expected_close=issued.expected_close,
        forecaster=_FORECASTERS[bool(issued.model_version)],
        model_version=issued.model_version,
        score=predict_score(issued.score, issued.basis),
        issue_time=timestamp(issued.issue_time),
        up_probability=issued.p_up,
        ledger_number=issued.ledger_number or 0,
    )


def ledger_head(head: Head) -> pb.LedgerHead:
    """The head of a chain."""
    row_hash = head.row_hash.hex() if head.count else ""
    return pb.LedgerHead(market_id=head.market_id, row_count=head.count, row_hash=row_hash)


def ledger_entry(written: Written) -> pb.LedgerEntry:
    """A row of the ledger and what came of it."""
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
        outcomes=map(_ledger_outcome, written.outcomes),
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


def _ledger_outcome(recorded: RecordedOutcome) -> pb.LedgerOutcome:
    said = recorded.said
    day = said.resolved_day
    return pb.LedgerOutcome(
        row_number=recorded.number,
        row_hash=recorded.row_hash.hex(),
        state=_OUTCOMES[said.kind],
        record_time=timestamp(recorded.record_time),
        session_date="" if day is None else date_of_epoch_day(day).isoformat(),
        delayed=said.delayed,
        close=said.close,
        log_move=said.log_move,
        reason=said.reason,
    )


def predict_score(score: Score, basis: Basis) -> pb.PredictScore:
    """A score and what it was measured on."""
    return pb.PredictScore(
        value=score.value,
        low=score.low,
        high=score.high,
        scored_sessions=score.scored_sessions,
        basis=BASES[basis],
    )


def explanation_message(explanation: Explanation) -> pb.Explanation:
    """Why a band is as wide as it is."""
    return pb.Explanation(
        prediction=explanation.prediction,
        bias=explanation.bias,
        contributions=[
            pb.Contribution(feature=each.feature, value=each.value, contribution=each.contribution)
            for each in explanation.contributions
        ],
        others=explanation.others,
    )
