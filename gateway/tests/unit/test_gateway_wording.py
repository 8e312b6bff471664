from datetime import UTC, datetime

import pytest

from gateway import wording

NBSP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


def test_prices_have_their_decimals_and_thousands() -> None:
    assert wording.price(1234.5, 2) == "1,234.50"
    assert wording.price(0.123456, 4) == "0.1235"
    assert wording.price(7000.0, 0) == "7,000"
    assert wording.price(None) == "\N{EM DASH}"
    assert wording.price(1.0, -3) == "1"


@pytest.mark.parametrize(
    ("value", "written", "direction"),
    [
        (0.524, f"+0.52{NBSP}%", "up"),
        (-1.0, f"{MINUS}1.00{NBSP}%", "down"),
        (0.0, f"0.00{NBSP}%", "flat"),
        (-0.004, f"0.00{NBSP}%", "flat"),
        (0.004, f"0.00{NBSP}%", "flat"),
        (None, "\N{EM DASH}", "flat"),
    ],
)
def test_moves_are_told_by_sign(value: float | None, written: str, direction: str) -> None:
    assert wording.percent(value) == written
    assert wording.direction(value) == direction


def test_days_and_instants_are_named() -> None:
    assert wording.day("2020-01-02") == "Thu 2 Jan 2020"
    assert wording.day("soon") == "soon"
    assert wording.instant(datetime(2019, 12, 31, 21, 0, tzinfo=UTC)) == "31 Dec 2019, 21:00 UTC"
