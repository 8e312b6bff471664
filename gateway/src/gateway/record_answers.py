"""What the services answer about one symbol and about all forecasts, as plain values."""

from collections.abc import Iterable

from foretick.prediction.v1 import prediction_pb2 as pb
from gateway.answers import finite, forecast, optional, score, time_of, word
from gateway.model import Reason
from gateway.record_model import (
    CalibrationPoint,
    Contribution,
    CoverageAlarm,
    Entries,
    Entry,
    Explanation,
    Interval,
    LedgerHead,
    Outcome,
    Outlook,
    RankCorrelation,
    SymbolRecord,
    TrackRecord,
    Verdict,
)


def outlook(response: pb.GetSymbolOutlookResponse) -> Outlook:
    """Convert all that is known of one symbol."""
    missing = response.missing
    told = Reason(missing.reason, missing.message) if response.HasField("missing") else None
    has_live, has_backtest = response.HasField("live"), response.HasField("backtest")
    return Outlook(
        market_id=response.market_id,
        forecasts=tuple(map(forecast, response.forecasts)),
        missing=told,
        explanation=(
            _explanation(response.explanation) if response.HasField("explanation") else None
        ),
        live=symbol_record(response.live) if has_live else None,
        backtest=symbol_record(response.backtest) if has_backtest else None,
        ledger=Entries(
            response.market_id, tuple(map(entry, response.entries)), response.next_page_token
        ),
    )


def entries(response: pb.ListLedgerEntriesResponse) -> Entries:
    """Convert a page of the ledger."""
    return Entries(
        response.market_id, tuple(map(entry, response.entries)), response.next_page_token
    )


def entry(message: pb.LedgerEntry) -> Entry:
    """Convert a row of the ledger, and what came of it."""
    said = bool(message.log_moves)
    return Entry(
        number=message.row_number,
        row_hash=message.row_hash,
        symbol=message.symbol,
        horizon=message.horizon,
        as_of_session=message.as_of_session_date,
        target_session=message.target_session_date,
        issued=time_of(message, "issue_time"),
        deadline=time_of(message, "deadline_time"),
        reference_close=message.reference_close if said else None,
        currency=message.currency_code,
        log_moves=tuple(message.log_moves),
        up_probability=message.up_probability if said else None,
        model_version=message.model_version,
        state=_state(message.state),
        reason=message.reason,
        outcomes=tuple(map(_outcome, message.outcomes)),
    )


def symbol_record(message: pb.SymbolRecord) -> SymbolRecord:
    """Convert what the forecasts of one symbol have been worth."""
    return SymbolRecord(
        symbol=message.symbol,
        score=score(message.score),
        coverage=optional(message, "coverage"),
        range=_verdict(message.range) if message.HasField("range") else None,
        direction=_verdict(message.direction) if message.HasField("direction") else None,
        range_skill=_interval(message.range_skill) if message.HasField("range_skill") else None,
        sessions=message.verdict_sessions,
    )


def track_record(response: pb.GetTrackRecordResponse) -> TrackRecord:
    """Convert what the forecasts of all symbols have been worth."""
    record = response.record
    correlation, alarm = record.rank_correlation, record.coverage_alarm
    return TrackRecord(
        market_id=response.market_id,
        horizon=record.horizon,
        basis=word(pb.ScoreBasis.Name(record.basis), "SCORE_BASIS_"),
        forecasts=record.scored_forecasts,
        dates=record.scored_dates,
        first_target=record.first_target_date,
        last_target=record.last_target_date,
        skills={
            word(pb.Baseline.Name(each.baseline), "BASELINE_"): _interval(each.percent)
            for each in record.skills
        },
        coverage=_interval(record.coverage) if record.HasField("coverage") else None,
        quantile_calibration=_calibration(record.quantile_calibration),
        up_calibration=_calibration(record.up_calibration),
        rank_correlation=(
            RankCorrelation(correlation.value, correlation.t, correlation.dates)
            if record.HasField("rank_correlation")
            else None
        ),
        range=_verdict(record.range) if record.HasField("range") else None,
        direction=_verdict(record.direction) if record.HasField("direction") else None,
        coverage_alarm=(
            CoverageAlarm(alarm.rings, _interval(alarm.mean))
            if record.HasField("coverage_alarm")
            else None
        ),
        coverage_path=tuple((each.target_date, each.mean) for each in record.coverage_path),
        drift_alarm=record.drift_alarm,
        judged_symbols=record.judged_symbols,
        range_edges=record.range_edges,
        direction_edges=record.direction_edges,
        direction_edges_by_chance=record.direction_edges_by_chance,
        issued=record.issued,
        missed=record.missed,
        resolved=record.resolved,
        unresolved=record.unresolved,
    )


def ledger_head(message: pb.LedgerHead) -> LedgerHead:
    """Convert the head of a ledger."""
    return LedgerHead(message.market_id, message.row_count, message.row_hash)


def _outcome(message: pb.LedgerOutcome) -> Outcome:
    return Outcome(
        number=message.row_number,
        row_hash=message.row_hash,
        state=_state(message.state),
        recorded=time_of(message, "record_time"),
        session=message.session_date,
        delayed=message.delayed,
        close=optional(message, "close"),
        log_move=optional(message, "log_move"),
        reason=message.reason,
    )


def _state(state: pb.OutcomeState.ValueType) -> str:
    return word(pb.OutcomeState.Name(state), "OUTCOME_STATE_")


def _verdict(message: pb.Verdict) -> Verdict:
    # Where naive forecasts are never worse t is infinite, for which JSON has no number.
    t = message.t if message.HasField("t") else None
    return Verdict(message.stands, t if t is None else finite(t), message.reviewed_sessions)


def _interval(message: pb.Estimate) -> Interval:
    return Interval(message.value, message.low, message.high)


def _calibration(messages: Iterable[pb.CalibrationPoint]) -> tuple[CalibrationPoint, ...]:
    return tuple(CalibrationPoint(each.said, each.happened, each.count) for each in messages)


def _explanation(message: pb.Explanation) -> Explanation:
    return Explanation(
        prediction=message.prediction,
        bias=message.bias,
        contributions=tuple(
            Contribution(each.feature, optional(each, "value"), each.contribution)
            for each in message.contributions
        ),
        others=message.others,
    )
