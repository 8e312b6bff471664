"""Where things stand in drawings."""

import pytest

from gateway.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    axis,
    calibration_plot,
    coverage_plot,
    interval_bar,
    interval_end,
    signed_bars,
)
from gateway.record_model import CalibrationPoint, CoverageAlarm, Interval


@pytest.mark.parametrize(
    ("values", "low", "high", "step"),
    [
        ((0.0, 1.0), 0, 1, 0.2),
        ((0.47, 0.531), 0.46, 0.54, 0.02),
        ((0.8, 0.8), 0.74, 0.86, 0.02),
        ((-3.0, 11.0), -5, 15, 2.5),
    ],
)
def test_axes_have_round_ends_that_hold_all_values(
    values: tuple[float, ...], low: float, high: float, step: float
) -> None:
    found = axis(values, 0, 100)
    assert found.low <= min(values)
    assert found.high >= max(values)
    ticks = [tick.value for tick in found.ticks]
    assert ticks[0] == found.low
    assert ticks[-1] == found.high
    assert len(ticks) <= 9
    assert found.place(found.low) == 0
    assert found.place(found.high) == 100
    assert (found.low, found.high) == pytest.approx((low, high), abs=2.5 * step)


def test_what_lies_outside_stands_at_the_edge() -> None:
    found = axis((0.0, 1.0), 10, 20)
    assert (found.place(-5), found.place(7)) == (10, 20)


def test_said_is_across_and_happened_upwards() -> None:
    points = [CalibrationPoint(0.1, 0.2, 50), CalibrationPoint(0.9, 0.8, 50)]
    plot = calibration_plot(points, (0.0, 1.0))
    assert plot is not None
    first, last = plot.dots
    assert LEFT < first.x < last.x < WIDTH - RIGHT
    assert TOP < last.y < first.y < HEIGHT - BOTTOM
    assert plot.diagonal == (LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, TOP)


def test_a_point_that_is_right_lies_on_the_line() -> None:
    plot = calibration_plot([CalibrationPoint(0.25, 0.25, 9), CalibrationPoint(0.75, 0.6, 9)])
    assert plot is not None
    x1, y1, x2, y2 = plot.diagonal
    dot = plot.dots[0]
    assert y1 + (dot.x - x1) / (x2 - x1) * (y2 - y1) == pytest.approx(dot.y, abs=0.2)


def test_empty_bins_stay_empty() -> None:
    points = [CalibrationPoint(0.5, 0.5, 0), CalibrationPoint(0.6, 0.55, 3)]
    plot = calibration_plot(points)
    assert plot is not None
    assert [dot.point for dot in plot.dots] == points[1:]
    assert calibration_plot(points[:1]) is None
    assert calibration_plot([]) is None


def test_coverage_runs_from_the_first_to_the_last_date() -> None:
    path = [("2020-01-02", 0.78), ("2020-01-03", 0.8), ("2020-01-06", 0.84)]
    alarm = CoverageAlarm(False, Interval(0.84, 0.74, 0.86))
    plot = coverage_plot(path, alarm)
    assert plot is not None
    points = [tuple(map(float, each.split(","))) for each in plot.line.split(" ")]
    assert [x for x, _ in points] == [LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT]
    assert points[0][1] > points[1][1] == plot.target > points[2][1]
    assert plot.allowed is not None
    top, height = plot.allowed
    assert top < plot.target < top + height
    assert (plot.first, plot.last) == ("2020-01-02", "2020-01-06")
    calm = coverage_plot(path, None)
    assert calm is not None
    assert calm.allowed is None
    assert coverage_plot(path[:1], alarm) is None


def test_signed_bars_begin_at_zero_on_one_scale() -> None:
    right, left, nothing = signed_bars([0.2, -0.1, 0.0])
    assert (right.left, right.width) == (50, 50)
    assert (left.left, left.width) == (25, 25)
    assert nothing.width == 0
    assert [bar.width for bar in signed_bars([0.0, 0.0])] == [0, 0]


def test_intervals_share_a_scale_that_holds_them() -> None:
    intervals = [Interval(1.0, -0.5, 2.5), Interval(-1.0, -4.0, 2.0)]
    end = interval_end(intervals)
    assert end == 5
    for interval in intervals:
        bar = interval_bar(interval, end)
        assert bar.dot is not None
        assert 0 <= bar.left < bar.dot < bar.left + bar.width <= 100
    assert interval_bar(Interval(0.0, -1.0, 1.0), 2).dot == 50
    assert interval_end([]) == 0.5
