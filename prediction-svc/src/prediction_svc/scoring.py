"""From forecasts whose outcomes are known to the track record: of a ledger, or of a backtest."""

import asyncio
from collections.abc import Mapping

import numpy as np
from sqlalchemy import Connection

from foretick_rpc.database import peek
from prediction_svc.histories import Floats, Ints
from prediction_svc.ledger_reading import Counts, read_counts
from prediction_svc.live_record import read_live_record
from prediction_svc.recipe import HORIZON, HORIZONS, Recipe
from prediction_svc.record import (
    Estimate,
    Record,
    coverage_alarm,
    coverage_path,
    in_words,
    pooled_coverage,
    pooled_skill,
    quantile_calibration,
    rank_correlation,
    up_calibration,
)
from prediction_svc.scores import EWMA_NORMAL, skill_score
from prediction_svc.track_record import Basis, PooledRecord, SymbolRecord, TrackRecord, Verdicts
from prediction_svc.verdicts import (
    FIRST_REVIEW,
    REVIEWED_SESSIONS,
    Verdict,
    by_target_date,
    drift_alarm,
    verdict,
    verdict_path,
)
from prediction_svc.width import hits_of

NOTHING_COUNTED = Counts(0, 0, 0, 0)


def score_ledger(database_url: str, market_id: str, recipe: Recipe) -> Mapping[int, TrackRecord]:
    """Score all of a market's ledger, by horizon, while the service goes on writing it.

    Blocks, for some 10 µs a forecast; to be run in a worker process. Raises FileNotFoundError and
    StartupError as `peek` does.
    """

    def read(connection: Connection, horizon: int) -> tuple[Record, Counts]:
        counts = read_counts(connection, market_id, horizon)
        return read_live_record(connection, market_id, horizon), counts

    def score(horizon: int) -> TrackRecord:
        # No transaction stays open while it is judged, and one horizon is in memory at a time.
        package, at = "prediction_svc", horizon
        record, counts = asyncio.run(
            peek(database_url, package, lambda connection: read(connection, at))
        )
        return judge(record, recipe, Basis.LIVE, counts)

    return {horizon: score(horizon) for horizon in HORIZONS}


def judge(
    record: Record, recipe: Recipe, basis: Basis, counts: Counts = NOTHING_COUNTED
) -> TrackRecord:
    """What a record is worth, pooled and of each symbol; `counts` is of the ledger it is from."""
    days = np.unique(record.target_days)
    known = len(days) > 0
    return TrackRecord(
        horizon=record.horizon,
        forecasts=len(record),
        dates=len(days),
        first_target_day=int(days[0]) if known else None,
        last_target_day=int(days[-1]) if known else None,
        pooled=_pooled(record, basis, len(days)) if len(days) >= FIRST_REVIEW else None,
        coverage_alarm=coverage_alarm(record),
        symbols=_symbols(record, recipe, basis),
        counts=counts,
    )


def _pooled(record: Record, basis: Basis, dates: int) -> PooledRecord:
    skills = tuple(_percent(pooled_skill(record, k)) for k in range(len(record.baselines)))
    path: list[Verdict] = []
    verdicts = None
    if record.horizon == HORIZON:
        days = record.target_days
        path = verdict_path(by_target_date(days, record.range_gains))
        direction = verdict(by_target_date(days, record.direction_gains))
        hardest = min(skills, key=lambda each: each.value)
        verdicts = _verdicts(path[-1], direction, hardest, dates, basis)
    return PooledRecord(
        skills=skills,
        coverage=pooled_coverage(record),
        quantile_calibration=tuple(quantile_calibration(record)),
        up_calibration=tuple(up_calibration(record)),
        rank_correlation=rank_correlation(record),
        coverage_path=tuple(coverage_path(record)),
        verdicts=verdicts,
        drift_alarm=drift_alarm(path),
    )


def _symbols(record: Record, recipe: Recipe, basis: Basis) -> dict[str, SymbolRecord]:
    hits = hits_of(record.moves, record.quantiles)
    gains = record.range_gains, record.direction_gains
    is_next = record.horizon == HORIZON
    scored = {}
    for symbol, rows in record.rows_by_symbol.items():
        last = rows[-recipe.scored_sessions :]
        losses = record.losses[last]
        enough = len(rows) >= recipe.min_scored_sessions
        reference = losses[:, 1 + EWMA_NORMAL]
        scored[symbol] = SymbolRecord(
            symbol=symbol,
            sessions=len(rows),
            score=skill_score(losses[:, 0], reference, recipe, record.horizon),
            coverage=float(hits[last].mean()) if enough else None,
            verdicts=_of_symbol(record, recipe, gains, rows, basis) if is_next else None,
        )
    return scored


def _of_symbol(
    record: Record, recipe: Recipe, gains: tuple[Floats, Floats], rows: Ints, basis: Basis
) -> Verdicts:
    sharper, nearer = (verdict(each[rows]) for each in gains)
    last = rows[-REVIEWED_SESSIONS:]
    skill = _hardest_won(record.losses[last], recipe)
    return _verdicts(sharper, nearer, skill, len(last), basis)


def _hardest_won(losses: Floats, recipe: Recipe) -> Estimate | None:
    """Skill in percent against the naive forecaster that was the hardest to beat."""
    against = (skill_score(losses[:, 0], each, recipe) for each in losses[:, 1:].T)
    told = [
        Estimate(each.value, each.low, each.high)
        for each in against
        if each.value is not None and each.low is not None and each.high is not None
    ]
    return min(told, key=lambda each: each.value, default=None)


def _verdicts(
    sharper: Verdict, nearer: Verdict, skill: Estimate | None, sessions: int, basis: Basis
) -> Verdicts:
    summary = in_words(skill, (sharper.stands, nearer.stands), sessions, basis)
    return Verdicts(sharper, nearer, summary, skill, sessions)


def _percent(share: Estimate) -> Estimate:
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high)
