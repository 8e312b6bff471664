"""Which symbols are not forecast, and why."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction_svc.histories import Floats, History
from prediction_svc.panel import log_returns
from prediction_svc.recipe import Recipe

SUSPECT_MOVE = 0.35
SPLIT_RATIOS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)
NEAR = 0.06  # of the log ratio: the day's own move comes on top
PENDING_SESSIONS = 5
STILL_SESSIONS = 10


@dataclass(frozen=True)
class WhyNot:
    """A reason to branch on and a sentence for people."""

    reason: str
    message: str


def why_not(history: History, recipe: Recipe) -> WhyNot | None:
    """Say why a symbol is not forecast from this history; None where it can be."""
    symbol, bars = history.symbol, len(history)
    if bars < recipe.least_bars:
        message = f"{symbol} has {bars} sessions; {recipe.least_bars} are needed."
        return WhyNot("HISTORY_TOO_SHORT", message)
    if looks_like_a_split(history):
        return WhyNot(
            "CORPORATE_ACTION_PENDING",
            f"The price of {symbol} moved as by a split that the source has not told of; "
            f"it is forecast again once it does, or after {PENDING_SESSIONS} sessions.",
        )
    if stands_still(history):
        message = f"{symbol} has not traded in its last {STILL_SESSIONS} sessions."
        return WhyNot("TRADING_HALTED", message)
    return None


def looks_like_a_split(history: History) -> bool:
    """Whether one of the last 5 moves is larger than .35 and near the log of a split's ratio.

    Histories are adjusted for the splits that are known, so these have no such move.
    """
    return bool(split_like(log_returns(history)[1:][-PENDING_SESSIONS:]).any())


def split_like(moves: Floats) -> NDArray[np.bool_]:
    """Whether each log move, shape (n,), is one that an untold split would make."""
    sizes = np.abs(moves)
    off = np.abs(sizes[:, None] - np.log(SPLIT_RATIOS)[None, :])
    return np.asarray((sizes > SUSPECT_MOVE) & (off.min(axis=1) < NEAR))


def stands_still(history: History) -> bool:
    """Whether the last 10 sessions have neither a volume nor a move."""
    volumes, closes = history.volumes[-STILL_SESSIONS:], history.closes[-STILL_SESSIONS:]
    whole = len(closes) == STILL_SESSIONS
    return whole and bool((volumes == 0).all() and (closes == closes[0]).all())
