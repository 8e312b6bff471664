"""Which instruments a person may mean by a few letters."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from quote_svc.market import Instrument

_CLOSE_ENOUGH = 0.7


def matches(instruments: Sequence[Instrument], query: str) -> list[Instrument]:
    """The instruments that match `query`, best first; equals in order of their symbols.

    A symbol that begins with the query comes first (the symbol itself before all), then a name
    or a word of one that does, then the query anywhere in either. Only where nothing matches
    are symbols and words of names taken that resemble it, as a typing error would.
    """
    wanted = " ".join(query.casefold().split())
    if not wanted:
        return []
    ranked = [(_rank(instrument, wanted), instrument) for instrument in instruments]
    found = [(rank, instrument) for rank, instrument in ranked if rank is not None]
    if found:
        found.sort(key=lambda pair: (pair[0], pair[1].symbol))
        return [instrument for _, instrument in found]
    return _resembling(instruments, wanted)


def _rank(instrument: Instrument, wanted: str) -> int | None:
    symbol = instrument.symbol.casefold()
    name = instrument.display_name.casefold()
    tests = (
        symbol == wanted,
        symbol.startswith(wanted),
        name.startswith(wanted) or f" {wanted}" in name,
        wanted in symbol or wanted in name,
    )
    return next((rank for rank, passed in enumerate(tests) if passed), None)


def _resembling(instruments: Sequence[Instrument], wanted: str) -> list[Instrument]:
    matcher = SequenceMatcher(b=wanted, autojunk=False)
    scored = [(_resemblance(matcher, instrument), instrument) for instrument in instruments]
    close = [pair for pair in scored if pair[0] >= _CLOSE_ENOUGH]
    close.sort(key=lambda pair: (-pair[0], pair[1].symbol))
    return [instrument for _, instrument in close]


def _resemblance(matcher: SequenceMatcher[str], instrument: Instrument) -> float:
    """The highest ratio of the symbol, the name and its words, 0 where it is surely too low."""
    name = instrument.display_name.casefold()
    best = 0.0
    for candidate in {instrument.symbol.casefold(), name, *name.split()}:
        matcher.set_seq1(candidate)
        floor = max(best, _CLOSE_ENOUGH)
        if matcher.real_quick_ratio() >= floor and matcher.quick_ratio() >= floor:
            best = max(best, matcher.ratio())
    return best
