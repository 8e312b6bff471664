"""Which symbols are forecast: a seed list, and what people asked for lately."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

from foretick_rpc.symbols import parse_symbol
from quote_svc.market import MarketUnusable
from quote_svc.stored_symbol import StoredSymbol

ASKED_WITHIN = timedelta(days=30)


def seed_symbols(path: Path | None) -> tuple[str, ...]:
    """The symbols of a seed file, or of the one that comes with the service, in its order.

    A line holds one symbol; what follows it after a space is its name, for readers; lines that
    begin with # are remarks. Raises MarketUnusable, naming file and line.
    """
    try:
        text = (
            path.read_text(encoding="utf-8")
            if path is not None
            else resources.files("quote_svc").joinpath("seed_universe.txt").read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise MarketUnusable(f"QUOTE_SEED_FILE: {path} cannot be read: {error}") from error
    symbols = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        try:
            symbols.append(parse_symbol(words[0]))
        except ValueError as error:
            raise MarketUnusable(f"QUOTE_SEED_FILE: {path}, line {number}: {error}") from error
    return tuple(dict.fromkeys(symbols))


def members(seeds: Iterable[str], stored: Iterable[StoredSymbol], now: datetime) -> frozenset[str]:
    """The seeds, and every stored symbol that was asked for within 30 days."""
    asked = (
        each.instrument.symbol
        for each in stored
        if each.asked_at is not None and now - each.asked_at < ASKED_WITHIN
    )
    return frozenset((*seeds, *asked))
