import pytest

from prediction_svc.book import Book, Edition
from prediction_svc.market import Refusal
from prediction_svc.testing import issued_of

ISSUED = issued_of("AAPL")
FAR = issued_of("AAPL", horizon=20)


def reason(book: Book, symbol: str) -> str:
    found = book.find(symbol)
    assert isinstance(found, Refusal)
    assert found.message.endswith(".")
    return found.reason


def test_every_symbol_has_an_answer_or_a_reason() -> None:
    book = Book()
    assert reason(book, "AAPL") == "FORECAST_PENDING"
    book.edition = Edition(
        market_id="csv:1",
        known=frozenset({"AAPL", "NEW", "SHORT"}),
        forecasts={1: {"AAPL": ISSUED}, 20: {"AAPL": FAR}},
        refusals={"SHORT": Refusal("HISTORY_TOO_SHORT", "SHORT has 2 sessions; 60 are needed.")},
        model=None,
    )
    assert book.find(" aapl ") is ISSUED
    assert book.find("AAPL", 20) is FAR
    assert reason(book, "NEW") == "FORECAST_PENDING"
    assert reason(book, "short") == "HISTORY_TOO_SHORT"
    assert reason(book, "XYZ") == "SYMBOL_NOT_FOUND"
    assert reason(book, "two words") == "SYMBOL_MALFORMED"


def test_the_expected_close_is_the_median() -> None:
    assert ISSUED.expected_close == pytest.approx(100.10005, abs=1e-5)
    assert ISSUED.quantile_prices[3] == (0.5, ISSUED.expected_close)
    prices = [price for _, price in ISSUED.quantile_prices]
    assert prices == sorted(prices)
