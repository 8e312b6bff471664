"""The part of PredictionService that tells what forecasts have been worth."""

from bisect import bisect_right
from collections.abc import Sequence

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.convert import date_of_epoch_day
from foretick_rpc.errors import invalid_argument
from foretick_rpc.symbols import parse_symbol
from prediction_svc.book import Book
from prediction_svc.messages import BASES, asked_horizon, predict_score
from prediction_svc.record import Calibration, CoverageAlarm, Estimate, RankCorrelation
from prediction_svc.track_record import Basis, PooledRecord, SymbolRecord, TrackRecord
from prediction_svc.track_record_store import TrackRecords
from prediction_svc.verdicts import Verdict

MOST_RECORDS, USUAL_RECORDS = 1000, 500
_BASES: dict[pb.ScoreBasis.ValueType, Basis] = {
    pb.SCORE_BASIS_UNSPECIFIED: Basis.LIVE,
    pb.SCORE_BASIS_LIVE: Basis.LIVE,
    pb.SCORE_BASIS_BACKTEST: Basis.BACKTEST,
}
_BASELINES = (
    pb.BASELINE_EWMA_NORMAL,
    pb.BASELINE_EWMA_EMPIRICAL,
    pb.BASELINE_LONG_SD_EMPIRICAL,
)


class RecordCalls:
    """Part of PredictionServicer."""

    _book: Book
    _records: TrackRecords

    async def GetTrackRecord(
        self, request: pb.GetTrackRecordRequest, _context: object
    ) -> pb.GetTrackRecordResponse:
        """Return the pooled record."""
        horizon, basis = asked_horizon(request.horizon), _basis(request.basis)
        market_id = self._book.market_id
        record = await self._records.load(market_id, basis, horizon)
        message = pb.TrackRecord(horizon=horizon, basis=BASES[basis])
        if record is not None:
            message.MergeFrom(track_record_message(record))
        return pb.GetTrackRecordResponse(market_id=market_id, record=message)

    async def ListSymbolRecords(
        self, request: pb.ListSymbolRecordsRequest, _context: object
    ) -> pb.ListSymbolRecordsResponse:
        """Return the records of the symbols, page by page."""
        horizon, basis = asked_horizon(request.horizon), _basis(request.basis)
        if not 0 <= request.page_size <= MOST_RECORDS:
            raise invalid_argument("page_size", f"page_size must be 0 to {MOST_RECORDS}")
        market_id = self._book.market_id
        record = await self._records.load(market_id, basis, horizon)
        symbols = record.symbols if record is not None else {}
        names = list(symbols)
        begin = bisect_right(names, _symbol_of(request.page_token)) if request.page_token else 0
        page = names[begin : begin + (request.page_size or USUAL_RECORDS)]
        return pb.ListSymbolRecordsResponse(
            market_id=market_id,
            records=[symbol_record_message(symbols[name], basis) for name in page],
            next_page_token=page[-1] if begin + len(page) < len(names) else "",
        )


def _basis(asked: pb.ScoreBasis.ValueType) -> Basis:
    if asked not in _BASES:
        raise invalid_argument("basis", "basis must be live, backtest or unspecified")
    return _BASES[asked]


def _symbol_of(page_token: str) -> str:
    """The last symbol of the page before."""
    try:
        return parse_symbol(page_token)
    except ValueError as error:
        message = "page_token is not one that was given out"
        raise invalid_argument("page_token", message) from error


def symbol_record_message(record: SymbolRecord, basis: Basis) -> pb.SymbolRecord:
    """What one symbol's forecasts have been worth."""
    verdicts = record.verdicts
    return pb.SymbolRecord(
        symbol=record.symbol,
        score=predict_score(record.score, basis),
        coverage=record.coverage,
        range=_verdict(verdicts.range) if verdicts else None,
        direction=_verdict(verdicts.direction) if verdicts else None,
        summary=verdicts.summary if verdicts else "",
        range_skill=_estimate(verdicts.skill) if verdicts and verdicts.skill else None,
        verdict_sessions=verdicts.sessions if verdicts else 0,
    )


def track_record_message(record: TrackRecord) -> pb.TrackRecord:
    """What all symbols' forecasts have been worth, without its basis."""
    message = pb.TrackRecord(
        horizon=record.horizon,
        scored_forecasts=record.forecasts,
        scored_dates=record.dates,
        first_target_date=_date(record.first_target_day),
        last_target_date=_date(record.last_target_day),
        coverage_alarm=_alarm(record.coverage_alarm),
        judged_symbols=record.judged_symbols,
        range_edges=record.range_edges,
        direction_edges=len(record.directions),
        direction_edges_by_chance=record.direction_edges_by_chance,
        issued=record.counts.issued,
        missed=record.counts.missed,
        resolved=record.counts.resolved,
        unresolved=record.counts.unresolved,
    )
    if record.pooled is not None:
        message.MergeFrom(_pooled(record.pooled))
    return message


def _pooled(pooled: PooledRecord) -> pb.TrackRecord:
    verdicts = pooled.verdicts
    return pb.TrackRecord(
        skills=[
            pb.BaselineSkill(baseline=baseline, percent=_estimate(skill))
            for baseline, skill in zip(_BASELINES, pooled.skills, strict=True)
        ],
        coverage=_estimate(pooled.coverage),
        quantile_calibration=_calibration(pooled.quantile_calibration),
        up_calibration=_calibration(pooled.up_calibration),
        rank_correlation=_correlation(pooled.rank_correlation),
        range=_verdict(verdicts.range) if verdicts else None,
        direction=_verdict(verdicts.direction) if verdicts else None,
        summary=verdicts.summary if verdicts else "",
        drift_alarm=pooled.drift_alarm,
        coverage_path=[
            pb.CoveragePoint(target_date=_date(point.day), mean=point.mean)
            for point in pooled.coverage_path
        ],
    )


def _date(day: int | None) -> str:
    return "" if day is None else date_of_epoch_day(day).isoformat()


def _estimate(estimate: Estimate) -> pb.Estimate:
    return pb.Estimate(value=estimate.value, low=estimate.low, high=estimate.high)


def _verdict(verdict: Verdict) -> pb.Verdict:
    return pb.Verdict(
        stands=verdict.stands, t=verdict.t, reviewed_sessions=verdict.reviewed_sessions
    )


def _calibration(points: Sequence[Calibration]) -> list[pb.CalibrationPoint]:
    return [
        pb.CalibrationPoint(said=point.said, happened=point.happened, count=point.count)
        for point in points
    ]


def _correlation(found: RankCorrelation | None) -> pb.RankCorrelation | None:
    if found is None:
        return None
    return pb.RankCorrelation(value=found.value, t=found.t, dates=found.dates)


def _alarm(alarm: CoverageAlarm | None) -> pb.CoverageAlarm | None:
    if alarm is None:
        return None
    mean = pb.Estimate(value=alarm.mean, low=alarm.low, high=alarm.high)
    return pb.CoverageAlarm(rings=alarm.rings, mean=mean)
