"""Search, pages and symbols."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quote_svc.market import Instrument, iso_date
from quote_svc.paging import PageTokenInvalid, page
from quote_svc.search import matches


def instrument(symbol: str, name: str) -> Instrument:
    return Instrument(symbol, name, "XNYS", "USD", 2)


INSTRUMENTS = (
    instrument("BAR", "Barley Works"),
    instrument("BARN", "Oak Doors"),
    instrument("OAK", "Great Barn Company"),
    instrument("XBAR", "Steel Rods"),
    instrument("ZINC", "Sandbars & Sons"),
    instrument("LONE", "Solitary Lighthouse"),
)


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("bar", ["BAR", "BARN", "OAK", "XBAR", "ZINC"]),
        ("BARN", ["BARN", "OAK"]),
        ("oak", ["OAK", "BARN"]),
        ("great  barn", ["OAK"]),
        ("lighthuose", ["LONE"]),
        ("LNOE", ["LONE"]),
        ("qqqqqqqq", []),
        ("   ", []),
    ],
)
def test_best_matches_come_first(query: str, symbols: list[str]) -> None:
    assert [found.symbol for found in matches(INSTRUMENTS, query)] == symbols


@given(st.text(max_size=100))
def test_any_query_has_an_answer(query: str) -> None:
    found = matches(INSTRUMENTS, query)
    assert set(found) <= set(INSTRUMENTS)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_pages_make_up_the_list(size: int) -> None:
    token = ""
    seen: list[Instrument] = []
    while True:
        part, token = page(INSTRUMENTS, size, token, "all")
        assert 1 <= len(part) <= size
        seen.extend(part)
        if not token:
            break
    assert tuple(seen) == INSTRUMENTS


@pytest.mark.parametrize("token", ["x", "MTA=", "LTEuMA==", "é", "1" * 10_000])
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        page(INSTRUMENTS, 2, token, "all")


def test_a_token_of_another_listing_is_refused() -> None:
    _, token = page(INSTRUMENTS, 2, "", "one")
    with pytest.raises(PageTokenInvalid):
        page(INSTRUMENTS, 2, token, "other")


@given(st.text(max_size=50))
def test_any_token_is_read_or_refused(token: str) -> None:
    if token:
        with pytest.raises(PageTokenInvalid):
            page(INSTRUMENTS, 2, token, "all")


@pytest.mark.parametrize("text", ["20191231", "2019-W01-1", "2019-1-1", "2019-12-31Z", "now", ""])
def test_other_ways_to_write_a_date(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        iso_date(text)
