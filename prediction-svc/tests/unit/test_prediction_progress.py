import io

import pytest

from prediction_svc.progress import ProgressBar
from prediction_svc.record import Estimate, in_words


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_tells_what_is_done_and_left() -> None:
    now = iter([0.0, 10.0, 40.0])
    stream = Terminal()
    bar = ProgressBar(stream, lambda: next(now))
    bar.show(0.25, "training")
    bar.show(1.0, "done")
    first, last = stream.getvalue().split("\r")[1:]
    assert "25% training (10 s, 30 s left)" in first
    assert "100% done (40 s)" in last
    assert last.endswith("\n")


def test_nothing_is_drawn_where_nobody_looks() -> None:
    stream = io.StringIO()
    ProgressBar(stream, lambda: 0.0).show(0.5, "training")
    assert not stream.getvalue()


@pytest.mark.parametrize(
    ("stands", "line"),
    [
        (
            (True, False),
            "Range: sharper than naive by 2.1 % (0.9 to 3.4; 1,000 sessions, live)"
            " · Direction: no demonstrated edge",
        ),
        (
            (False, True),
            "Range: no demonstrated edge"
            " · Direction: right more often than naive (1,000 sessions, live)",
        ),
    ],
)
def test_the_line_for_people(stands: tuple[bool, bool], line: str) -> None:
    assert in_words(Estimate(2.1, 0.9, 3.4), stands, 1000, "live") == line
