"""Which instruments a person may mean by a few letters."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from quote_svc.market import Instrument

# How alike two words are at least, as SequenceMatcher counts it, for one to be taken for the other.
_CLOSE_ENOUGH = 0.75
# Of two letters anything is made by one slip.
_SHORTEST_SLIP = 3
# Ranks up to this say that the query is spelled as it was meant.
_AS_MEANT = 3


@dataclass(frozen=True)
class _Spelling:
    """An instrument's symbol and name without case and accents, and all words of both."""

    symbol: str
    name: str
    words: frozenset[str]


def matches(instruments: Sequence[Instrument], query: str) -> list[Instrument]:
    """The instruments that match `query`, best first; equals in order of their symbols.

    A symbol that begins with the query comes first (the symbol itself before all), then a name
    or a word of one that does, then a name that has words beginning with all words of the query,
    in any order, then the query anywhere in either. Where there is nothing better than that last,
    instruments follow that have a word resembling each word of the query: one that a slip of the
    fingers makes of it before one that merely looks like it.
    """
    wanted = " ".join(_plain(query).split())
    if not wanted:
        return []
    spelled = [(_spelling(instrument), instrument) for instrument in instruments]
    ranked = [(_rank(spelling, wanted), instrument) for spelling, instrument in spelled]
    found = sorted(
        ((rank, each) for rank, each in ranked if rank is not None),
        key=lambda pair: (pair[0], pair[1].symbol),
    )
    listed = [instrument for _, instrument in found]
    if found and found[0][0] <= _AS_MEANT:
        return listed
    return list(dict.fromkeys((*listed, *_resembling(spelled, wanted))))


def _plain(text: str) -> str:
    """Text as one types it: no capitals, no accents."""
    if text.isascii():
        return text.casefold()
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


@lru_cache(maxsize=8192)
def _spelling(instrument: Instrument) -> _Spelling:
    symbol, name = _plain(instrument.symbol), _plain(instrument.display_name)
    words = (word.strip(".,&()'\"") for word in name.split())
    return _Spelling(symbol, name, frozenset((symbol, *filter(None, words))))


def _rank(spelling: _Spelling, wanted: str) -> int | None:
    symbol, name = spelling.symbol, spelling.name
    if symbol == wanted:
        return 0
    if symbol.startswith(wanted):
        return 1
    if name.startswith(wanted) or f" {wanted}" in name:
        return 2
    if " " in wanted and all(
        any(word.startswith(part) for word in spelling.words) for part in wanted.split()
    ):
        return 3
    return 4 if wanted in symbol or wanted in name else None


def _resembling(spelled: Sequence[tuple[_Spelling, Instrument]], wanted: str) -> list[Instrument]:
    """The instruments that have a word like each of the query, the likest first."""
    scored = [(0.0, spelling, instrument) for spelling, instrument in spelled]
    # The longest word leaves the fewest instruments for the others.
    for part in sorted(wanted.split(), key=len, reverse=True):
        words = frozenset[str]().union(*(spelling.words for _, spelling, _ in scored))
        if like := _likeness(words, part):
            best = (max(like.get(word, 0.0) for word in each[1].words) for each in scored)
            pairs = zip(best, scored, strict=True)
            scored = [(score + each[0], each[1], each[2]) for score, each in pairs if score]
        else:
            return []
    scored.sort(key=lambda each: (-each[0], each[2].symbol))
    return [instrument for *_, instrument in scored]


def _likeness(words: Iterable[str], wanted: str) -> dict[str, float]:
    """How like `wanted` each of `words` is, for those that are: 2 for one that begins with it."""
    matcher = SequenceMatcher(b=wanted, autojunk=False)
    letters, length = frozenset(wanted), len(wanted)
    found: dict[str, float] = {}
    for word in words:
        if word.startswith(wanted):
            found[word] = 2.0
        # Nearly all are not alike: they differ too much in length, or lack too many letters.
        elif (
            3 * max(len(word), length) <= 5 * min(len(word), length)
            and 5 * len(letters.difference(word)) <= 2 * length
        ):
            if _is_one_slip(word, wanted):
                found[word] = 1.0
                continue
            matcher.set_seq1(word)
            if (
                matcher.quick_ratio() >= _CLOSE_ENOUGH
                and (like := matcher.ratio()) >= _CLOSE_ENOUGH
            ):
                found[word] = like
    return found


def _is_one_slip(one: str, other: str) -> bool:
    """Whether a letter added, left out, mistaken, or two swapped make one word of the other."""
    short, long = sorted((one, other), key=len)
    if len(short) < _SHORTEST_SLIP or len(long) - len(short) > 1 or short == long:
        return False
    at = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at : at + 2] == long[at : at + 2][::-1]
    return short[at + 1 :] == long[at + 1 :] or (swapped and short[at + 2 :] == long[at + 2 :])
