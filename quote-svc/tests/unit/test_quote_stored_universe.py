"""The seed list: one symbol a line, and errors that name file and line; the universe it makes."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from quote_svc.market import MarketUnusable
from quote_svc.source import SourceInstrument
from quote_svc.testing import ScriptedSource, Wall, settled, staged, weekdays
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


class RenamedSource(ScriptedSource):
    """A source that says another name of every company, once told to."""

    name = "Old"

    def instrument(self, symbol: str) -> SourceInstrument:
        return replace(super().instrument(symbol), display_name=self.name)


async def test_a_universe_is_told_again_until_it_changes(tmp_path: Path) -> None:
    source = RenamedSource()
    days = weekdays(date(2026, 11, 20), 10)
    for symbol in ("AAA", "BBB"):
        source.trade(symbol, days)
    wall = Wall(datetime(2026, 11, 21, tzinfo=UTC))
    async with staged(tmp_path, source, wall, seeds=("BBB", "AAA")) as market:
        await settled(market)
        first, again = await market.universe(), await market.universe()
        assert [each.symbol for each in first] == ["AAA", "BBB"]
        assert all(one is other for one, other in zip(first, again, strict=True))
        source.name = "New"
        wall.forward(days=3)
        await settled(market)
        assert [each.display_name for each in await market.universe()] == ["New", "New"]
