"""Answers of the chart endpoint that need a hand, or are refused, before yfinance reads them."""

from datetime import date
from typing import Any

import pytest

from quote_svc.source import Nonsense, UnknownSymbol
from quote_svc.yahoo_chart import mend_chart, read_json
from yahoo_answers import NOT_FOUND, Listing, chart, sessions

DAYS = sessions(date(2024, 1, 2), 5)


def body(**facts: Any) -> dict[str, Any]:
    listing = Listing("ABC", DAYS, [1.0, 2, 3, 4, 5], volumes=[9] * 5, **facts)
    return chart(listing, 0, 2**33)


def mended(document: dict[str, Any]) -> dict[str, Any]:
    mend_chart(document, 200, "ABC")
    result: dict[str, Any] = document["chart"]["result"][0]
    return result


def test_an_answer_without_fault_is_left_alone() -> None:
    document = body(dividends={DAYS[2]: 0.5})
    assert mended(document) == body(dividends={DAYS[2]: 0.5})["chart"]["result"][0]


@pytest.mark.parametrize("text", [b"<html>", b'{"chart": {"res', b"", b"[]", b"\xff\xfe", b"null"])
def test_what_is_not_a_json_object_is_nonsense(text: bytes) -> None:
    with pytest.raises(Nonsense):
        read_json(text)


def test_only_yahoos_own_404_means_that_there_is_no_such_symbol() -> None:
    with pytest.raises(UnknownSymbol):
        mend_chart(NOT_FOUND, 404, "ABC")
    for document in ({}, {"chart": None}, {"chart": {"result": None, "error": {"code": "Busy"}}}):
        with pytest.raises(Nonsense):
            mend_chart(document, 404, "ABC")


def test_a_request_that_yahoo_refuses_says_nothing_of_the_symbol() -> None:
    error = {"code": "Bad Request", "description": "Data doesn't exist for startDate"}
    with pytest.raises(Nonsense, match="Data doesn't exist"):
        mend_chart({"chart": {"result": None, "error": error}}, 400, "ABC")


def test_a_chart_without_volumes_gets_some() -> None:
    document = body()
    del document["chart"]["result"][0]["indicators"]["quote"][0]["volume"]
    assert mended(document)["indicators"]["quote"][0]["volume"] == [0] * 5


def test_a_dividend_in_the_major_unit_of_the_prices_is_converted() -> None:
    document = body(currency="GBp", dividends={DAYS[2]: 0.05})
    (dividend,) = document["chart"]["result"][0]["events"]["dividends"].values()
    dividend["currency"] = "GBP"
    (converted,) = mended(document)["events"]["dividends"].values()
    assert converted["amount"] == pytest.approx(5)


def test_a_dividend_in_a_foreign_currency_is_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    document = body(dividends={DAYS[2]: 0.05, DAYS[3]: 0.06})
    first, _second = document["chart"]["result"][0]["events"]["dividends"].values()
    first["currency"] = "EUR"
    (left,) = mended(document)["events"]["dividends"].values()
    assert left["amount"] == 0.06
    assert "paid in EUR" in caplog.text
