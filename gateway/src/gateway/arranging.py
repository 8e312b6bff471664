"""In which order a list is read, and which of it: what the address of a watchlist says of both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gateway.watchlist import Row


def _name(row: Row) -> str:
    return (row.quote.name if row.quote else row.symbol).casefold()


def _band_width(row: Row) -> float | None:
    """How wide the band is, in percent of the reference close."""
    return None if row.band_moves is None else row.band_moves[1] - row.band_moves[0]


def _score(row: Row) -> float | None:
    return row.forecast.score.value if row.forecast else None


# What is compared, None where it isn't known; a list's own order is none of these.
_VALUES: Mapping[str, Callable[[Row], Any]] = {
    "name": _name,
    "change": lambda row: row.change_percent,
    "band": _band_width,
    "move": lambda row: row.expected_move,
    "score": _score,
}


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A ``key`` of sorting, empty for the list's own order, which end is first, and a filter."""

    key: str = ""
    is_falling: bool = False
    words: str = ""

    @property
    def sort(self) -> str:
        """What an address says of the order."""
        return f"-{self.key}" if self.is_falling else self.key

    def direction(self, key: str) -> str:
        """How a column is sorted, as `aria-sort` says it."""
        if key != self.key:
            return "none"
        return "descending" if self.is_falling else "ascending"

    def query_sorted_by(self, key: str) -> str:
        """The query of the address that sorts by a column, or turns its order; "" by none."""
        # What is largest is what one looks for, but names begin with A.
        is_falling = (not self.is_falling) if key == self.key else key != "name"
        sort = f"-{key}" if is_falling and key else key
        given = {"sort": sort, "filter": self.words}
        return urlencode({name: value for name, value in given.items() if value})


def arrangement(sort: str, words: str) -> Arrangement:
    """Read what an address says, "-change" for the largest first; what is unknown is ignored."""
    key = sort.removeprefix("-")
    if key not in _VALUES:
        return Arrangement(words=words.strip())
    return Arrangement(key, sort.startswith("-"), words.strip())


def arranged(rows: Sequence[Row], chosen: Arrangement, notes: Mapping[str, str]) -> list[Row]:
    """Return the rows that have all words of the filter in symbol, name or note, sorted.

    `notes` are by symbol.

    What has no value comes last either way; what is alike stays in the list's own order.
    """
    wanted = chosen.words.casefold().split()
    kept = [row for row in rows if _has(row, notes.get(row.symbol, ""), wanted)]
    if not chosen.key:
        return kept
    value = _VALUES[chosen.key]
    known = [row for row in kept if value(row) is not None]
    # Sorting is stable in both directions.
    known.sort(key=value, reverse=chosen.is_falling)
    return known + [row for row in kept if value(row) is None]


def _has(row: Row, note: str, words: Sequence[str]) -> bool:
    text = f"{row.symbol.casefold()} {_name(row)} {note.casefold()}"
    return all(word in text for word in words)
