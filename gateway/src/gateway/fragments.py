"""Pieces of the watchlist as bytes: rendered by Jinja once, and kept for all who look."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

import jinja2
from markupsafe import Markup

from gateway.board import Board, Entry
from gateway.gathering import Surroundings
from gateway.languages import spoken
from gateway.model import Market
from gateway.watchlist import Row

# Cells of a row, from left to right.
CELLS = ("name", "spark", "price", "change", "band", "move", "score")
KEPT_SHELLS = 512
KEPT_PIECES = 64
KEPT_TAILS = 4096
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


class Kept:
    """What was made for a key, for as many keys as ``most``; the last ones that were asked for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Sequence[bytes]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Sequence[bytes]]) -> Sequence[bytes]:
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
        self._shells = Kept(KEPT_SHELLS if keeps else 0)
        self._pieces = Kept(KEPT_PIECES if keeps else 0)
        self._tails = Kept(KEPT_TAILS if keeps else 0)

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
        return self._tails.get(key, lambda: [_line(self._own_cell(symbol, note))])[0]

    def market(self, market: Market | None, time: datetime | None, pace: float) -> bytes:
        """Where prices come from, and what time it is there."""
        key = spoken().code, market, time, pace
        return self._pieces.get(key, lambda: [_line(self._market(market, time, pace))])[0]

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
        return self._pieces.get(key, lambda: [_line(self._notices(*told))])[0]

    def page(self, template: str, pieces: dict[str, bytes], **context: Hashable) -> bytes:
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
            woven += piece, text
        return b"".join(woven)

    def _shell(
        self, template: str, pieces: dict[str, bytes], context: dict[str, Hashable]
    ) -> Sequence[bytes]:
        seams = {name: Markup(_SEAM) for name in pieces}  # noqa: S704 - hexadecimal digits
        text = self._environment.get_template(template).render(**context, **seams)
        return text.encode().split(_SEAM.encode())


def _line(text: str) -> bytes:
    """One line, as events need it; what breaks lines in these pieces is only between words."""
    return " ".join(text.split("\n")).strip().encode()
