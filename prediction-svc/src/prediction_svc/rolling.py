"""Windows over one symbol's own sessions that end at the session, never later.

Sums run from the first bar on in order, so bars added later change no earlier bit.
"""

import math

import numpy as np

from prediction_svc.histories import Floats, Ints


def ewma(values: Floats, decay: float) -> Floats:
    """Exponentially weighted mean, seeded expandingly; NaN carries the level on.

    The k-th value seen weighs max(1/k, 1 - decay): a plain mean until the decay takes over.
    """
    level, seen = math.nan, 0
    levels: list[float] = []
    for value in values.tolist():
        if not math.isnan(value):
            seen += 1
            level = value if seen == 1 else level + max(1 / seen, 1 - decay) * (value - level)
        levels.append(level)
    return np.array(levels, dtype=np.float64)


def _window_sum(values: Floats | Ints, window: int) -> Floats:
    running = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    return np.asarray(running[ends] - running[np.maximum(ends - window, 0)], dtype=np.float64)


def mean(values: Floats, window: int, least: int | None = None) -> Floats:
    """Mean of the values that are there; NaN below `least` of them (default half the window)."""
    there = np.isfinite(values)
    count = _window_sum(there.astype(np.int64), window)
    total = _window_sum(np.where(there, values, 0.0), window)
    enough = count >= (max(1, window // 2) if least is None else least)
    return np.where(enough, total / np.maximum(count, 1), np.nan)


def deviation(values: Floats, window: int, least: int | None = None) -> Floats:
    """Standard deviation of the values that are there, as `mean`."""
    middle = mean(values, window, least)
    return np.sqrt(np.maximum(mean(values * values, window, least) - middle * middle, 0.0))


def maximum(values: Floats, window: int, lag: int = 0) -> Floats:
    """Return the largest value of `window` sessions that end `lag` sessions ago; NaN before."""
    highest = np.full(len(values), np.nan)
    rows = len(values) - window - lag + 1
    if rows > 0:
        views = np.lib.stride_tricks.sliding_window_view(np.nan_to_num(values), window)
        highest[window - 1 + lag :] = views[:rows].max(axis=1)
    return highest


def sessions_since_maximum(values: Floats, window: int) -> Floats:
    """How many sessions ago the largest of the last `window` values was; NaN before."""
    ago = np.full(len(values), np.nan)
    if len(values) >= window:
        views = np.lib.stride_tricks.sliding_window_view(np.nan_to_num(values), window)
        ago[window - 1 :] = window - 1 - views.argmax(axis=1)
    return ago


def change(values: Floats, sessions: int) -> Floats:
    """Difference to the value `sessions` sessions ago; NaN before."""
    difference = np.full(len(values), np.nan)
    if len(values) > sessions:
        difference[sessions:] = values[sessions:] - values[:-sessions]
    return difference
