"""Geometry of the band bars: the 80 % band of each row on one scale that the list shares."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.watchlist import Row

# Ends of the scale that read well, in percent; the last ones are for what moves wildly.
_ENDS = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000)
_HALF_WIDTH = 49.0  # leaves room at the edges for a dot


@dataclass(frozen=True, slots=True)
class BandBar:
    """Where a bar, its dot and the tick stand, in percent of the drawing's width."""

    left: float
    width: float
    dot: float | None
    tick: float = 50.0


def scale_end(rows: Iterable[Row]) -> float:
    """Return the end of the shared scale, which runs from -end to +end, in percent moves.

    It is symmetric, so that "no change" stands at one place in all rows.
    """
    widest = max((abs(move) for row in rows for move in row.band_moves or ()), default=0.0)
    return next((end for end in _ENDS if end >= widest), widest)


def band_bar(row: Row, end: float) -> BandBar | None:
    """Place the row's band on a scale from -end to +end; None where there is no band."""
    if row.band_moves is None:
        return None
    low, high = (_place(move, end) for move in row.band_moves)
    dot = None if row.median_move is None else round(_place(row.median_move, end), 2)
    return BandBar(left=round(low, 2), width=round(max(high - low, 0.4), 2), dot=dot)


def _place(move: float, end: float) -> float:
    return 50 + _HALF_WIDTH * max(-1.0, min(1.0, move / end))
