"""Names of lists."""

import pytest

from subscription_svc.list_texts import name_key, parse_name
from subscription_svc.refusals import FieldInvalidError


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (" Tech ", "Tech"),
        ("Ｔｅｃｈ", "Tech"),
        ("Cafe\u0301", "Café"),
        ("a\u00a0b", "a b"),
        ("x" * 60, "x" * 60),
        ("e\u0301" * 60, "é" * 60),
        ("自选股", "自选股"),
    ],
)
def test_a_name_has_one_spelling(given: str, name: str) -> None:
    assert parse_name(given) == name


@pytest.mark.parametrize(
    "given",
    ["", "   ", "x" * 61, "ﷺ" * 20, "a\nb", "a\0b", "a\u2028b", "\u200b", "x" * 100_000, " " * 241],
)
def test_a_name_that_is_none(given: str) -> None:
    with pytest.raises(FieldInvalidError) as caught:
        parse_name(given)
    assert caught.value.field == "name"
    assert len(str(caught.value)) < 100


def test_names_that_differ_in_case_are_the_same() -> None:
    assert name_key("STRASSE") == name_key("straße")
    assert name_key("Tech") == name_key("TECH") != name_key("Tech 2")
