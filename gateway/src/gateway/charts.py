"""Geometry of the drawings of the symbol page and the track record; templates draw them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.record_model import COVERED, CalibrationPoint, CoverageAlarm, Interval

WIDTH, HEIGHT = 360.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 20.0, 10.0, 28.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_ENDS = (0.5, 1, 2, 3, 5, 8, 10, 15, 20, 30, 50, 100)
_FEWEST_DRAWN = 2  # points that make a line


@dataclass(frozen=True, slots=True)
class Tick:
    """A value of an axis and where it stands."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from ``low`` to ``high`` on a stretch of the drawing."""

    low: float
    high: float
    begin: float
    end: float
    step: float

    def place(self, value: float) -> float:
        """Where a value stands; values outside stand at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    @property
    def ticks(self) -> list[Tick]:
        """Round values, rising."""
        count = round((self.high - self.low) / self.step)
        values = [round(self.low + k * self.step, 10) for k in range(count + 1)]
        return [Tick(value, self.place(value)) for value in values]


def axis(values: Iterable[float], begin: float, end: float, *, most: int = 6) -> Axis:
    """Build a scale with round ends that holds all values, with at most so many steps."""
    found = list(values)
    low, high = min(found), max(found)
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in _STEPS if each * power >= rough * (1 - 1e-9))
    return Axis(
        low=round(math.floor(low / step + 1e-9) * step, 10),
        high=round(math.ceil(high / step - 1e-9) * step, 10),
        begin=begin,
        end=end,
        step=step,
    )


@dataclass(frozen=True, slots=True)
class Dot:
    """Where a point stands, and what it says."""

    x: float
    y: float
    point: CalibrationPoint


@dataclass(frozen=True, slots=True)
class CalibrationPlot:
    """What was said across, what happened upwards; where both agree, points lie on the line."""

    x: Axis
    y: Axis
    dots: tuple[Dot, ...]

    @property
    def diagonal(self) -> tuple[float, float, float, float]:
        """The line on which what was said is what happened: x1, y1, x2, y2."""
        low, high = max(self.x.low, self.y.low), min(self.x.high, self.y.high)
        return self.x.place(low), self.y.place(low), self.x.place(high), self.y.place(high)


def calibration_plot(
    points: Sequence[CalibrationPoint], ends: tuple[float, float] | None = None
) -> CalibrationPlot | None:
    """Place calibration points on one scale for both axes; None without any.

    Bins that nothing fell into are not there, and nothing is drawn in their place.
    """
    counted = [point for point in points if point.count > 0]
    if not counted:
        return None
    values = [each for point in counted for each in (point.said, point.happened)]
    values += ends or ()
    x, y = axis(values, LEFT, WIDTH - RIGHT), axis(values, HEIGHT - BOTTOM, TOP)
    dots = [Dot(x.place(each.said), y.place(each.happened), each) for each in counted]
    return CalibrationPlot(x, y, tuple(dots))


@dataclass(frozen=True, slots=True)
class CoveragePlot:
    """Coverage as it moved on, beside what it should be and what chance allows."""

    y: Axis
    line: str
    """The points of a polyline."""
    target: float
    allowed: tuple[float, float] | None
    """Top and height of what chance allows."""
    first: str
    last: str


def coverage_plot(
    path: Sequence[tuple[str, float]], alarm: CoverageAlarm | None
) -> CoveragePlot | None:
    """Place coverage, (ISO date, mean), from the first to the last; None where no line is made."""
    if len(path) < _FEWEST_DRAWN:
        return None
    means = [mean for _, mean in path]
    allowed = (alarm.mean.low, alarm.mean.high) if alarm else (COVERED, COVERED)
    y = axis([*means, COVERED, *allowed], HEIGHT - BOTTOM, TOP)
    across = (WIDTH - RIGHT - LEFT) / (len(path) - 1)
    points = [f"{LEFT + k * across:.1f},{y.place(mean)}" for k, mean in enumerate(means)]
    top, bottom = y.place(allowed[1]), y.place(allowed[0])
    return CoveragePlot(
        y=y,
        line=" ".join(points),
        target=y.place(COVERED),
        allowed=(top, round(bottom - top, 1)) if alarm else None,
        first=path[0][0],
        last=path[-1][0],
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from zero, or an interval, in percent of the drawing's width."""

    left: float
    width: float
    zero: float
    dot: float | None = None


def signed_bars(values: Sequence[float]) -> list[Bar]:
    """Place bars that begin at zero, to the right where positive, on one scale for all."""
    end = max((abs(each) for each in values), default=0.0) or 1.0
    bars = []
    for value in values:
        edge = 50 + 50 * value / end
        low, high = sorted((50.0, edge))
        bars.append(Bar(left=round(low, 2), width=round(high - low, 2), zero=50.0))
    return bars


def interval_end(intervals: Iterable[Interval]) -> float:
    """Return the end of a scale from -end to +end that holds all intervals."""
    widest = max((max(abs(each.low), abs(each.high)) for each in intervals), default=0.0)
    return next((end for end in _ENDS if end >= widest), widest)


def interval_bar(interval: Interval, end: float) -> Bar:
    """Place an interval on a scale from -end to +end."""
    low, value, high = (
        50 + 49 * max(-1.0, min(1.0, each / end))
        for each in (interval.low, interval.value, interval.high)
    )
    return Bar(round(low, 2), round(max(high - low, 0.4), 2), 50.0, round(value, 2))
