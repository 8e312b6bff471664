"""The seed list: one symbol a line, and errors that name file and line."""

from pathlib import Path

import pytest

from quote_svc.market import MarketUnusable
from quote_svc.universe import seed_symbols


def test_the_list_that_comes_with_the_service_is_long_and_sound() -> None:
    symbols = seed_symbols(None)
    assert 140 <= len(symbols) <= 170
    assert symbols[0] == "AAPL"
    assert {"^GSPC", "BTC-USD", "EURUSD=X", "GC=F", "SHEL.L"} <= set(symbols)


def test_a_seed_file_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text("# mine\n\naapl Apple\n MSFT\nAAPL\n")
    assert seed_symbols(path) == ("AAPL", "MSFT")


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text("AAPL\n$$$\n")
    with pytest.raises(MarketUnusable, match=r"QUOTE_SEED_FILE: .*seeds.txt, line 2: A symbol"):
        seed_symbols(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarketUnusable, match=r"QUOTE_SEED_FILE: .*none.txt cannot be read"):
        seed_symbols(tmp_path / "none.txt")
