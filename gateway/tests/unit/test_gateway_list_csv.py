"""What people import, line by line, and what they export."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretick_rpc.notes import parse_note
from gateway.list_csv import EMPTY, TOO_LONG, Line, decode, parse, write


def symbols(text: str) -> list[str]:
    return [line.symbol for line in parse(text).lines]


def bad(text: str) -> dict[int, str]:
    return {line.number: line.message for line in parse(text).bad}


@pytest.mark.parametrize(
    "text",
    [
        "AAPL\nBRK-B\n",
        "aapl\r\n\r\n brk-b \r\n",
        "aapl\rbrk-b",
        "symbol\nAAPL\nBRK-B",
        "Symbol;Note\nAAPL;\nBRK-B;\n",
        "\ufeffsymbol,note\nAAPL,\nBRK-B,\n",
        "name\tSYMBOL\nApple\tAAPL\nBerkshire\tbrk-b\n",
        '"symbol"\n"AAPL"\n"BRK-B"\n',
        "\n \n,,\nAAPL\nBRK-B",
    ],
)
def test_symbols_are_found_in_all_that_programs_write(text: str) -> None:
    assert symbols(text) == ["AAPL", "BRK-B"]
    assert bad(text) == {}


def test_lines_are_counted_as_an_editor_does() -> None:
    text = 'symbol,note\nAAPL,"one\ntwo"\n\nA B,\nXOM,three\n'
    assert parse(text).lines == (Line(2, "AAPL", "one\ntwo"), Line(6, "XOM", "three"))
    assert bad(text) == {5: "This is not a symbol."}


def test_every_bad_line_is_named_with_its_reason() -> None:
    found = parse(f"AAPL,good\n<b>,x\n,only a note\nXOM,{'x' * 501}\nKO,a\x07b\nAAPL\nGE,a,b\n")
    assert [line.symbol for line in found.lines] == ["AAPL"]
    assert [(line.number, line.text[:12], line.message) for line in found.bad] == [
        (2, "<b>, x", "This is not a symbol."),
        (3, ", only a not", "The symbol is missing."),
        (4, "XOM, xxxxxxx", "The note has more than 500 characters, or control characters."),
        (5, "KO, a\x07b", "The note has more than 500 characters, or control characters."),
        (6, "AAPL", "The symbol stands on an earlier line already."),
        (7, "GE, a, b", "There is more on the line than a symbol and a note."),
    ]
    assert all(len(line.text) <= 60 for line in found.bad)


def test_what_is_too_much_is_refused() -> None:
    assert len(parse("\n".join(f"S{n}" for n in range(501))).lines) == 500
    assert bad("\n".join(f"S{n}" for n in range(501))) == {
        501: "More than 500 symbols can't be imported at once."
    }
    for text, message in (
        ("A\n" * 2001, TOO_LONG),
        ("", EMPTY),
        ("\n\n;;", EMPTY),
        ("symbol", EMPTY),
    ):
        with pytest.raises(ValueError, match=message):
            parse(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_spreadsheets_are_text(encoding: str) -> None:
    assert decode("AAPL;苹果".encode(encoding)) == "AAPL;苹果"


@pytest.mark.parametrize("content", [b"\xe9", b"\xff\xfe\x00", b"PK\x03\x04\xff"])
def test_other_files_are_not(content: bytes) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        decode(content)


@pytest.mark.parametrize("note", ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''", "=", "'"])
def test_no_cell_is_a_formula_and_each_comes_back_as_it_was(note: str) -> None:
    text = write([("AAPL", "=Apple", note)])
    row = text.splitlines()[1]
    assert row == f"AAPL,'=Apple,'{note}"
    assert parse(text).lines == (Line(2, "AAPL", note),)


NOTES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(NOTES, min_size=1, max_size=5))
def test_what_is_exported_is_what_is_imported(texts: list[str]) -> None:
    notes = []
    for text in texts:
        try:
            notes.append(parse_note(text))
        except ValueError:
            notes.append("")
    exported = write((f"S{n}", "a name", note) for n, note in enumerate(notes))
    assert [line.note for line in parse(exported).lines] == notes


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert found.lines or found.bad
    numbers = [each.number for each in found.lines] + [each.number for each in found.bad]
    assert len(set(numbers)) == len(numbers)
