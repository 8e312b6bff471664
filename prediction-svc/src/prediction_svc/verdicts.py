"""Two verdicts, *range* and *direction*: has a forecaster beaten the naive ones, or not?

They are reviewed at fixed numbers of scored sessions only, since who looks every day finds an edge
sooner or later.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prediction_svc.histories import Floats
from prediction_svc.scores import HAC_LAGS, hac_variance

FIRST_REVIEW, REVIEW_EVERY, REVIEWED_SESSIONS = 150, 50, 1000
ENTER_AT, LEAVE_AT = 2.6, 1.3


@dataclass(frozen=True)
class Verdict:
    """Whether an edge is demonstrated, by the latest review."""

    stands: bool
    t: float | None
    """Smallest HAC(5) t-value at that review; None before the first."""
    reviewed_sessions: int
    """Scored sessions at that review, at most 1,000 of which it looked at; 0 before the first."""


def hac_t(series: Floats, lags: int = HAC_LAGS) -> float:
    """t-value of the mean of a series, shape (n,), by Newey and West (1987); 0 where constant 0.

    A constant other than 0 is infinitely far from it.
    """
    mean = float(series.mean())
    error = math.sqrt(hac_variance(series - mean, lags))
    if error <= 1e-12 * abs(mean):
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / error


def direction_gains(p_up: Floats, base: Floats, moves: Floats) -> Floats:
    """(base rate − outcome)² − (P(up) − outcome)², shape (n,): the gain in the Brier score."""
    up = (moves > 0).astype(np.float64)
    return np.asarray((base - up) ** 2 - (p_up - up) ** 2, dtype=np.float64)


def reviews_of(sessions: int) -> Iterator[tuple[int, int]]:
    """Stretches [first, last) of scored sessions between reviews, from 0 to `sessions`.

    There is a review at the beginning of each but the first: at 150, 200, 250, …
    """
    first, last = 0, FIRST_REVIEW
    while first < sessions:
        yield first, min(last, sessions)
        first, last = last, last + REVIEW_EVERY


def review(gains: Floats, stood: bool) -> tuple[bool, float]:
    """Review once: gains (n,) or (n, k), oldest first. Whether the verdict stands now, and t.

    It enters at t ≥ 2.6 and leaves at t < 1.3, where t is the smallest over the k columns over the
    last 1,000 sessions.
    """
    recent = gains[-REVIEWED_SESSIONS:]
    columns = recent[:, None] if recent.ndim == 1 else recent
    t = min(hac_t(columns[:, k]) for k in range(columns.shape[1]))
    return (t >= LEAVE_AT if stood else t >= ENTER_AT), t


def verdict_path(gains: Floats) -> list[Verdict]:
    """The verdict of every review of gains (n,) or (n, k), oldest first, one a session."""
    path: list[Verdict] = []
    for sessions in range(FIRST_REVIEW, len(gains) + 1, REVIEW_EVERY):
        stands, t = review(gains[:sessions], bool(path) and path[-1].stands)
        path.append(Verdict(stands, t, sessions))
    return path


def verdict(gains: Floats) -> Verdict:
    """The verdict of the latest review; one that does not stand before the first."""
    return (verdict_path(gains) or [Verdict(False, None, 0)])[-1]


def by_target_date(target_days: np.ndarray, gains: Floats) -> Floats:
    """Mean of the gains, (n,) or (n, k), of each target date, in order of the dates.

    What all symbols have in common on one day counts once.
    """
    _, day = np.unique(target_days, return_inverse=True)
    columns = gains[:, None] if gains.ndim == 1 else gains
    count = np.bincount(day)
    means = np.stack([np.bincount(day, column) / count for column in columns.T], axis=1)
    return means[:, 0] if gains.ndim == 1 else means


def drift_alarm(path: list[Verdict]) -> bool:
    """Whether the pooled range verdict was lost at the latest review."""
    return len(path) > 1 and path[-2].stands and not path[-1].stands
