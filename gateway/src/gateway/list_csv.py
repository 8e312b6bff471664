"""Lists as CSV: what people import, of which every bad line is named, and what they export."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from foretick_rpc.notes import parse_note
from foretick_rpc.symbols import parse_symbol
from gateway.languages import N_

MOST_LINES = 2000
MOST_SYMBOLS = 500
# What a spreadsheet would calculate; and the sign that keeps it from it, to be told from one's own.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
NOT_TEXT = N_("The file is no text in UTF-8.")
TOO_LONG = N_("At most 2000 lines can be imported at once.")
TOO_LARGE = N_("The text is too large.")
EMPTY = N_("There is no symbol in it.")
_TOO_MANY = N_("More than 500 symbols can't be imported at once.")
_TOO_WIDE = N_("There is more on the line than a symbol and a note.")
_TWICE = N_("The symbol stands on an earlier line already.")
_NO_SYMBOL = N_("The symbol is missing.")
_NOT_A_SYMBOL = N_("This is not a symbol.")
_NOT_A_NOTE = N_("The note has more than 500 characters, or control characters.")


@dataclass(frozen=True, slots=True)
class Line:
    """One good line; the number counts from 1."""

    number: int
    symbol: str
    note: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line that can't be imported, how it begins, and why not."""

    number: int
    text: str
    message: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text says, line by line."""

    lines: tuple[Line, ...]
    bad: tuple[BadLine, ...]


def decode(content: bytes) -> str:
    """Return the text of a file; raises ValueError where it is none."""
    encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(NOT_TEXT) from None


def parse(text: str) -> Parsed:
    """Read a header with "symbol" and perhaps "note", or a symbol and perhaps a note a line.

    Raises ValueError where that makes no sense for the text as a whole.
    """
    text = text.removeprefix("\ufeff")
    if text.count("\n") + text.count("\r") - text.count("\r\n") > MOST_LINES:
        raise ValueError(TOO_LONG)
    rows = list(_rows(text))
    columns = _header(rows[0].cells) if rows else None
    if columns is not None:
        rows = rows[1:]
    lines: dict[str, Line] = {}
    bad: list[BadLine] = []
    for row in rows:
        try:
            line = _line(row, columns or _Columns(0, 1))
            if line.symbol in lines:
                raise ValueError(_TWICE)
            if len(lines) == MOST_SYMBOLS:
                raise ValueError(_TOO_MANY)
        except ValueError as error:
            bad.append(BadLine(row.number, ", ".join(row.cells)[:60], str(error)))
        else:
            lines[line.symbol] = line
    if not lines and not bad:
        raise ValueError(EMPTY)
    return Parsed(tuple(lines.values()), tuple(bad))


def write(rows: Iterable[tuple[str, str, str]]) -> str:
    """Write symbol, name and note of each row; no cell is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("symbol", "name", "note"))
    writer.writerows([_shown(each) for each in row] for row in rows)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Row:
    """One row that isn't empty, and the line that it begins on."""

    number: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where symbol and note are; ``named`` where a header says so, and others may stand beside."""

    symbol: int
    note: int
    named: bool = False


def _header(cells: list[str]) -> _Columns | None:
    names = [each.casefold() for each in cells]
    if "symbol" not in names:
        return None
    note = names.index("note") if "note" in names else len(names)
    return _Columns(names.index("symbol"), note, named=True)


def _rows(text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    while True:
        number = reader.line_num + 1
        try:
            cells = [_meant(each.strip()) for each in next(reader)]
        except StopIteration:
            return
        if any(cells):
            yield _Row(number, cells)


def _line(row: _Row, columns: _Columns) -> Line:
    if not columns.named and any(row.cells[2:]):
        raise ValueError(_TOO_WIDE)
    cells = dict(enumerate(row.cells))
    symbol, note = cells.get(columns.symbol, ""), cells.get(columns.note, "")
    if not symbol:
        raise ValueError(_NO_SYMBOL)
    try:
        symbol = parse_symbol(symbol)
    except ValueError:
        raise ValueError(_NOT_A_SYMBOL) from None
    try:
        return Line(row.number, symbol, parse_note(note))
    except ValueError:
        raise ValueError(_NOT_A_NOTE) from None


def _delimiter(text: str) -> str:
    """What the first line that isn't empty separates by."""
    first = next((each for each in text.splitlines() if each.strip()), "")
    return max(",;\t", key=lambda each: (first.count(each), each == ","))


def _shown(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _meant(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell
