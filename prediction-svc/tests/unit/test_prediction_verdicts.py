import math

import numpy as np
import pytest

from prediction_svc.histories import Floats
from prediction_svc.verdicts import (
    Verdict,
    by_target_date,
    direction_gains,
    drift_alarm,
    hac_t,
    review,
    reviews_of,
    verdict,
    verdict_path,
)


def noise(mean: float, sessions: int = 1500, seed: int = 1) -> Floats:
    return mean + np.random.default_rng(seed).standard_normal(sessions)


def test_hac_t_is_its_definition() -> None:
    series = noise(0.1, 80)
    centred, n = series - series.mean(), 80
    total = sum(
        (1 - abs(i - j) / 6) * centred[i] * centred[j]
        for i in range(n)
        for j in range(n)
        if abs(i - j) <= 5
    )
    assert hac_t(series) == pytest.approx(series.mean() / math.sqrt(total / n**2))
    assert hac_t(np.zeros(50)) == 0.0
    assert hac_t(np.full(50, 0.2)) == math.inf


def test_gains_by_hand() -> None:
    up = direction_gains(np.array([0.6, 0.6]), np.array([0.5, 0.5]), np.array([0.01, -0.01]))
    np.testing.assert_allclose(up, [0.25 - 0.16, 0.25 - 0.36])
    still = direction_gains(np.array([0.6]), np.array([0.5]), np.array([0.0]))
    assert still[0] < 0  # no move is not up


def test_all_baselines_must_be_beaten() -> None:
    strong, weak = noise(0.5, 300), noise(0.0, 300, seed=2)
    stands, t = review(np.stack([strong, weak], axis=1), stood=False)
    assert not stands
    assert t == hac_t(weak)
    assert review(np.stack([strong, strong], axis=1), stood=False) == (True, hac_t(strong))


def test_an_edge_enters_higher_than_it_leaves() -> None:
    base = np.tile([1.0, -1.0], 100)
    for t, enters, stays in ((3.0, True, True), (2.0, False, True), (1.0, False, False)):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if hac_t(base + middle) < t else (low, middle)
        assert review(base + high, stood=False)[0] is enters
        assert review(base + high, stood=True)[0] is stays


def test_reviews_are_at_150_and_then_every_50() -> None:
    assert list(reviews_of(149)) == [(0, 149)]
    assert list(reviews_of(230)) == [(0, 150), (150, 200), (200, 230)]
    gains = noise(0.5, 230)
    assert verdict(gains[:149]) == Verdict(False, None, 0)
    path = verdict_path(gains)
    assert [one.reviewed_sessions for one in path] == [150, 200]
    assert verdict(gains) == path[-1]
    assert path[-1].t == hac_t(gains[:200])
    assert path[-1].stands


def test_only_the_last_1000_sessions_count() -> None:
    gains = np.concatenate((noise(5.0, 500), noise(0.0, 1000, seed=3)))
    last = verdict(gains)
    assert last.t == hac_t(gains[500:])
    assert not last.stands


def test_noise_seldom_gains_a_verdict() -> None:
    """About 1.2 % of pure noise within 300 sessions."""
    found = sum(verdict(noise(0.0, 300, seed)).stands for seed in range(2000))
    assert 10 <= found <= 45


def test_days_count_once() -> None:
    days = np.array([5, 3, 5, 3, 4])
    gains = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_array_equal(by_target_date(days, gains), [3.0, 5.0, 2.0])
    both = by_target_date(days, np.stack([gains, -gains], axis=1))
    np.testing.assert_array_equal(both, [[3.0, -3.0], [5.0, -5.0], [2.0, -2.0]])


def test_the_drift_alarm_rings_when_the_edge_is_lost() -> None:
    stands, lost = Verdict(True, 3.0, 150), Verdict(False, 1.0, 200)
    assert drift_alarm([stands, lost])
    assert not drift_alarm([stands, stands])
    assert not drift_alarm([lost, lost])
    assert not drift_alarm([lost])
