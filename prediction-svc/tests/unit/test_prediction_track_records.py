"""Track records, stored and read again."""

import math
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import update

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.leases import Lease, LeaseLostError
from prediction_svc.ledger_reading import Counts
from prediction_svc.recipe import Recipe
from prediction_svc.record import Record
from prediction_svc.schema import leases, track_records
from prediction_svc.scores import NORMAL_QUANTILES
from prediction_svc.scoring import judge
from prediction_svc.testing import holding
from prediction_svc.track_record import Basis, TrackRecord
from prediction_svc.track_record_store import TrackRecords, decode, encode

MARKET = "demo:1"


def some_track(days: int = 200, horizon: int = 1, symbols: int = 3) -> TrackRecord:
    """Of standard normal moves, forecast as such; the naive ones are wider."""
    random, n = np.random.default_rng(days), days * symbols
    own = np.tile(NORMAL_QUANTILES, (n, 1))
    record = Record(
        horizon=horizon,
        symbols=np.tile([f"S{i}" for i in range(symbols)], days),
        target_days=np.repeat(np.arange(days, dtype=np.int64), symbols),
        moves=random.standard_normal(n),
        quantiles=own,
        p_up=np.full(n, 0.5),
        base_rate=np.full(n, 0.5),
        score=random.standard_normal(n),
        sigma=np.ones(n),
        baselines=(2 * own, 1.9 * own, 1.5 * own),
    )
    return judge(record, Recipe(), Basis.LIVE, Counts(n, 1, n - 2, 1))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await migrate(database_url, "prediction_svc")
    async with open_database(database_url, "prediction_svc") as database:
        yield database


@pytest.fixture
async def records(database: Database) -> AsyncIterator[TrackRecords]:
    async with holding(database) as lease:
        yield TrackRecords(database, lease)


@pytest.mark.parametrize(
    "track", [some_track(), some_track(100), some_track(0), some_track(200, 5)]
)
def test_a_record_is_the_same_after_it_was_stored(track: TrackRecord) -> None:
    assert decode(encode(track)) == track


def test_an_infinite_t_is_kept() -> None:
    track = some_track()
    verdicts = track.symbols["S0"].verdicts
    assert verdicts is not None
    sure = replace(verdicts, range=replace(verdicts.range, t=math.inf))
    symbol = replace(track.symbols["S0"], verdicts=sure)
    track = replace(track, symbols={**track.symbols, "S0": symbol})
    assert decode(encode(track)) == track


async def test_what_was_saved_last_is_loaded(records: TrackRecords) -> None:
    assert await records.load(MARKET, Basis.LIVE, 1) is None
    live = {horizon: some_track(200, horizon) for horizon in (1, 5)}
    tested = {1: some_track(300)}
    await records.save(MARKET, Basis.LIVE, live)
    await records.save(MARKET, Basis.BACKTEST, tested)
    assert await records.load(MARKET, Basis.LIVE, 1) == live[1]
    assert await records.load(MARKET, Basis.LIVE, 5) == live[5]
    assert await records.load(MARKET, Basis.BACKTEST, 1) == tested[1]
    assert await records.load(MARKET, Basis.BACKTEST, 5) is None
    assert await records.load("demo:2", Basis.LIVE, 1) is None
    assert await records.load(MARKET, Basis.LIVE, 1) == live[1]
    later = {1: some_track(250)}
    await records.save(MARKET, Basis.LIVE, later)
    assert await records.load(MARKET, Basis.LIVE, 1) == later[1]
    assert await records.load(MARKET, Basis.LIVE, 5) == live[5]


async def test_another_replica_notices_a_change_and_reads_nothing_twice(
    database: Database, records: TrackRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = TrackRecords(database, Lease(database, leases, "work"))
    decoded: list[bytes] = []

    def counted(body: bytes) -> TrackRecord:
        decoded.append(body)
        return decode(body)

    monkeypatch.setattr("prediction_svc.track_record_store.decode", counted)
    first, second = some_track(200), some_track(210)
    await records.save(MARKET, Basis.LIVE, {1: first})
    kept = await replica.load(MARKET, Basis.LIVE, 1)
    assert await replica.load(MARKET, Basis.LIVE, 1) is kept
    assert kept == first
    assert len(decoded) == 1
    await records.save(MARKET, Basis.LIVE, {1: second})
    assert await replica.load(MARKET, Basis.LIVE, 1) == second
    assert len(decoded) == 2


async def test_who_does_not_hold_the_lease_saves_nothing(database: Database) -> None:
    records = TrackRecords(database, Lease(database, leases, "other"))
    with pytest.raises(LeaseLostError):
        await records.save(MARKET, Basis.LIVE, {1: some_track()})
    assert await records.load(MARKET, Basis.LIVE, 1) is None


async def test_a_record_of_another_version_is_passed_over(
    database: Database, records: TrackRecords, caplog: pytest.LogCaptureFixture
) -> None:
    await records.save(MARKET, Basis.LIVE, {1: some_track()})
    spoilt = update(track_records).values(body=b"?")
    await database.write(lambda connection: connection.execute(spoilt))
    assert await records.load(MARKET, Basis.LIVE, 1) is None
    assert await records.load(MARKET, Basis.LIVE, 1) is None
    assert caplog.text.count("another version") == 1
    await records.save(MARKET, Basis.LIVE, {1: some_track()})
    assert await records.load(MARKET, Basis.LIVE, 1) == some_track()
