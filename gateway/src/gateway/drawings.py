"""Geometry of what rows draw: band bars on a scale that the list shares, and sparklines."""

from bisect import bisect_left
from collections.abc import Sequence

# Ends of the scale that read well, in percent; app.css has a rule for each.
SCALE_ENDS = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000)
SPARK_HEIGHT = 20


def scale_end(widest: float) -> float:
    """Return the end of the shared scale, which runs from -end to +end, in percent moves.

    ``widest`` is how far the widest band reaches. The scale is symmetric, so that "no change"
    stands at one place in all rows; what moves more than the last end is cut off.
    """
    return SCALE_ENDS[min(bisect_left(SCALE_ENDS, widest), len(SCALE_ENDS) - 1)]


def reach(band_moves: tuple[float, float] | None) -> float:
    """Return how far a band reaches from no change, in percent; 0 without a band."""
    return 0.0 if band_moves is None else max(map(abs, band_moves))


def drawn_move(move: float) -> float:
    """Return a move in percent as bars draw it: to a hundredth, and not without end."""
    return round(max(-SCALE_ENDS[-1], min(SCALE_ENDS[-1], move)), 2)


def sparkline(closes: Sequence[float]) -> str:
    """Return the points of a line through ``closes``, oldest first; empty for fewer than two.

    A session is one unit wide. The lowest close stands at the foot of a drawing that is
    `SPARK_HEIGHT` high, the highest at its head.
    """
    if len(closes) < 2:
        return ""
    high = max(closes)
    height = SPARK_HEIGHT / ((high - min(closes)) or 1.0)
    return " ".join(
        f"{number},{(high - close) * height:.1f}" for number, close in enumerate(closes)
    )
