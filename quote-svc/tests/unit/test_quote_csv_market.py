"""The csv market: its clock, its quotes, its history, and what it makes of files."""

import gzip
import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from quote_svc.csv_market import CsvMarket
from quote_svc.market import MarketKind, MarketUnusable, Quote, SessionState, SymbolNotFound

WriteCsv = Callable[..., Path]
LoadMarket = Callable[..., CsvMarket]


async def quote(market: CsvMarket, symbol: str) -> Quote:
    answer = (await market.quotes([symbol])).answers[symbol]
    assert isinstance(answer, Quote)
    return answer


async def test_the_clock_stands_at_the_close_of_the_last_session(market: CsvMarket) -> None:
    clock = await market.clock()
    assert clock.market_time == datetime(2019, 12, 31, 21, tzinfo=UTC)
    assert clock.next_change_in is None
    (exchange,) = clock.exchanges
    assert exchange.exchange_code == "XNYS"
    assert exchange.state is SessionState.CLOSED
    assert exchange.last_session is not None
    assert exchange.last_session.session_date == date(2019, 12, 31)
    # New Year's Day is a holiday.
    assert exchange.next_session.session_date == date(2020, 1, 2)
    assert exchange.next_session.open_time == datetime(2020, 1, 2, 14, 30, tzinfo=UTC)
    assert exchange.next_session.close_time == datetime(2020, 1, 2, 21, tzinfo=UTC)
    assert not exchange.next_session.inferred


async def test_a_quote_is_the_last_close(market: CsvMarket) -> None:
    found = await quote(market, "AAA")
    assert (found.price, found.previous_close) == (11.2, 11.0)
    assert found.as_of_time == datetime(2019, 12, 31, 21, tzinfo=UTC)
    assert found.session_date == date(2019, 12, 31)
    assert found.state is SessionState.CLOSED
    assert found.next_session.session_date == date(2020, 1, 2)
    assert found.instrument.display_name == "AAA"
    assert found.instrument.currency_code == "USD"
    assert found.instrument.price_decimals == 2


async def test_history_is_columns_by_session(market: CsvMarket) -> None:
    history = await market.history("BBB", None)
    bars = history.bars
    days = [(date(2019, 12, day) - date(1970, 1, 1)).days for day in (27, 30, 31)]
    assert bars.session_days.tolist() == days
    assert bars.opens.tolist() == [20.0, 20.5, 21.0]
    assert bars.highs.tolist() == [21.0, 22.0, 21.5]
    assert bars.lows.tolist() == [19.0, 20.0, 20.8]
    assert bars.closes.tolist() == [20.5, 21.0, 21.2]
    assert bars.volumes.tolist() == [2000.0, 2100.0, 2200.0]
    assert bars.dividends.tolist() == [0.0] * 3
    assert bars.split_factors.tolist() == [1.0] * 3
    closes = [datetime(2019, 12, day, 21, tzinfo=UTC).timestamp() for day in (27, 30, 31)]
    assert bars.close_seconds.tolist() == closes
    assert history.next_session.session_date == date(2020, 1, 2)


@pytest.mark.parametrize(
    ("start", "count"),
    [
        (date(2019, 12, 27), 3),
        (date(2019, 12, 28), 2),
        (date(2019, 12, 31), 1),
        (date(2020, 1, 1), 0),
    ],
)
async def test_history_from_a_date_on(market: CsvMarket, start: date, count: int) -> None:
    assert len((await market.history("AAA", start)).bars) == count


async def test_an_unknown_symbol_is_not_found(market: CsvMarket) -> None:
    assert isinstance((await market.quotes(["ZZZ"])).answers["ZZZ"], SymbolNotFound)
    with pytest.raises(SymbolNotFound, match="ZZZ"):
        await market.history("ZZZ", None)


async def test_nothing_after_as_of_is_visible(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    late = "CCC,2019-12-31,5,5,5,5,5"
    # The Sunday before: the clock stands at Friday's close.
    market = load(write_csv(*rows, late), as_of=date(2019, 12, 29))
    clock = await market.clock()
    assert clock.market_time == datetime(2019, 12, 27, 21, tzinfo=UTC)
    assert clock.exchanges[0].next_session.session_date == date(2019, 12, 30)
    found = await quote(market, "AAA")
    assert (found.price, found.previous_close) == (10.5, None)
    assert found.as_of_time == clock.market_time
    history = await market.history("AAA", None)
    assert history.bars.closes.tolist() == [10.5]
    assert history.next_session.session_date == date(2019, 12, 30)
    assert [instrument.symbol for instrument in await market.universe()] == ["AAA", "BBB"]
    assert list(await market.search("CCC")) == []
    assert isinstance((await market.quotes(["CCC"])).answers["CCC"], SymbolNotFound)
    with pytest.raises(SymbolNotFound):
        await market.history("CCC", None)


async def test_later_bars_change_no_earlier_answer(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    whole = load(write_csv(*rows), as_of=date(2019, 12, 30))
    cut = load(write_csv(*(row for row in rows if "12-31" not in row), name="cut.csv"))
    assert await whole.clock() == await cut.clock()
    assert await whole.quotes(["AAA", "BBB"]) == await cut.quotes(["AAA", "BBB"])
    ours, theirs = [await market.history("AAA", None) for market in (whole, cut)]
    assert ours.bars.closes.tobytes() == theirs.bars.closes.tobytes()


async def test_as_of_after_the_last_bar_leaves_quotes_old(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    market = load(write_csv(*rows), as_of=date(2020, 1, 5))
    assert (await market.clock()).market_time == datetime(2020, 1, 3, 21, tzinfo=UTC)
    found = await quote(market, "AAA")
    assert found.as_of_time == datetime(2019, 12, 31, 21, tzinfo=UTC)
    assert found.session_date == date(2019, 12, 31)
    assert found.next_session.session_date == date(2020, 1, 6)


async def test_rows_and_columns_in_any_order(
    write_csv: WriteCsv, load: LoadMarket, market: CsvMarket, rows: tuple[str, ...]
) -> None:
    turned = [",".join(reversed(row.lower().split(","))) + ",x" for row in reversed(rows)]
    path = write_csv(
        *turned, header=" Volume, close,low,high ,open,DATE,Symbol,remark", name="turned.csv"
    )
    other = load(path)
    for symbol in ("AAA", "BBB"):
        ours, theirs = [await each.history(symbol, None) for each in (market, other)]
        for name in ("session_days", "opens", "highs", "lows", "closes", "volumes"):
            assert getattr(ours.bars, name).tolist() == getattr(theirs.bars, name).tolist()


async def test_the_market_is_named_by_its_content(
    tmp_path: Path, write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    plain = write_csv(*rows)
    zipped = tmp_path / "other.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    changed = write_csv(*rows[:-1], name="changed.csv")
    expected = f"csv:{hashlib.sha256(plain.read_bytes()).hexdigest()[:16]}"
    description = load(plain).description
    assert description.market_id == expected
    assert description.kind is MarketKind.CSV
    assert not description.synthetic
    assert description.notices == ()
    assert load(zipped).description.market_id == expected
    assert load(changed).description.market_id != expected


async def test_a_folder_is_read_in_order_of_names(
    tmp_path: Path, write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    (tmp_path / "bars").mkdir()
    second = write_csv(*rows[3:], name="bars/b.csv").read_bytes()
    first = write_csv(*rows[:3], name="bars/a.csv").read_bytes()
    (tmp_path / "bars" / "a.csv").unlink()
    (tmp_path / "bars" / "a.csv.gz").write_bytes(gzip.compress(first))
    (tmp_path / "bars" / "readme.txt").write_text("not prices")
    market = load(tmp_path / "bars")
    assert [instrument.symbol for instrument in await market.universe()] == ["AAA", "BBB"]
    expected = hashlib.sha256(first + second).hexdigest()[:16]
    assert market.description.market_id == f"csv:{expected}"


async def test_windows_line_ends_a_byte_order_mark_quotes_and_blank_lines(
    tmp_path: Path, load: LoadMarket
) -> None:
    path = tmp_path / "prices.csv"
    text = 'symbol,date,open,high,low,close,volume\r\n\r\n"AAA",2019-12-31,1,2,1,"2",0\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert (await quote(load(path), "AAA")).price == 2.0


@pytest.mark.parametrize(("currency", "decimals"), [("JPY", 0), ("KRW", 0), ("EUR", 2)])
async def test_decimals_follow_the_currency(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...], currency: str, decimals: int
) -> None:
    (instrument, _) = await load(write_csv(*rows), currency=currency).universe()
    assert (instrument.currency_code, instrument.price_decimals) == (currency, decimals)


async def test_another_exchange_has_its_own_sessions(write_csv: WriteCsv, load: LoadMarket) -> None:
    market = load(write_csv("7203,2019-12-30,10,10,10,10,1"), exchange="XTKS", currency="JPY")
    clock = await market.clock()
    assert clock.market_time == datetime(2019, 12, 30, 6, tzinfo=UTC)
    # Tokyo rests from the last day of the year to the third of January.
    assert clock.exchanges[0].next_session.session_date == date(2020, 1, 6)


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        (date(2019, 12, 26), r"QUOTE_AS_OF: 2019-12-26 is before the first bar, of 2019-12-27"),
        (date(2026, 11, 21), r"QUOTE_AS_OF: 2026-11-21 lies in the future"),
    ],
)
def test_an_impossible_as_of_is_refused(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...], as_of: date, message: str
) -> None:
    with pytest.raises(MarketUnusable, match=message):
        load(write_csv(*rows), as_of=as_of)


def test_an_unknown_exchange_is_refused(
    write_csv: WriteCsv, load: LoadMarket, rows: tuple[str, ...]
) -> None:
    with pytest.raises(MarketUnusable, match=r"QUOTE_CSV_EXCHANGE: .*'XXXX'.*XNYS"):
        load(write_csv(*rows), exchange="XXXX")
