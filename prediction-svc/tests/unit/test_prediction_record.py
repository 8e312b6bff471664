from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prediction_svc.histories import Floats
from prediction_svc.quantiles import pinball_loss
from prediction_svc.record import (
    Record,
    coverage_alarm,
    coverage_path,
    pooled_coverage,
    pooled_skill,
    quantile_calibration,
    rank_correlation,
    up_calibration,
)
from prediction_svc.scores import NORMAL_QUANTILES
from prediction_svc.width import hits_of


def made_record(days: int = 400, symbols: int = 25, seed: int = 1, **changes: Any) -> Record:
    """Standard normal moves, forecast as such; the baselines are 1.3 times too wide."""
    random = np.random.default_rng(seed)
    n = days * symbols
    own = np.tile(NORMAL_QUANTILES, (n, 1))
    record = Record(
        horizon=1,
        symbols=np.tile([f"S{i:02d}" for i in range(symbols)], days),
        target_days=np.repeat(np.arange(days), symbols),
        moves=random.standard_normal(n),
        quantiles=own,
        p_up=np.full(n, 0.5),
        base_rate=np.full(n, 0.5),
        score=random.standard_normal(n),
        sigma=np.ones(n),
        baselines=(1.3 * own, own, 1.1 * own),
    )
    return replace(record, **changes)


def test_skill_by_its_definition() -> None:
    record = made_record()
    skill = pooled_skill(record, 0)
    losses = pinball_loss(record.moves, record.quantiles).sum()
    naive = pinball_loss(record.moves, record.baselines[0]).sum()
    assert skill.value == pytest.approx(1 - losses / naive)
    assert skill.low < skill.value < skill.high
    assert pooled_skill(record, 1).value == 0.0
    assert pooled_skill(record, 0) == skill  # the draws are seeded


def test_range_gains_by_hand() -> None:
    record = made_record(1, 1, moves=np.zeros(1), sigma=np.full(1, 0.01))
    nothing = np.zeros((1, 7))
    record = replace(record, quantiles=nothing, baselines=(nothing + 0.02, nothing))
    mean_level = float(np.mean([0.95, 0.9, 0.75, 0.5, 0.25, 0.1, 0.05]))
    np.testing.assert_allclose(record.range_gains, [[2 * mean_level, 0.0]])


def test_intervals_grow_with_what_days_have_in_common() -> None:
    alone = made_record()
    common = np.repeat(np.random.default_rng(2).standard_normal(400), 25)
    together = replace(alone, moves=common)
    reach = [pooled_coverage(one).high - pooled_coverage(one).low for one in (alone, together)]
    assert reach[1] > 3 * reach[0]


def test_overlapping_outcomes_widen_the_interval() -> None:
    """Eighty sessions of the same miss: blocks of 40 see more of it than those of 20."""
    days, random = 3200, np.random.default_rng(5)
    common = np.repeat(np.repeat(random.standard_normal(days // 80), 80), 5)
    record = made_record(days, 5, moves=common)
    far = replace(record, horizon=20)
    reach = [pooled_coverage(one).high - pooled_coverage(one).low for one in (record, far)]
    assert reach[1] > 1.2 * reach[0]


def test_the_interval_of_coverage_holds_the_truth() -> None:
    held = 0
    for seed in range(100):
        found = pooled_coverage(made_record(200, 4, seed))
        held += found.low <= 0.8 <= found.high
    assert 85 <= held <= 100


def test_calibration_tables() -> None:
    record = made_record()
    for row in quantile_calibration(record):
        assert row.happened == pytest.approx(row.said, abs=0.015)
        assert row.count == 10_000
    random = np.random.default_rng(9)
    p_up = random.uniform(0.3, 0.7, 10_000)
    moves = np.where(random.random(10_000) < p_up, 1.0, -1.0)
    table = up_calibration(replace(record, p_up=p_up, moves=moves))
    assert [row.count for row in table] == [1000] * 10
    assert all(row.happened == pytest.approx(row.said, abs=0.05) for row in table)
    assert [row.said for row in table] == sorted(row.said for row in table)
    few = record.where(np.arange(len(record)) < 4)
    assert [row.count for row in up_calibration(few)] == [1] * 4


def test_losses_do_not_depend_on_how_many_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = made_record(10, 7)
    whole = record.losses
    monkeypatch.setattr("prediction_svc.record._AT_ONCE", 16)
    np.testing.assert_array_equal(replace(record).losses, whole)
    assert whole[:, 0].tolist() == pinball_loss(record.moves, record.quantiles).tolist()


def test_the_rows_of_each_symbol() -> None:
    record = made_record(3, 4)
    shuffled = record.where(np.array([True] * 5 + [False] + [True] * 6))
    for symbol, rows in shuffled.rows_by_symbol.items():
        assert rows.tolist() == np.flatnonzero(shuffled.symbols == symbol).tolist()
    assert list(shuffled.rows_by_symbol) == ["S00", "S01", "S02", "S03"]
    assert record.where(np.zeros(12, dtype=bool)).rows_by_symbol == {}


def test_rank_correlation_by_brute_force() -> None:
    record = made_record(30, 21)
    record = replace(record, score=np.round(record.score, 1) + 0.3 * record.moves)

    def rank(values: Floats) -> Floats:
        below = (values[None, :] < values[:, None]).sum(axis=1)
        same = (values[None, :] == values[:, None]).sum(axis=1)
        return np.asarray(below + (same + 1) / 2, dtype=np.float64)

    daily = [
        np.corrcoef(
            rank(record.score[record.target_days == day]),
            rank(record.moves[record.target_days == day]),
        )[0, 1]
        for day in range(30)
    ]
    found = rank_correlation(record)
    assert found is not None
    assert found.value == pytest.approx(np.mean(daily))
    assert found.dates == 30
    assert found.t > 3
    flat = rank_correlation(replace(record, score=np.zeros(len(record))))
    assert flat is not None
    assert (flat.value, flat.t) == (0.0, 0.0)
    assert rank_correlation(made_record(30, 19)) is None


def test_the_coverage_alarm() -> None:
    honest = made_record()
    calm = coverage_alarm(honest)
    assert calm is not None
    assert not calm.rings
    assert calm.low < 0.8 < calm.high
    narrow = np.where(honest.target_days[:, None] >= 340, 0.8, 1.0) * honest.quantiles
    loud = coverage_alarm(replace(honest, quantiles=narrow))
    assert loud is not None
    assert loud.rings
    assert loud.mean == pytest.approx(0.70, abs=0.02)
    assert (loud.low, loud.high) == pytest.approx((calm.low, calm.high), abs=0.01)
    assert coverage_alarm(made_record(62)) is None
    young = coverage_alarm(made_record(100))
    assert young is not None


def test_coverage_is_told_as_it_moved_on() -> None:
    record = made_record(100)
    path = coverage_path(record)
    daily = hits_of(record.moves, record.quantiles).reshape(100, -1).mean(axis=1)
    days = np.unique(record.target_days)
    assert [point.day for point in path] == days[62:].tolist()
    expected = [daily[k : k + 63].mean() for k in range(38)]
    assert [point.mean for point in path] == pytest.approx(expected)
    assert coverage_path(record, last=5) == path[-5:]
    assert coverage_path(made_record(62)) == []


def test_the_coverage_alarm_seldom_rings_falsely() -> None:
    rings = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        common = np.repeat(random.standard_normal(300), 10)
        own = random.standard_normal(3000)
        record = made_record(300, 10, seed, moves=np.sqrt(0.3) * common + np.sqrt(0.7) * own)
        alarm = coverage_alarm(record)
        rings += alarm is not None and alarm.rings
    assert rings <= 6


def controlled_record(days: int, seed: int) -> Record:
    """Moves that have much in common, in bands that a control widens after misses."""
    random = np.random.default_rng(seed)
    common, own = random.standard_normal((days, 1)), random.standard_normal((days, 25))
    moves = np.sqrt(0.3) * common + np.sqrt(0.7) * own
    widths, log_width = np.empty(days), 0.0
    for day in range(days):
        widths[day] = np.exp(log_width)
        hits = np.abs(moves[day]) <= widths[day] * NORMAL_QUANTILES[-2]
        log_width = 0.98 * (log_width + 0.15 * (0.8 - hits.mean()))
    quantiles = np.repeat(widths, 25)[:, None] * NORMAL_QUANTILES
    return made_record(days, 25, seed, moves=moves.ravel(), quantiles=quantiles)


def test_the_alarm_knows_that_misses_are_made_up_for() -> None:
    # Its errors are the deviation that the means of 63 sessions have, not that of chance alone.
    long = controlled_record(6000, 1)
    daily = hits_of(long.moves, long.quantiles).reshape(-1, 25).mean(axis=1)
    deviation = np.convolve(daily, np.ones(63) / 63, "valid").std()
    reaches = []
    for seed in range(40):
        alarm = coverage_alarm(controlled_record(313, seed))
        assert alarm is not None
        reaches.append((alarm.high - alarm.low) / 6)
    assert deviation < np.mean(reaches) < 1.5 * deviation
    assert daily.std() / np.sqrt(63) > 1.6 * deviation
