from datetime import UTC, datetime

import pytest

from prediction_svc.book import Book, Edition, IssuedForecast
from prediction_svc.jobs import SymbolForecast
from prediction_svc.market import Refusal
from prediction_svc.scores import Score

MADE = SymbolForecast(
    symbol="AAPL",
    as_of_day=18_000,
    close=100.0,
    log_moves=(-0.03, -0.02, -0.01, 0.001, 0.01, 0.02, 0.03),
    score=Score(None, None, None, 3),
    model_version="",
)
ISSUED = IssuedForecast(MADE, "2020-01-02", False, "USD", 2, datetime(2020, 1, 1, tzinfo=UTC))


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
        forecasts={"AAPL": ISSUED},
        refusals={"SHORT": Refusal("HISTORY_TOO_SHORT", "SHORT has 2 sessions; 60 are needed.")},
        model=None,
    )
    assert book.find(" aapl ") is ISSUED
    assert reason(book, "NEW") == "FORECAST_PENDING"
    assert reason(book, "short") == "HISTORY_TOO_SHORT"
    assert reason(book, "XYZ") == "SYMBOL_NOT_FOUND"
    assert reason(book, "two words") == "SYMBOL_MALFORMED"


def test_the_expected_close_is_the_median() -> None:
    assert ISSUED.expected_close == pytest.approx(100.10005, abs=1e-5)
    assert ISSUED.quantile_prices[3] == (0.5, ISSUED.expected_close)
    prices = [price for _, price in ISSUED.quantile_prices]
    assert prices == sorted(prices)
