"""The symbol page, the track record and the ledger as programs get them."""

from typing import Any

from gateway.model import Forecast, Quote, Reason, Score, Session
from gateway.record_model import (
    LEAST_SCORED,
    CalibrationPoint,
    Entries,
    Entry,
    Explanation,
    History,
    Interval,
    LedgerHead,
    Outcome,
    Outlook,
    SymbolRecord,
    TrackRecord,
    Verdict,
)
from gateway.watchlist import iso, reason_json


def quote_json(quote: Quote) -> dict[str, Any]:
    """The latest price and what is known of the instrument."""
    return {
        "name": quote.name,
        "kind": quote.kind,
        "exchange": quote.exchange,
        "currency": quote.currency,
        "currentPrice": quote.price,
        "priceAsOf": iso(quote.as_of),
        "priceSource": quote.source,
        "priceSession": quote.session_date,
        "previousClose": quote.previous_close,
        "dayLow": quote.day_low,
        "dayHigh": quote.day_high,
        "volume": quote.volume,
        "sessionState": quote.state,
        "staleReason": quote.stale_reason or None,
        "nextSession": _session(quote.next_session),
    }


def outlook_json(outlook: Outlook) -> dict[str, Any]:
    """What prediction-svc knows of a symbol, but for its rows of the ledger."""
    return {
        "forecasts": [forecast_json(each) for each in outlook.forecasts],
        "forecastReason": reason_json(outlook.missing),
        "why": outlook.explanation and _explanation(outlook.explanation),
        "record": {
            "live": outlook.live and symbol_record_json(outlook.live),
            "backtest": outlook.backtest and symbol_record_json(outlook.backtest),
        },
    }


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """The distribution of one close."""
    return {
        "horizon": forecast.horizon,
        "asOfSession": forecast.as_of_session,
        "forecastSession": forecast.target_session,
        "forecastSessionInferred": forecast.target_inferred,
        "referenceClose": forecast.reference_close,
        "expectedClose": forecast.expected_close,
        "quantiles": [
            {"probability": probability, "price": price}
            for probability, price in forecast.quantiles
        ],
        "upProbability": forecast.up_probability,
        "forecaster": forecast.forecaster,
        "modelVersion": forecast.model_version or None,
        "issued": iso(forecast.issued),
        "ledgerNumber": forecast.ledger_number or None,
        "score": _score(forecast.score),
    }


def symbol_record_json(record: SymbolRecord) -> dict[str, Any]:
    """What the forecasts of one symbol have been worth; null where too few are scored."""
    return {
        "symbol": record.symbol,
        "score": _score(record.score),
        "coverage": record.coverage,
        "range": _verdict(record.range),
        "rangeSkill": _interval(record.range_skill),
        "direction": _verdict(record.direction),
        "sessions": record.sessions,
        "leastSessions": LEAST_SCORED,
    }


def entries_json(entries: Entries) -> dict[str, Any]:
    """A page of the ledger."""
    return {
        "entries": [entry_json(each) for each in entries.entries],
        "nextPage": entries.next_page or None,
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """A row of the ledger, and what came of it."""
    band = entry.band
    return {
        "number": entry.number,
        "hash": entry.row_hash,
        "symbol": entry.symbol,
        "horizon": entry.horizon,
        "asOfSession": entry.as_of_session,
        "forecastSession": entry.target_session,
        "issued": iso(entry.issued),
        "deadline": iso(entry.deadline),
        "referenceClose": entry.reference_close,
        "currency": entry.currency or None,
        "logMoves": list(entry.log_moves),
        "band": band and {"low": band[0], "high": band[1]},
        "upProbability": entry.up_probability,
        "modelVersion": entry.model_version or None,
        "state": entry.state,
        "reason": entry.reason or None,
        "inBand": entry.held,
        "outcomes": [_outcome(each) for each in entry.outcomes],
    }


def track_record_json(record: TrackRecord) -> dict[str, Any]:
    """What all forecasts of one horizon and basis have been worth."""
    alarm, correlation = record.coverage_alarm, record.rank_correlation
    return {
        "horizon": record.horizon,
        "basis": record.basis,
        "forecasts": record.forecasts,
        "dates": record.dates,
        "leastDates": LEAST_SCORED,
        "firstTarget": record.first_target or None,
        "lastTarget": record.last_target or None,
        "skills": {name: _interval(each) for name, each in record.skills.items()},
        "coverage": _interval(record.coverage),
        "quantileCalibration": [_point(each) for each in record.quantile_calibration],
        "upCalibration": [_point(each) for each in record.up_calibration],
        "rankCorrelation": correlation
        and {"value": correlation.value, "t": correlation.t, "dates": correlation.dates},
        "range": _verdict(record.range),
        "direction": _verdict(record.direction),
        "coverageAlarm": alarm and {"rings": alarm.rings, "mean": _interval(alarm.mean)},
        "coveragePath": [{"target": date, "mean": mean} for date, mean in record.coverage_path],
        "driftAlarm": record.drift_alarm,
        "judgedSymbols": record.judged_symbols,
        "rangeEdges": record.range_edges,
        "directionEdges": record.direction_edges,
        "directionEdgesByChance": record.direction_edges_by_chance,
        "issued": record.issued,
        "missed": record.missed,
        "resolved": record.resolved,
        "unresolved": record.unresolved,
    }


def head_json(head: LedgerHead) -> dict[str, Any]:
    """The head of a ledger."""
    return {"market": head.market_id, "rows": head.row_count, "hash": head.row_hash or None}


def history_json(history: History) -> dict[str, Any]:
    """Sessions and corporate actions; the bars have an address of their own."""
    return {
        "firstSession": history.first_date,
        "sessions": history.sessions,
        "lostSessions": list(history.lost_dates),
        "nextSessions": list(history.next_dates),
        "knownNextSessions": history.known_next,
        "actions": [
            {"session": each.date, "kind": each.kind, "amount": each.amount}
            for each in history.actions
        ],
    }


def failure_json(answer: object) -> dict[str, str] | None:
    """Why an answer is missing; null where it is not."""
    return reason_json(answer) if isinstance(answer, Reason) else None


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "number": outcome.number,
        "hash": outcome.row_hash,
        "state": outcome.state,
        "recorded": iso(outcome.recorded),
        "session": outcome.session or None,
        "delayed": outcome.delayed,
        "close": outcome.close,
        "logMove": outcome.log_move,
        "reason": outcome.reason or None,
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "prediction": explanation.prediction,
        "bias": explanation.bias,
        "contributions": [
            {"feature": each.feature, "value": each.value, "contribution": each.part}
            for each in explanation.contributions
        ],
        "others": explanation.others,
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "sessions": score.sessions,
        "basis": score.basis,
    }


def _verdict(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {"stands": verdict.stands, "t": verdict.t, "reviewedSessions": verdict.reviewed}


def _interval(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _point(point: CalibrationPoint) -> dict[str, float]:
    return {"said": point.said, "happened": point.happened, "count": point.count}


def _session(session: Session | None) -> dict[str, Any] | None:
    if session is None:
        return None
    return {
        "date": session.date,
        "open": iso(session.open_time),
        "close": iso(session.close_time),
        "inferred": session.inferred,
    }
