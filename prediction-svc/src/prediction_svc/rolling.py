"""Windows over symbols' own sessions that end at the session, never later.

Sums run from the first bar on in order, so bars added later change no earlier bit.
"""

import numpy as np

from prediction_svc.histories import Floats, Ints


def ewma(values: Floats, decay: float) -> Floats:
    """Exponentially weighted mean, seeded expandingly; NaN carries the level on.

    values (n,) or (n, symbols). The k-th value seen weighs max(1/k, 1 - decay): a plain mean until
    the decay takes over.
    """
    level = np.full(values.shape[1:], np.nan)
    seen = np.zeros(values.shape[1:])
    levels = np.empty_like(values, dtype=np.float64)
    for t, value in enumerate(values):
        there = ~np.isnan(value)
        seen = seen + there
        weight = np.maximum(1 / np.maximum(seen, 1), 1 - decay)
        moved = np.where(seen > 1, level + weight * (value - level), value)
        level = np.where(there, moved, level)
        levels[t] = level
    return levels


class Windows:
    """Means over windows of the same values; those that are not there don't count."""

    def __init__(self, values: Floats) -> None:
        self._there = np.isfinite(values)
        self._values = values
        self._count = _running(self._there.astype(np.int64))
        self._counts: dict[int, Floats] = {}
        self._total = _running(np.where(self._there, values, 0.0))
        self._squares: Floats | None = None

    def mean(self, window: int, least: int | None = None) -> Floats:
        """Mean of the values that are there; NaN below `least` of them (default half)."""
        return self._mean(self._total, window, least)

    def deviation(self, window: int, least: int | None = None) -> Floats:
        """Standard deviation of the values that are there, as `mean`."""
        if self._squares is None:
            self._squares = _running(np.where(self._there, self._values * self._values, 0.0))
        middle = self._mean(self._total, window, least)
        square = self._mean(self._squares, window, least)
        return np.sqrt(np.maximum(square - middle * middle, 0.0))

    def _mean(self, running: Floats, window: int, least: int | None) -> Floats:
        count = self._counts.get(window)
        if count is None:
            count = self._counts[window] = _in_window(self._count, window)
        enough = count >= (max(1, window // 2) if least is None else least)
        return np.where(enough, _in_window(running, window) / np.maximum(count, 1), np.nan)


def _running(values: Floats | Ints) -> Floats:
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums


def _in_window(running: Floats, window: int) -> Floats:
    sums = running[1:].copy()
    sums[window:] -= running[1 : max(1, len(running) - window)]
    return sums


def mean(values: Floats, window: int, least: int | None = None) -> Floats:
    """`Windows.mean` of a single window."""
    return Windows(values).mean(window, least)


def deviation(values: Floats, window: int, least: int | None = None) -> Floats:
    """`Windows.deviation` of a single window."""
    return Windows(values).deviation(window, least)


def maximum(values: Floats, window: int, lag: int = 0) -> Floats:
    """Return the largest value of `window` sessions that end `lag` sessions ago; NaN before."""
    highest = np.full(len(values), np.nan)
    rows = len(values) - window - lag + 1
    if rows > 0:
        # The largest of 2, 4, 8 … sessions, and then of two such stretches that overlap.
        largest, length = np.where(np.isnan(values), 0.0, values), 1
        while 2 * length <= window:
            largest, length = np.maximum(largest[:-length], largest[length:]), 2 * length
        rest = window - length
        highest[window - 1 + lag :] = np.maximum(largest[:rows], largest[rest : rest + rows])
    return highest


def sessions_since_maximum(values: Floats, window: int) -> Floats:
    """How many sessions ago the largest of the last `window` values was; NaN before."""
    ago = np.full(len(values), np.nan)
    if len(values) >= window:
        known = np.where(np.isnan(values), 0.0, values)
        views = np.lib.stride_tricks.sliding_window_view(known, window)
        ago[window - 1 :] = window - 1 - views.argmax(axis=1)
    return ago


def change(values: Floats, sessions: int) -> Floats:
    """Difference to the value `sessions` sessions ago; NaN before."""
    difference = np.full(len(values), np.nan)
    if len(values) > sessions:
        difference[sessions:] = values[sessions:] - values[:-sessions]
    return difference
