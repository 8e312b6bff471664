"""What a note may be."""

import pytest

from foretick_rpc.notes import parse_note


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ("", ""),
        (" bought at 100\r\nsell at 120\r", "bought at 100\nsell at 120"),
        ("e\u0301" * 500, "é" * 500),
        ("½ ＠", "½ ＠"),
        ("=cmd()", "=cmd()"),
    ],
)
def test_a_note_is_kept_as_it_was_meant(given: str, note: str) -> None:
    assert parse_note(given) == note


@pytest.mark.parametrize("given", ["x" * 501, "a\tb", "a\0b", "a\x85b", "a\u2029b", " " * 2001])
def test_a_note_that_is_none(given: str) -> None:
    with pytest.raises(ValueError, match="A note has"):
        parse_note(given)
