"""Broken files: a line refuses its symbol alone, and says where; a file says why it is useless."""

import gzip
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from quote_svc.csv_market import CsvMarket
from quote_svc.market import MarketUnusable, PricesInvalid, Quote

WriteCsv = Callable[..., Path]
LoadMarket = Callable[..., CsvMarket]

BROKEN = {
    "too few fields": ("10,11,9,10.5", "volume: missing; the line has 6 fields, the header 7"),
    "too many fields": ("10,11,9,10.5,1,2", "8: not in the header; the line has 8 fields, "),
    "a word": ("10,11,9,abc,1", "close: 'abc' is not a number"),
    "nothing": ("10,11,9,10,", "volume: '' is not a number"),
    "nan": ("nan,11,9,10,1", "open: 'nan' is not a number"),
    "inf": ("10,inf,9,10,1", "high: 'inf' is not a number"),
    "beyond a double": ("10,1e999,9,10,1", "high: '1e999' is too large"),
    "Python's underscore": ("1_0,11,9,10,1", "open: '1_0' is not a number"),
    "other digits": ("١٠,11,9,10,1", "open: '١٠' is not a number"),
    "price of zero": ("10,11,0,10,1", "low: '0' is not above 0"),
    "negative price": ("10,11,9,-10,1", "close: '-10' is not above 0"),
    "negative volume": ("10,11,9,10,-1", "volume: '-1' is negative"),
    "high below low": ("10,8.9,9,10,1", "high: 8.9 is below the low"),
    "high below open": ("10,9.9,9,9.5,1", "high: 9.9 is below the open"),
    "high below close": ("10,11,9,11.5,1", "high: 11 is below the close"),
    "low above open": ("10,11,10.1,10.5,1", "low: 10.1 is above the open"),
    "low above close": ("10.5,11,10.1,10,1", "low: 10.1 is above the close"),
}
BROKEN_DATES = {
    "no date": ("", "'' is not a date like 2019-12-31"),
    "not ISO": ("31/12/2019", "'31/12/2019' is not a date"),
    "ISO's short form": ("20191231", "'20191231' is not a date"),
    "an instant": ("2019-12-31T00:00", "'2019-12-31T00:00' is not a date"),
    "no such day": ("2019-02-29", "'2019-02-29' is not a date"),
    "twice": ("2019-12-30", "2019-12-30 is there twice"),
    "a Sunday": ("2019-12-29", "2019-12-29 is not a session of XNYS"),
    "a holiday": ("2019-12-25", "2019-12-25 is not a session of XNYS"),
    "before all calendars": ("0219-12-31", "0219-12-31 is not a session of XNYS"),
    "the future": ("2219-12-31", "2219-12-31 lies in the future"),
}


async def refused_alone(market: CsvMarket, symbol: str) -> str:
    """The message of the one symbol that must be refused, everywhere."""
    batch = await market.quotes(["AAA", symbol])
    assert isinstance(batch.answers["AAA"], Quote)
    answer = batch.answers[symbol]
    assert isinstance(answer, PricesInvalid)
    with pytest.raises(PricesInvalid) as caught:
        await market.history(symbol, None)
    assert caught.value.message == answer.message
    assert len((await market.history("AAA", None)).bars) == 3
    assert [instrument.symbol for instrument in await market.universe()] == ["AAA"]
    assert list(await market.search(symbol)) == []
    return answer.message


@pytest.mark.parametrize(("fields", "problem"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_line_refuses_its_symbol_alone(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...], fields: str, problem: str
) -> None:
    path = write_csv(*rows[:5], f"BBB,2019-12-31,{fields}")
    message = await refused_alone(load(path), "BBB")
    assert message.startswith(f"prices.csv line 7, column {problem}")


@pytest.mark.parametrize(("day", "problem"), BROKEN_DATES.values(), ids=BROKEN_DATES.keys())
async def test_a_broken_date_refuses_its_symbol_alone(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...], day: str, problem: str
) -> None:
    path = write_csv(*rows[:5], f"BBB,{day},10,11,9,10,1")
    message = await refused_alone(load(path), "BBB")
    assert message.startswith(f"prices.csv line 7, column date: {problem}")


async def test_the_first_problem_of_the_symbol_is_named(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    sunday, word = "BBB,2019-12-29,1,1,1,1,1", "BBB,2019-12-26,x,1,1,1,1"
    first = await refused_alone(load(write_csv(*rows[:4], sunday, word)), "BBB")
    assert first == "prices.csv line 6, column date: 2019-12-29 is not a session of XNYS"
    first = await refused_alone(load(write_csv(*rows[:4], word, sunday)), "BBB")
    assert first == "prices.csv line 6, column open: 'x' is not a number"


async def test_a_broken_line_after_the_as_of_session_refuses_too(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    path = write_csv(*rows, "BBB,2020-01-02,x,1,1,1,1")
    assert "line 8, column open" in await refused_alone(load(path), "BBB")


@pytest.mark.parametrize("high", ["10.999999", "11"])
async def test_rounding_is_no_fault(
    write_csv: WriteCsv, load: LoadMarket, high: str, rows: tuple[str, ...]
) -> None:
    market = load(write_csv(*rows, f"CCC,2019-12-31,10,{high},10.000001,11,1"))
    assert isinstance((await market.quotes(["CCC"])).answers["CCC"], Quote)


async def test_a_quote_that_is_never_closed_ends_with_its_line(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    path = write_csv('BBB,2019-12-26,"10,11,9,10,1', *rows)
    assert "line 2, column high: missing" in await refused_alone(load(path), "BBB")


async def test_bytes_that_are_no_utf8_break_one_field(
    tmp_path: Path, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    path = tmp_path / "prices.csv"
    lines = ("symbol,date,open,high,low,close,volume", *rows[:3], "BBB,2019-12-31,1\xff,2,1,1,1")
    path.write_bytes("\n".join(lines).encode("latin-1"))
    assert "line 5, column open: '1\ufffd'" in await refused_alone(load(path), "BBB")


@pytest.mark.parametrize("symbol", ["", "A B", "<b>", "A" * 33, "ß", ".A"])
async def test_a_line_without_a_symbol_is_a_notice(
    write_csv: WriteCsv,
    load: LoadMarket,
    rows: tuple[str, ...],
    symbol: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        market = load(write_csv(*rows[:3], f"{symbol},2019-12-31,1,1,1,1,1"))
    (notice,) = market.description.notices
    assert notice.startswith("prices.csv line 5, column symbol: ")
    assert notice in caplog.text
    assert [instrument.symbol for instrument in await market.universe()] == ["AAA"]


async def test_whose_a_shifted_line_is_cannot_be_told(
    write_csv: WriteCsv, load: LoadMarket
) -> None:
    header = "date,symbol,open,high,low,close,volume"
    good, shifted = "2019-12-31,AAA,1,2,1,2,5", "2019,12-31,AAA,1,2,1,2,5"
    market = load(write_csv(good, shifted, header=header))
    (notice,) = market.description.notices
    assert "line 3, column 8: not in the header" in notice
    assert isinstance((await market.quotes(["AAA"])).answers["AAA"], Quote)


def test_many_lines_without_a_symbol_are_counted(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    market = load(write_csv(*rows, *["?,2019-12-31,1,1,1,1,1"] * 25))
    notices = market.description.notices
    assert len(notices) == 11
    assert notices[-1].startswith("15 more lines")


async def test_refused_symbols_are_logged(
    write_csv: WriteCsv,
    load: LoadMarket,
    rows: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        load(write_csv(*rows, "BBB,2019-12-26,x,1,1,1,1"))
    assert "prices.csv line 8, column open: 'x' is not a number" in caplog.text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b"symbol,date,open,high,low,close,volume\n", "no rows"),
        (b"AAA,2019-12-31,1,1,1,1,1\n", "must name the columns symbol, date"),
        (b"symbol,date,open,high,low,close\nAAA,2019-12-31,1,1,1,1\n", "lacks volume"),
        (b"symbol,date,open,high,low,close,close,volume\n", "repeats close"),
        (
            b"symbol,date,open,high,low,close,volume\nAAA,2019-12-31,x,1,1,1,1\n",
            "no symbol of .* has usable prices: prices.csv line 2, column open",
        ),
        (
            b"symbol,date,open,high,low,close,volume\nAAA,2019-12-29,1,1,1,1,1\n",
            "no symbol of .* has usable prices: prices.csv line 2, column date",
        ),
        (
            b"symbol,date,open,high,low,close,volume\n?,2019-12-31,1,1,1,1,1\n",
            "no symbol of .* has usable prices: prices.csv line 2, column symbol",
        ),
    ],
)
def test_a_useless_file_is_refused(
    tmp_path: Path, load: LoadMarket, content: bytes, problem: str
) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(content)
    with pytest.raises(MarketUnusable, match=rf"QUOTE_CSV_PATH: .*{problem}"):
        load(path)


# Named, since gzip writes down the time: the two processes of a run would not tell the same tests.
@pytest.mark.parametrize(
    "content",
    [b"symbol,date", gzip.compress(b"symbol" * 1000)[:-9]],
    ids=["never packed", "cut off"],
)
def test_a_damaged_gz_file_is_refused(tmp_path: Path, load: LoadMarket, content: bytes) -> None:
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(content)
    with pytest.raises(MarketUnusable, match=r"QUOTE_CSV_PATH: cannot read .*prices\.csv\.gz"):
        load(path)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path, load: LoadMarket) -> None:
    with pytest.raises(MarketUnusable, match="QUOTE_CSV_PATH: cannot read"):
        load(tmp_path / "nothing.csv")
    with pytest.raises(MarketUnusable, match=r"has no \.csv and no \.csv\.gz file"):
        load(tmp_path)
