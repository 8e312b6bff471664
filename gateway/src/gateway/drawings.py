"""Geometry of what rows draw: band bars on a scale that the list shares, and sparklines."""

from collections.abc import Iterable, Sequence

# Ends of the scale that read well, in percent; app.css has a rule for each.
SCALE_ENDS = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000)
SPARK_WIDTH, SPARK_HEIGHT = 100, 20


def scale_end(reaches: Iterable[float]) -> float:
    """Return the end of the shared scale, which runs from -end to +end, in percent moves.

    ``reaches`` are the largest moves of the rows, in percent. The scale is symmetric, so that "no
    change" stands at one place in all rows; what moves more than the last end is cut off.
    """
    widest = max(reaches, default=0.0)
    return next((end for end in SCALE_ENDS if end >= widest), SCALE_ENDS[-1])


def reach(band_moves: tuple[float, float] | None) -> float:
    """Return how far a band reaches from no change, in percent; 0 without a band."""
    return 0.0 if band_moves is None else max(map(abs, band_moves))


def drawn_move(move: float) -> float:
    """Return a move in percent as bars draw it: to a hundredth, and not without end."""
    return round(max(-SCALE_ENDS[-1], min(SCALE_ENDS[-1], move)), 2)


def sparkline(closes: Sequence[float]) -> str:
    """Return the points of a line through ``closes``, oldest first; empty for fewer than two.

    The lowest close stands at the foot of a drawing of `SPARK_WIDTH` by `SPARK_HEIGHT`, the highest
    at its head.
    """
    if len(closes) < 2:
        return ""
    low, high = min(closes), max(closes)
    step, height = SPARK_WIDTH / (len(closes) - 1), SPARK_HEIGHT / ((high - low) or 1.0)
    return " ".join(
        f"{number * step:.1f},{(high - close) * height:.1f}" for number, close in enumerate(closes)
    )
