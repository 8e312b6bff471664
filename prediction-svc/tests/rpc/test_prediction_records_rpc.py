"""What forecasts have been worth, as callers see it."""

from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1.prediction_pb2_grpc import (
    PredictionServiceStub,
    add_PredictionServiceServicer_to_server,
)
from foretick_rpc.database import migrate, open_database
from foretick_rpc.errors import app_error
from foretick_rpc.server import RpcService
from foretick_rpc.testing import calling, serving
from prediction_svc.book import Book, Edition
from prediction_svc.ledger_reading import Counts
from prediction_svc.recipe import LEVELS, Recipe
from prediction_svc.record import Record
from prediction_svc.scores import NORMAL_QUANTILES
from prediction_svc.scoring import judge
from prediction_svc.servicer import PredictionServicer
from prediction_svc.testing import holding
from prediction_svc.track_record import Basis, TrackRecord
from prediction_svc.track_record_store import TrackRecords

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
MARKET = "demo:1"
COUNTS = Counts(issued=8000, missed=3, resolved=7995, unresolved=2)


def made_record(days: int = 320, horizon: int = 1) -> Record:
    """25 symbols whose moves are forecast as they fall; the naive ones are far too wide."""
    symbols, random = 25, np.random.default_rng(1)
    n = days * symbols
    own = np.tile(NORMAL_QUANTILES, (n, 1))
    return Record(
        horizon=horizon,
        symbols=np.tile([f"S{i:02d}" for i in range(symbols)], days),
        target_days=np.repeat(20_000 + np.arange(days, dtype=np.int64), symbols),
        moves=random.standard_normal(n),
        quantiles=own,
        p_up=np.full(n, 0.5),
        base_rate=np.full(n, 0.5),
        score=random.standard_normal(n),
        sigma=np.ones(n),
        baselines=(2 * own, 1.9 * own, 1.8 * own),
    )


@pytest.fixture
async def records(database_url: str) -> AsyncIterator[TrackRecords]:
    await migrate(database_url, "prediction_svc")
    async with (
        open_database(database_url, "prediction_svc") as database,
        holding(database) as lease,
    ):
        yield TrackRecords(database, lease)


@pytest.fixture
async def stub(records: TrackRecords) -> AsyncIterator[PredictionServiceStub]:
    book = Book()
    nothing: Any = None
    book.turn_to(Edition(MARKET, frozenset(), {}, {}), 1)
    servicer = PredictionServicer(book, nothing, nothing, nothing, records)
    add = partial(add_PredictionServiceServicer_to_server, servicer)
    async with (
        serving(RpcService(SERVICE.full_name, add)) as server,
        calling(server, SERVICE) as channel,
    ):
        yield PredictionServiceStub(channel)


async def save(records: TrackRecords, basis: Basis, record: Record) -> TrackRecord:
    track = judge(record, Recipe(), basis, COUNTS)
    await records.save(MARKET, basis, {record.horizon: track})
    return track


async def test_before_the_first_score_there_is_an_empty_record(
    stub: PredictionServiceStub,
) -> None:
    answer = await stub.GetTrackRecord(pb.GetTrackRecordRequest(horizon=5))
    basis = pb.SCORE_BASIS_LIVE
    assert answer == pb.GetTrackRecordResponse(
        market_id=MARKET, record=pb.TrackRecord(horizon=5, basis=basis)
    )
    listed = await stub.ListSymbolRecords(pb.ListSymbolRecordsRequest())
    assert listed == pb.ListSymbolRecordsResponse(market_id=MARKET)


async def test_the_pooled_record_is_told(
    stub: PredictionServiceStub, records: TrackRecords
) -> None:
    track = await save(records, Basis.LIVE, made_record())
    pooled = track.pooled
    assert pooled is not None
    assert pooled.verdicts is not None
    answer = await stub.GetTrackRecord(pb.GetTrackRecordRequest())
    assert answer.market_id == MARKET
    told = answer.record
    assert (told.horizon, told.basis) == (1, pb.SCORE_BASIS_LIVE)
    assert (told.scored_forecasts, told.scored_dates) == (8000, 320)
    assert (told.first_target_date, told.last_target_date) == ("2024-10-04", "2025-08-19")
    assert [each.baseline for each in told.skills] == [1, 2, 3]
    for skill, found in zip(told.skills, pooled.skills, strict=True):
        assert (skill.percent.low, skill.percent.high) == (found.low, found.high)
        assert skill.percent.value == found.value
    assert told.coverage.value == pooled.coverage.value
    assert [point.said for point in told.quantile_calibration] == list(LEVELS)
    assert sum(point.count for point in told.up_calibration) == 8000
    assert told.rank_correlation.dates == 320
    assert told.range.stands
    assert (told.range.t, told.range.reviewed_sessions) == (pooled.verdicts.range.t, 300)
    assert not told.direction.stands
    assert told.summary == pooled.verdicts.summary
    assert told.HasField("coverage_alarm")
    assert told.coverage_alarm.mean.low < 0.8 < told.coverage_alarm.mean.high
    assert not told.drift_alarm
    path = pooled.coverage_path
    assert len(told.coverage_path) == len(path) == 320 - 62
    assert told.coverage_path[-1].target_date == "2025-08-19"
    assert told.coverage_path[-1].mean == pytest.approx(told.coverage_alarm.mean.value)
    assert [point.mean for point in told.coverage_path] == [point.mean for point in path]
    assert (told.judged_symbols, told.range_edges, told.direction_edges) == (25, 25, 0)
    assert told.direction_edges_by_chance == pytest.approx(0.3)
    assert (told.issued, told.missed, told.resolved, told.unresolved) == (8000, 3, 7995, 2)


async def test_young_records_say_nothing_yet(
    stub: PredictionServiceStub, records: TrackRecords
) -> None:
    await save(records, Basis.LIVE, made_record(days=60))
    told = (await stub.GetTrackRecord(pb.GetTrackRecordRequest(horizon=1))).record
    assert told.scored_dates == 60
    assert not told.skills
    assert not told.coverage_path
    for field in ("coverage", "rank_correlation", "range", "direction", "coverage_alarm"):
        assert not told.HasField(field)
    (one,) = (await stub.ListSymbolRecords(pb.ListSymbolRecordsRequest(page_size=1))).records
    assert one.score.scored_sessions == 60
    assert not one.score.HasField("value")
    assert not one.HasField("coverage")
    assert not one.HasField("range_skill")
    assert one.verdict_sessions == 60
    assert (one.range.stands, one.range.HasField("t")) == (False, False)
    assert one.summary == "Range: no demonstrated edge · Direction: no demonstrated edge"


async def test_live_and_backtest_are_told_apart(
    stub: PredictionServiceStub, records: TrackRecords
) -> None:
    await save(records, Basis.LIVE, made_record(days=160))
    await save(records, Basis.BACKTEST, made_record(days=200))
    tested = pb.SCORE_BASIS_BACKTEST
    told = (await stub.GetTrackRecord(pb.GetTrackRecordRequest(basis=tested))).record
    assert (told.basis, told.scored_dates) == (tested, 200)
    assert told.summary.endswith("backtest) · Direction: no demonstrated edge")
    live = (await stub.GetTrackRecord(pb.GetTrackRecordRequest())).record
    assert (live.basis, live.scored_dates) == (pb.SCORE_BASIS_LIVE, 160)
    listed = await stub.ListSymbolRecords(pb.ListSymbolRecordsRequest(basis=tested))
    assert {one.score.basis for one in listed.records} == {tested}


async def test_symbols_come_in_pages(stub: PredictionServiceStub, records: TrackRecords) -> None:
    track = await save(records, Basis.LIVE, made_record())
    request = pb.ListSymbolRecordsRequest(page_size=10)
    found: list[pb.SymbolRecord] = []
    sizes = []
    while True:
        page = await stub.ListSymbolRecords(request)
        assert page.market_id == MARKET
        found += page.records
        sizes.append(len(page.records))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert sizes == [10, 10, 5]
    assert [one.symbol for one in found] == sorted(track.symbols)
    whole = await stub.ListSymbolRecords(pb.ListSymbolRecordsRequest())
    assert (list(whole.records), whole.next_page_token) == (found, "")
    one, made = found[3], track.symbols["S03"]
    assert (one.score.value, one.score.scored_sessions) == (made.score.value, 250)
    assert one.coverage == made.coverage
    assert made.verdicts is not None
    assert (one.range.stands, one.range.t) == (True, made.verdicts.range.t)
    assert (one.direction.stands, one.summary) == (False, made.verdicts.summary)
    assert made.verdicts.skill is not None
    assert f"by {one.range_skill.value:.1f} % " in one.summary
    assert (one.range_skill.low, one.range_skill.high) == (
        made.verdicts.skill.low,
        made.verdicts.skill.high,
    )
    assert one.verdict_sessions == 320


async def test_other_horizons_have_no_verdicts(
    stub: PredictionServiceStub, records: TrackRecords
) -> None:
    await save(records, Basis.LIVE, replace(made_record(), horizon=20))
    told = (await stub.GetTrackRecord(pb.GetTrackRecordRequest(horizon=20))).record
    assert told.horizon == 20
    assert len(told.skills) == 3
    assert told.summary == ""
    assert not told.HasField("range")
    assert not told.HasField("direction")
    (one,) = (
        await stub.ListSymbolRecords(pb.ListSymbolRecordsRequest(horizon=20, page_size=1))
    ).records
    assert one.score.HasField("value")
    assert one.summary == ""
    assert not one.HasField("range")
    assert not one.HasField("direction")


async def field_of(call: Awaitable[object]) -> str:
    with pytest.raises(AioRpcError) as caught:
        await call
    error = app_error(caught.value)
    assert error.code == StatusCode.INVALID_ARGUMENT
    return error.metadata["field"]


async def test_bad_input_is_named(stub: PredictionServiceStub) -> None:
    listing, getting = pb.ListSymbolRecordsRequest, pb.GetTrackRecordRequest
    for horizon in (2, -1, 21):
        assert await field_of(stub.GetTrackRecord(getting(horizon=horizon))) == "horizon"
        assert await field_of(stub.ListSymbolRecords(listing(horizon=horizon))) == "horizon"
    other: Any = 7  # of a later version
    assert await field_of(stub.GetTrackRecord(getting(basis=other))) == "basis"
    assert await field_of(stub.ListSymbolRecords(listing(basis=other))) == "basis"
    for size in (-1, 1001):
        assert await field_of(stub.ListSymbolRecords(listing(page_size=size))) == "page_size"
    bad = listing(page_token="1 OR 1")
    assert await field_of(stub.ListSymbolRecords(bad)) == "page_token"
