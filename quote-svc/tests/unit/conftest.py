"""Files of daily bars around New Year 2020, made by hand."""

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from quote_svc.csv_market import CsvMarket, CsvSource, load_csv_market

HEADER = "symbol,date,open,high,low,close,volume"
ROWS = (
    "AAA,2019-12-27,10,11,9,10.5,1000",
    "AAA,2019-12-30,10.5,12,10,11,1100",
    "AAA,2019-12-31,11,11.5,10.8,11.2,1200",
    "BBB,2019-12-27,20,21,19,20.5,2000",
    "BBB,2019-12-30,20.5,22,20,21,2100",
    "BBB,2019-12-31,21,21.5,20.8,21.2,2200",
)
WriteCsv = Callable[..., Path]
LoadMarket = Callable[..., CsvMarket]


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """Writes lines below the usual header (or another); the path of the file."""

    def write(*lines: str, header: str = HEADER, name: str = "prices.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join((header, *lines)) + "\n")
        return path

    return write


@pytest.fixture
def load() -> LoadMarket:
    """Loads a file as the csv market, on 2026-11-20."""

    def loaded(
        path: Path,
        *,
        exchange: str = "XNYS",
        currency: str = "USD",
        as_of: date | None = None,
        today: date = date(2026, 11, 20),
    ) -> CsvMarket:
        return load_csv_market(CsvSource(path, exchange, currency, as_of), today)

    return loaded


@pytest.fixture
def market(write_csv: WriteCsv, load: LoadMarket) -> CsvMarket:
    """AAA and BBB up to 2019-12-31."""
    return load(write_csv(*ROWS))


@pytest.fixture
def rows() -> tuple[str, ...]:
    return ROWS


class Ticks:
    """Ticks that come when they are told to; each is over once all that it wakes is done."""

    def __init__(self) -> None:
        self._coming = asyncio.Event()

    async def __call__(self) -> None:
        await self._coming.wait()

    async def pass_by(self, count: int = 1) -> None:
        for _ in range(count):
            # Whoever is about to wait for the tick gets there first.
            await self._settle()
            self._coming.set()
            self._coming = asyncio.Event()
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()
