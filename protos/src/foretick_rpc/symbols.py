"""How a symbol is spelled, the same in every service."""

import re

SYMBOL_RULE = (
    "A symbol has 1 to 32 of the characters A-Z 0-9 . ^ = _ - and starts with a letter,"
    " a digit or ^."
)
_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=_-]{0,31}")


def parse_symbol(text: str) -> str:
    """The symbol in its one spelling: upper case, without surrounding spaces.

    Raises ValueError with SYMBOL_RULE where it cannot be one.
    """
    symbol = text.strip().upper()
    # Upper case makes ASCII letters of some others: the dotless i of Turkish becomes I.
    if not text.isascii() or not _SYMBOL.fullmatch(symbol):
        raise ValueError(SYMBOL_RULE)
    return symbol
