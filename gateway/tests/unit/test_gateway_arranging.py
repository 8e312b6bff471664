from dataclasses import replace

import pytest

from gateway.arranging import Arrangement, arranged, arrangement
from gateway.model import Forecast, Quote, Score
from gateway.watchlist import Row


def quote(symbol: str, name: str, price: float) -> Quote:
    return Quote(symbol, name, "USD", 2, price, None, 100.0, "2019-12-31", "closed", None)


def forecast(
    symbol: str, low: float, high: float, expected: float, score: float | None
) -> Forecast:
    return Forecast(
        symbol=symbol,
        as_of_session="2019-12-31",
        target_session="2020-01-02",
        target_inferred=False,
        reference_close=100.0,
        currency="USD",
        decimals=2,
        quantiles=((0.1, low), (0.5, 100.0), (0.9, high)),
        expected_close=expected,
        forecaster="scale_model",
        model_version="1",
        score=Score(score, None, None, 250, "live"),
    )


def row(named: tuple[str, str], price: float, band: float, expected: float, score: float) -> Row:
    symbol, name = named
    made = forecast(symbol, 100 - band, 100 + band, expected, score)
    return Row(symbol, quote(symbol, name, price), None, made, None)


ROWS = [
    row(("ZZ", "alpha mills"), 101.0, 3.0, 100.2, -1.0),
    row(("MM", "Çelik Works"), 99.0, 5.0, 100.1, 2.0),
    row(("AA", "Omega Mills"), 104.0, 1.0, 100.3, 0.5),
]
UNKNOWN = Row("KK", None, None, None, None)
NOTES = {"MM": "Bought low"}


def order(sort: str, words: str = "", rows: list[Row] | None = None) -> str:
    chosen = arrangement(sort, words)
    return " ".join(each.symbol for each in arranged(ROWS if rows is None else rows, chosen, NOTES))


@pytest.mark.parametrize(
    ("sort", "symbols"),
    [
        ("", "ZZ MM AA"),
        ("name", "ZZ AA MM"),
        ("-name", "MM AA ZZ"),
        ("change", "MM ZZ AA"),
        ("-change", "AA ZZ MM"),
        ("band", "AA ZZ MM"),
        ("-band", "MM ZZ AA"),
        ("move", "MM ZZ AA"),
        ("score", "ZZ AA MM"),
        ("-score", "MM AA ZZ"),
        ("price; drop", "ZZ MM AA"),
        ("--change", "ZZ MM AA"),
    ],
)
def test_a_list_is_sorted_by_what_its_address_says(sort: str, symbols: str) -> None:
    assert order(sort) == symbols


@pytest.mark.parametrize("sort", ["change", "-change", "band", "-band", "score", "-score"])
def test_what_has_no_value_comes_last_either_way(sort: str) -> None:
    assert order(sort, rows=[UNKNOWN, *ROWS]).endswith(" KK")


def test_a_symbol_without_a_name_is_sorted_by_itself() -> None:
    assert order("name", rows=[*ROWS, UNKNOWN]) == "ZZ KK AA MM"


@pytest.mark.parametrize("sort", ["change", "-change"])
def test_what_is_alike_stays_in_the_lists_own_order(sort: str) -> None:
    alike = [replace(each, quote=quote(each.symbol, "Same", 101.0)) for each in ROWS]
    assert order(sort, rows=alike) == "ZZ MM AA"


@pytest.mark.parametrize(
    ("words", "symbols"),
    [
        ("", "ZZ MM AA"),
        ("  ", "ZZ MM AA"),
        ("mills", "ZZ AA"),
        ("MILLS om", "AA"),
        ("çelik", "MM"),
        ("zz", "ZZ"),
        ("bought", "MM"),
        ("low works", "MM"),
        ("nothing", ""),
    ],
)
def test_a_filter_asks_for_all_its_words_in_symbol_name_or_note(words: str, symbols: str) -> None:
    assert order("", words) == symbols
    assert set(order("-change", words).split()) == set(symbols.split())


def test_a_column_is_turned_by_choosing_it_again() -> None:
    own = arrangement("", "a b")
    assert own.query_sorted_by("change") == "sort=-change&filter=a+b"
    assert own.query_sorted_by("name") == "sort=name&filter=a+b"
    assert own.query_sorted_by("") == "filter=a+b"
    falling = arrangement("-change", "")
    assert falling.query_sorted_by("change") == "sort=change"
    assert (falling.direction("change"), falling.direction("name")) == ("descending", "none")
    assert arrangement("change", "").direction("change") == "ascending"
    assert Arrangement().direction("name") == "none"
