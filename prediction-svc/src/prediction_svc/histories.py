"""Daily bars of one symbol, as columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLUMNS = ("opens", "highs", "lows", "closes", "volumes")
KINDS = ("equity", "24/7", "24/5", "fund")
"""What a group's name begins with: stocks and the like trade by exchange, "equity:XNYS"."""


@dataclass(frozen=True)
class History:
    """Bars of one symbol whose sessions have closed, oldest first; columns of equal length n.

    Prices are in major units, adjusted for splits; days count from 1970-01-01; close_seconds are
    UTC seconds since the epoch, strictly rising. A missing open, high, low or volume is NaN.
    """

    symbol: str
    days: Ints
    close_seconds: Ints
    opens: Floats
    highs: Floats
    lows: Floats
    closes: Floats
    volumes: Floats
    group: str = KINDS[0]
    """Symbols that are calibrated together: one of KINDS, then ":" and the exchange if need be."""

    def __len__(self) -> int:
        return len(self.closes)

    def until(self, second: int) -> "History":
        """Return the bars that had closed at the instant `second`."""
        return self.first(int(np.searchsorted(self.close_seconds, second, side="right")))

    def first(self, bars: int) -> "History":
        """Return the first `bars` bars."""
        names = ("days", "close_seconds", *COLUMNS)
        return replace(self, **{name: getattr(self, name)[:bars] for name in names})


def clean_history(
    symbol: str,
    days: Ints,
    close_seconds: Ints,
    columns: Mapping[str, Floats],
    group: str = KINDS[0],
) -> History:
    """Build a history: a bar without a close is left out, prices that are none become NaN.

    Raises ValueError where columns differ in length, instants do not rise or the group is unknown.
    """
    if group.split(":", maxsplit=1)[0] not in KINDS:
        raise ValueError(f"{symbol}: group {group!r} does not begin with one of {', '.join(KINDS)}")
    lengths = {len(days), len(close_seconds), *(len(columns[name]) for name in COLUMNS)}
    if len(lengths) != 1:
        raise ValueError(f"{symbol}: columns of different lengths {sorted(lengths)}")
    closes = columns["closes"]
    keep = np.isfinite(closes) & (closes > 0)
    if np.any(np.diff(close_seconds[keep]) <= 0):
        raise ValueError(f"{symbol}: instants of closes do not rise")
    kept = {name: _priced(columns[name][keep], name) for name in COLUMNS}
    return History(symbol, days[keep], close_seconds[keep], group=group, **kept)


def _priced(column: Floats, name: str) -> Floats:
    valid = np.isfinite(column) & (column >= 0 if name == "volumes" else column > 0)
    return np.where(valid, column, np.nan)
