"""Search, pages and symbols."""

import time
from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quote_svc.market import Instrument, iso_date
from quote_svc.paging import PageTokenInvalid, page
from quote_svc.search import _is_one_slip, _likeness, matches


def instrument(symbol: str, name: str) -> Instrument:
    return Instrument(symbol, name, "XNYS", "USD", 2)


REAL = (
    instrument("AAPL", "Apple Inc."),
    instrument("BAC", "Bank of America Corporation"),
    instrument("BTC-USD", "Bitcoin USD"),
    instrument("IBM", "International Business Machines Corporation"),
    instrument("MFI.TO", "Maple Leaf Foods Inc."),
    instrument("MSFT", "Microsoft Corporation"),
    instrument("NESN.SW", "Nestlé S.A."),
    instrument("^GSPC", "S&P 500"),
)


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


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("APLE", ["MFI.TO", "AAPL"]),  # a maple first: it has the very letters
        ("appel", ["AAPL"]),
        ("AAPLE", ["AAPL", "MFI.TO"]),
        ("Mircosoft", ["MSFT"]),
        ("microsfot corp", ["MSFT"]),
        ("mcirosfot", ["MSFT"]),
        ("MSTF", ["MSFT"]),
        ("IBN", ["IBM"]),
        ("BIM", ["IBM"]),
        ("BTCUSD", ["BTC-USD"]),
        ("gspc", ["^GSPC"]),
        ("s&p", ["^GSPC"]),
        ("nestle", ["NESN.SW"]),
        ("NESTLÉ", ["NESN.SW"]),
        ("nestel", ["NESN.SW"]),
        ("america bank", ["BAC"]),
        ("bank of amercia", ["BAC"]),
        ("amercia microsoft", []),
        ("microsoft zzzz", []),
        ("corporation", ["BAC", "IBM", "MSFT"]),
        ("xy", []),
    ],
)
def test_slips_of_the_fingers(query: str, symbols: list[str]) -> None:
    assert [found.symbol for found in matches(REAL, query)] == symbols


@pytest.mark.parametrize(
    ("one", "other", "is_slip"),
    [
        ("apple", "aple", True),
        ("apple", "appel", True),
        ("apple", "appla", True),
        ("apple", "xapple", True),
        ("apple", "apples", True),
        ("apple", "aplpe", True),
        ("apple", "aelpp", False),
        ("apple", "apple", False),
        ("apple", "appelx", False),
        ("ab", "ac", False),
        ("abc", "ab", False),
        ("abcd", "badc", False),
    ],
)
def test_one_slip(one: str, other: str, is_slip: bool) -> None:
    assert _is_one_slip(one, other) is _is_one_slip(other, one) is is_slip


@given(st.text("abc", min_size=3, max_size=9), st.text("abcd", min_size=3, max_size=9))
def test_no_slip_is_passed_over(word: str, wanted: str) -> None:
    if _is_one_slip(word, wanted) or word.startswith(wanted):
        assert word in _likeness([word], wanted)


def test_two_thousand_instruments_are_searched_at_once() -> None:
    syllables = ("ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pra", "ste", "tri")
    parts = ["".join(three).title() for three in product(syllables, repeat=3)]
    many = tuple(
        instrument(f"S{n:04}", f"{parts[n]} {parts[-n]} {parts[n * 7 % len(parts)]} Inc.")
        for n in range(2000)
    )
    matches(many, "warm up")

    def cpu(work: Callable[[], object]) -> float:
        seconds = []
        for _ in range(5):
            began = time.process_time()
            work()
            seconds.append(time.process_time() - began)
        return min(seconds)

    # What it costs to look at each letter of each name once.
    reading = cpu(lambda: sum(ord(letter) for each in many for letter in each.display_name))
    for query in ("Stebapra", "Steabpra", "stebarpa inc", "s199", "qqqqqqqqqqq"):
        assert cpu(partial(matches, many, query)) < 12 * reading, query


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
