import re
from importlib.resources import files

import pytest

from gateway.drawings import SCALE_ENDS, drawn_move, reach, scale_end, sparkline


def test_the_scale_reaches_the_widest_band() -> None:
    assert reach((-7.0, 9.5)) == 9.5
    assert reach((-7.0, 2.5)) == 7.0
    assert reach(None) == 0
    assert scale_end(9.5) == 10
    assert scale_end(10.0) == 10
    assert scale_end(0.0) == 0.5


def test_what_moves_beyond_all_scales_is_cut_off() -> None:
    assert scale_end(1e9) == SCALE_ENDS[-1]
    assert drawn_move(1e300) == SCALE_ENDS[-1]
    assert drawn_move(-1e300) == -SCALE_ENDS[-1]
    assert drawn_move(1.23456) == 1.23


def test_the_stylesheet_knows_every_scale() -> None:
    css = files("gateway").joinpath("static", "app.css").read_text()
    found = re.findall(r'\[data-scale="([\d.]+)"\] \.moves \{ transform: scaleX\(([\d.]+)\)', css)
    assert [float(end) for end, _ in found] == list(SCALE_ENDS)
    for end, stretch in found:
        # The end of the scale stands just inside of a drawing from -100 to 100.
        assert float(end) * float(stretch) == pytest.approx(98, rel=1e-4)


def test_a_sparkline_fills_its_drawing() -> None:
    assert sparkline([1.0, 3.0, 2.0]) == "0,20.0 1,0.0 2,10.0"
    assert sparkline([5.0, 5.0]) == "0,0.0 1,0.0"
    assert sparkline([5.0]) == sparkline([]) == ""
