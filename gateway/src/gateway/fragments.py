"""Pieces of the watchlist as bytes: rendered by Jinja once, and kept for all who look."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

import jinja2
from markupsafe import Markup

from gateway.board import Board, Entry
from gateway.gathering import Surroundings
from gateway.languages import spoken
from gateway.model import Market
from gateway.watchlist import Row

M = TypeVar("M")

# Cells of a row, from left to right.
CELLS = ("name", "spark", "price", "change", "band", "move", "score")
KEPT_SHELLS = 512
KEPT_PIECES = 64
KEPT_LISTS = 4096
KEPT_TAILS = 4096
# A list that is shown again and again is so often noted as looked at.
LOOK_SECONDS = 30.0
# Stands in a shell where a piece goes; nobody can guess it, so nobody can write it.
_SEAM = secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A row as bytes: its cells apart, and all of it but the tail that is of whoever looks."""

    cells: tuple[bytes, ...]
    row: bytes
    reach: float
    """How far its band reaches, in percent moves."""
    is_pending: bool


@dataclass(slots=True)
class Shown:
    """A list as pages show it, as of a state of the board."""

    tails: list[bytes]
    entries: list[Entry] = field(default_factory=list)
    looked: float = 0.0
    number: int = -1
    """Of the board's change up to which the rest is true; -1 for none."""
    rows: list[bytes] = field(default_factory=list)
    """Each row before its tail."""
    reach: float = 0.0
    is_pending: bool = False

    def set_rows(self, drawn: Sequence[Drawn]) -> None:
        """Take over what was drawn of each entry."""
        self.rows = [
            part for each, tail in zip(drawn, self.tails, strict=True) for part in (each.row, tail)
        ]
        self.reach = max((each.reach for each in drawn), default=0.0)
        self.is_pending = any(each.is_pending for each in drawn)


class Kept(Generic[M]):
    """What was made for a key, for as many keys as ``most``; the last ones that were asked for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, M] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], M]) -> M:
        """What is kept for a key, or is made now."""
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found


class Fragments:
    """Renders pieces in the language that is spoken; ``keeps`` nothing where it is False."""

    def __init__(self, environment: jinja2.Environment, *, keeps: bool = True) -> None:
        row = environment.get_template("_row.html").make_module()
        around = environment.get_template("_around.html").make_module()
        self._cells = [getattr(row, f"{name}_cell") for name in CELLS]
        self._row_start, self._own_cell = row.row_start, row.own_cell  # type: ignore[attr-defined]
        self._market, self._notices = around.market_line, around.notices  # type: ignore[attr-defined]
        self._environment = environment
        self._shells = Kept[Sequence[bytes]](KEPT_SHELLS if keeps else 0)
        self._pieces = Kept[bytes](KEPT_PIECES if keeps else 0)
        self._around: dict[str, tuple[Surroundings, tuple[bytes, bytes]]] = {}
        self._shown = Kept[Shown](KEPT_LISTS)
        self._tails = Kept[bytes](KEPT_TAILS if keeps else 0)

    def draw(self, row: Row) -> Drawn:
        """Render a row."""
        cells = tuple(_line(cell(row)) for cell in self._cells)
        start = _line(self._row_start(row.symbol))
        is_pending = row.is_price_pending or row.is_forecast_pending
        return Drawn(cells, start + b"".join(cells), row.reach, is_pending)

    def drawn(self, board: Board, entry: Entry) -> Drawn:
        """A row of the board, rendered once for each of its changes."""
        code = spoken().code
        found = entry.drawn.get(code)
        if not isinstance(found, Drawn):
            found = entry.drawn[code] = self.draw(board.row(entry))
        return found

    def tail(self, symbol: str, note: str) -> bytes:
        """The cell of a row with its owner's note, and what its owner can do."""
        key = spoken().code, symbol, note
        return self._tails.get(key, lambda: _line(self._own_cell(symbol, note)))

    def shown(self, board: Board, notes: tuple[tuple[str, str], ...], now: float) -> Shown:
        """A list of the board, looked at: its symbols with the owner's notes.

        ``now`` is in seconds of the board's own clock.
        """
        key = spoken().code, notes
        shown = self._shown.get(key, lambda: self._looked(board, notes, now))
        if now - shown.looked > LOOK_SECONDS:
            shown.entries, shown.looked, shown.number = board.look(dict(notes)), now, -1
        return shown

    def _looked(self, board: Board, notes: tuple[tuple[str, str], ...], now: float) -> Shown:
        tails = [self.tail(symbol, note) for symbol, note in notes]
        return Shown(tails, board.look(dict(notes)), now)

    def bring_up(self, board: Board, shown: Shown) -> None:
        """Bring a list up to the board's state."""
        if shown.number == board.number:
            return
        if any(entry.changed > shown.number for entry in shown.entries):
            shown.set_rows([self.drawn(board, entry) for entry in shown.entries])
        shown.number = board.number

    def around(self, around: Surroundings) -> tuple[bytes, bytes]:
        """What stands above the rows: the line about the market, and what is to be noticed."""
        code = spoken().code
        kept = self._around.get(code)
        if kept is None or kept[0] is not around:
            market = self.market(around.market, around.market_time, around.pace)
            kept = self._around[code] = around, (market, self.notices(around))
        return kept[1]

    def market(self, market: Market | None, time: datetime | None, pace: float) -> bytes:
        """Where prices come from, and what time it is there."""
        key = spoken().code, market, time, pace
        return self._pieces.get(key, lambda: _line(self._market(market, time, pace)))

    def notices(self, around: Surroundings) -> bytes:
        """What is not as it should be, since when, and what is under way."""
        told = (
            around.price_reason,
            around.price_since,
            around.forecast_reason,
            around.forecast_since,
            around.fetching,
            around.training,
        )
        key = spoken().code, *told
        return self._pieces.get(key, lambda: _line(self._notices(*told)))

    def page(
        self, template: str, pieces: dict[str, Sequence[bytes]], context: dict[str, Hashable]
    ) -> bytes:
        """Render a page with ``pieces`` put where it names them, in their order.

        What surrounds them is kept: the same context always makes the same.
        """
        if context.get("error") is not None:
            shell = self._shell(template, pieces, context)
        else:
            key = spoken().code, template, *pieces, *context.values()
            shell = self._shells.get(key, lambda: self._shell(template, pieces, context))
        woven = [shell[0]]
        for piece, text in zip(pieces.values(), shell[1:], strict=True):
            woven += piece
            woven.append(text)
        return b"".join(woven)

    def _shell(
        self, template: str, pieces: Iterable[str], context: dict[str, Hashable]
    ) -> Sequence[bytes]:
        seams = {name: Markup(_SEAM) for name in pieces}  # noqa: S704 - hexadecimal digits
        text = self._environment.get_template(template).render(**context, **seams)
        return text.encode().split(_SEAM.encode())


def _line(text: str) -> bytes:
    """One line, as events need it; what breaks lines in these pieces is only between words."""
    return " ".join(text.split("\n")).strip().encode()
