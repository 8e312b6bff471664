"""What people see while a service is away, and that all is well by itself once it is back."""

import json
from collections.abc import Callable
from itertools import count

import pytest

from stack import Stack, Visitor, eventually

Visit = Callable[[Stack], Visitor]
NUMBERS = count(1)


@pytest.fixture
async def visitor(csv_stack: Stack, visitors: Visit) -> Visitor:
    """Somebody who follows KO and sees all of it."""
    visitor = visitors(csv_stack)
    await visitor.register(f"visitor{next(NUMBERS)}@example.org")
    await visitor.subscribe("KO")
    await eventually(lambda: sees(visitor, price=True, forecast=True), "prices and forecasts")
    return visitor


async def sees(visitor: Visitor, *, price: bool, forecast: bool) -> bool:
    status, text = await visitor.get("/subscribeList")
    if status != 200:
        return False
    row = json.loads(text)["subs"][0]
    assert row["symbol"] == "KO"
    return (row["currentPrice"] is not None, row["limit_up_down"] is not None) == (price, forecast)


async def test_without_prediction_svc_the_page_has_prices(
    csv_stack: Stack, visitor: Visitor
) -> None:
    csv_stack.stop("prediction-svc")
    await eventually(lambda: sees(visitor, price=True, forecast=False), "prices alone")
    row = await visitor.row("KO")
    assert (row["limit_up_down"], row["predictScore"], row["band"]) == (None, None, None)
    assert row["forecastReason"]["reason"] == "UNAVAILABLE"
    page = await visitor.page("/subscribeList")
    assert "Forecasts are unavailable" in page
    assert f"{row['currentPrice']:,.2f}" in page
    csv_stack.start("prediction-svc")
    await eventually(lambda: sees(visitor, price=True, forecast=True), "forecasts again")
    assert "Forecasts are unavailable" not in await visitor.page("/subscribeList")


async def test_without_quote_svc_the_page_lists_the_subscriptions(
    csv_stack: Stack, visitor: Visitor
) -> None:
    csv_stack.stop("quote-svc")
    await eventually(lambda: sees(visitor, price=False, forecast=True), "forecasts alone")
    row = await visitor.row("KO")
    assert row["priceReason"]["reason"] == "UNAVAILABLE"
    page = await visitor.page("/subscribeList")
    assert "KO" in page
    assert "Prices are unavailable" in page
    form = {"symbol": "XOM", "csrf_token": await visitor.token("/subscribeList")}
    status, text, _ = await visitor.post("/subscriptions", form)
    assert status == 503, text
    csv_stack.start("quote-svc")
    await eventually(lambda: sees(visitor, price=True, forecast=True), "prices again")
    assert [row["symbol"] for row in (await visitor.subscriptions())["subs"]] == ["KO"]


async def test_without_subscription_svc_a_plain_503(csv_stack: Stack, visitor: Visitor) -> None:
    csv_stack.stop("subscription-svc")

    async def is_refused() -> bool:
        return (await visitor.get("/subscribeList"))[0] == 503

    await eventually(is_refused, "the loss of subscription-svc to be noticed")
    status, text = await visitor.get("/subscribeList", json=False)
    assert status == 503
    assert "<h1" in text
    assert "Traceback" not in text
    status, text = await visitor.get("/subscribeList")
    assert (status, json.loads(text)["error"]["reason"]) == (503, "UNAVAILABLE")
    assert (await visitor.get("/readyz"))[0] == 503
    assert (await visitor.get("/healthz"))[0] == 200
    csv_stack.start("subscription-svc")
    await eventually(lambda: sees(visitor, price=True, forecast=True), "the page again")
    assert (await visitor.get("/readyz"))[0] == 200
