"""Reads files of daily bars; a broken line refuses its symbol and nothing else."""

import csv
import gzip
import hashlib
import math
import re
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from foretick_rpc.symbols import parse_symbol
from quote_svc.market import (
    MarketUnusable,
    epoch_day,
    iso_date,
)

NUMBERS = ("open", "high", "low", "close", "volume")
_COLUMNS = ("symbol", "date", *NUMBERS)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Sources round each price on its own, so that a high may lie a hair below a close.
_ROUNDING = 1e-6
_NOTICES_NAMED = 10


class _Broken(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"column {column}: {problem}")


@dataclass
class SymbolRows:
    """One symbol's rows in the order of the file, up to its first broken line.

    `numbers` holds the five of `NUMBERS` for each row, one row after the other; `places` is
    where each row stands, as an index into `CsvRows.files` and a line number.
    """

    days: "array[int]" = field(default_factory=lambda: array("q"))
    numbers: "array[float]" = field(default_factory=lambda: array("d"))
    places: "array[int]" = field(default_factory=lambda: array("q"))
    known_days: set[int] = field(default_factory=set)
    problem: str | None = None


@dataclass
class CsvRows:
    """What the files say: rows by symbol, and what could not be given to any symbol."""

    files: list[str] = field(default_factory=list)
    symbols: dict[str, SymbolRows] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    nameless_lines: int = 0
    content_hash: str = ""

    def place(self, rows: SymbolRows, index: int) -> str:
        """Where row `index` of a symbol stands, in words."""
        file, line = rows.places[2 * index], rows.places[2 * index + 1]
        return f"{self.files[file]} line {line}"


def read_csv(path: Path, today: date) -> CsvRows:
    """Read the file, or every .csv and .csv.gz of the folder in order of their names.

    Rows dated after `today` are broken: one mistyped year must not move the whole market's
    clock. `content_hash` is the SHA-256 of the uncompressed content. Raises MarketUnusable
    where a file cannot be read, has no usable header, or no rows.
    """
    rows = CsvRows()
    sha = hashlib.sha256()
    for file in _files(path):
        rows.files.append(file.name)
        try:
            with _opened(file) as lines:
                _read_lines(lines, file.name, rows, epoch_day(today), sha)
        except (OSError, EOFError, zlib.error) as error:
            raise MarketUnusable(f"QUOTE_CSV_PATH: cannot read {file}: {error}") from error
    rows.content_hash = sha.hexdigest()
    if rows.nameless_lines > _NOTICES_NAMED:
        more = rows.nameless_lines - _NOTICES_NAMED
        rows.notices.append(f"{more} more lines are left out for want of a readable symbol.")
    return rows


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.name.endswith((".csv", ".csv.gz")))
    except OSError as error:
        raise MarketUnusable(f"QUOTE_CSV_PATH: cannot read {path}: {error}") from error
    if not files:
        raise MarketUnusable(f"QUOTE_CSV_PATH: the folder {path} has no .csv and no .csv.gz file")
    return files


def _opened(file: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")


def _read_lines(
    lines: Iterable[bytes], name: str, rows: CsvRows, today: int, sha: "hashlib._Hash"
) -> None:
    reader: _LineReader | None = None
    found = False
    for number, raw in enumerate(lines, start=1):
        sha.update(raw)
        # Bytes that are no UTF-8 break the field that they stand in, not the file.
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r\n")
        if not text.strip():
            continue
        if reader is None:
            reader = _LineReader(_header(text, name), today)
            continue
        found = True
        _take(reader, text, (name, number), rows)
    if reader is None or not found:
        raise MarketUnusable(f"QUOTE_CSV_PATH: {name} has no rows")


def _header(text: str, name: str) -> list[str]:
    header = [column.strip().lower() for column in _fields(text)]
    missing = [column for column in _COLUMNS if column not in header]
    doubled = [column for column in _COLUMNS if header.count(column) > 1]
    if missing or doubled:
        what = f"lacks {', '.join(missing)}" if missing else f"repeats {', '.join(doubled)}"
        raise MarketUnusable(
            f"QUOTE_CSV_PATH: the first line of {name} {what}; "
            f"it must name the columns {', '.join(_COLUMNS)}"
        )
    return header


def _fields(text: str) -> list[str]:
    """The fields of one line: a quote that is never closed ends with its line."""
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text]))
    except csv.Error:
        return [text]


def _take(reader: "_LineReader", text: str, place: tuple[str, int], rows: CsvRows) -> None:
    name, number = place
    fields = _fields(text)
    try:
        symbol = reader.symbol(fields)
    except _Broken as broken:
        rows.nameless_lines += 1
        if rows.nameless_lines <= _NOTICES_NAMED:
            rows.notices.append(f"{name} line {number}, {broken}; the line is left out.")
        return
    taken = rows.symbols.get(symbol)
    if taken is None:
        taken = rows.symbols[symbol] = SymbolRows()
    if taken.problem is not None:
        return
    try:
        day, numbers = reader.row(fields)
        if day in taken.known_days:
            raise _Broken("date", f"{fields[reader.date_column].strip()} is there twice")
    except _Broken as broken:
        taken.problem = f"{name} line {number}, {broken}"
        return
    taken.known_days.add(day)
    taken.days.append(day)
    taken.numbers.extend(numbers)
    taken.places.extend((len(rows.files) - 1, number))


class _LineReader:
    """Reads the fields of a line by the header's columns; raises _Broken for the first fault."""

    def __init__(self, header: list[str], today: int) -> None:
        self._width = len(header)
        self._today = today
        self._header = header
        self._symbol_column = header.index("symbol")
        self.date_column = header.index("date")
        self._number_columns = [(column, header.index(column)) for column in NUMBERS]
        self._days: dict[str, int] = {}
        self._symbols: dict[str, str] = {}

    def symbol(self, fields: list[str]) -> str:
        # Where fields are lost or added, whose line it is can only be told from the left end.
        if len(fields) != self._width and self._symbol_column != 0:
            self._refuse_width(fields)
        text = fields[self._symbol_column]
        if text not in self._symbols:
            try:
                self._symbols[text] = parse_symbol(text)
            except ValueError as error:
                raise _Broken("symbol", f"{_shown(text)} is not a symbol") from error
        return self._symbols[text]

    def row(self, fields: list[str]) -> tuple[int, list[float]]:
        """The day and the numbers of a line."""
        if len(fields) != self._width:
            self._refuse_width(fields)
        day = self._day(fields[self.date_column].strip())
        numbers = [_number(column, fields[index]) for column, index in self._number_columns]
        _check_range(*numbers[:4])
        return day, numbers

    def _day(self, text: str) -> int:
        if text not in self._days:
            try:
                day = epoch_day(iso_date(text))
            except ValueError as error:
                raise _Broken("date", f"{_shown(text)} is not a date like 2019-12-31") from error
            if day > self._today:
                raise _Broken("date", f"{text} lies in the future")
            self._days[text] = day
        return self._days[text]

    def _refuse_width(self, fields: list[str]) -> NoReturn:
        counts = f"the line has {len(fields)} fields, the header {self._width}"
        if len(fields) < self._width:
            raise _Broken(self._header[len(fields)], f"missing; {counts}")
        raise _Broken(str(self._width + 1), f"not in the header; {counts}")


def _number(column: str, text: str) -> float:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise _Broken(column, f"{_shown(text)} is not a number")
    number = float(text)
    if not math.isfinite(number):
        raise _Broken(column, f"{_shown(text)} is too large")
    if column == "volume":
        if number < 0:
            raise _Broken(column, f"{_shown(text)} is negative")
    elif number <= 0:
        raise _Broken(column, f"{_shown(text)} is not above 0")
    return number


def _check_range(first: float, high: float, low: float, last: float) -> None:
    lowest, highest = min(first, last), max(first, last)
    if high < max(highest, low) * (1 - _ROUNDING):
        below = "low" if high < low else "open" if high < first else "close"
        raise _Broken("high", f"{high:g} is below the {below}")
    if low > lowest * (1 + _ROUNDING):
        above = "open" if low > first else "close"
        raise _Broken("low", f"{low:g} is above the {above}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
