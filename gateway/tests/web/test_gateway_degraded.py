"""What is left when a service is down, and that it comes back by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from grpc import StatusCode

from foretick_rpc.errors import AppError
from gateway import feeding
from patience import eventually


async def follow(person: Any, *symbols: str) -> None:
    await person.register()
    for symbol in symbols:
        assert (await person.post("/subscriptions", symbol=symbol)).status in (201, 303)


async def test_without_prediction_svc_prices_are_shown(anyone: Any, services: Any) -> None:
    await follow(anyone, "AAPL", "MSFT")
    await services.stop("prediction")
    started = time.monotonic()
    answer = await anyone.get("/subscribeList")
    assert time.monotonic() - started < 2.5
    assert answer.status == 200
    if anyone.is_program:
        assert answer.content["forecastReason"]["reason"] == "UNAVAILABLE"
        for row in answer.content["subs"]:
            assert row["currentPrice"] is not None
            assert (row["predictScore"], row["limit_up_down"]) == (None, None)
            assert row["forecastReason"]["reason"] == "UNAVAILABLE"
    else:
        assert "293.65" in answer.text
        assert "Forecasts are unavailable:" in answer.text
    await services.start("prediction")

    async def forecasts_are_back() -> bool:
        answer = await anyone.get("/subscribeList")
        return "unavailable" not in answer.text and "2020" in answer.text

    await eventually(forecasts_are_back if not anyone.is_program else _has_scores(anyone))


def _has_scores(program: Any) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        rows = (await program.get("/subscribeList")).content["subs"]
        return all(row["predictScore"] is not None for row in rows)

    return check


async def test_without_quote_svc_the_list_is_shown(anyone: Any, services: Any) -> None:
    await follow(anyone, "AAPL", "MSFT")
    await services.stop("quote")
    answer = await anyone.get("/subscribeList")
    assert answer.status == 200
    if anyone.is_program:
        assert [row["symbol"] for row in answer.content["subs"]] == ["AAPL", "MSFT"]
        assert answer.content["priceReason"]["reason"] == "UNAVAILABLE"
        for row in answer.content["subs"]:
            assert row["currentPrice"] is None
            assert row["limit_up_down"] == 0.04
    else:
        assert "Prices are unavailable:" in answer.text
        assert "MSFT" in answer.text
        assert "for <time" in answer.text
    refused = await anyone.post("/subscriptions", symbol="XOM")
    assert refused.status == 503
    assert "Nothing was stored." in refused.text
    assert refused.headers["Retry-After"] == "5"
    assert services.accounts.followed["a@example.org"] == ["AAPL", "MSFT"]
    await services.start("quote")

    async def prices_are_back() -> bool:
        return "293.65" in (await anyone.get("/subscribeList")).text

    await eventually(prices_are_back)


async def test_without_quote_svc_an_empty_list_says_so(browser: Any, services: Any) -> None:
    await services.stop("quote")
    await browser.register()

    async def is_said() -> bool:
        return "Prices are unavailable:" in (await browser.get("/subscribeList")).text

    await eventually(is_said)
    answer = await browser.get("/subscribeList")
    assert answer.status == 200
    assert "as soon as prices are back" in answer.text


async def test_without_both_the_list_is_still_there(program: Any, services: Any) -> None:
    await follow(program, "AAPL")
    await services.stop("quote")
    await services.stop("prediction")
    answer = await program.get("/subscribeList")
    assert answer.status == 200
    (row,) = answer.content["subs"]
    assert (row["symbol"], row["currentPrice"], row["limit_up_down"]) == ("AAPL", None, None)


async def test_without_subscription_svc_there_is_a_plain_503(anyone: Any, services: Any) -> None:
    await follow(anyone, "AAPL")
    await services.stop("subscription")
    started = time.monotonic()
    answer = await anyone.get("/subscribeList")
    assert time.monotonic() - started < 2.5
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "5"
    if anyone.is_program:
        assert answer.error["reason"] == "UNAVAILABLE"
        assert "subscription-svc" in answer.error["message"]
    else:
        assert "subscription-svc" in answer.text
        assert answer.headers["X-Request-ID"] in answer.text
    await services.start("subscription")

    async def is_back() -> bool:
        return bool((await anyone.get("/subscribeList")).status == 200)

    await eventually(is_back)


async def test_a_service_that_hangs_is_not_waited_for(
    program: Any, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await follow(program, "AAPL")
    monkeypatch.setattr(feeding, "FIRST_ANSWER_SECONDS", 0.2)
    released = asyncio.Event()

    async def hang(_request: Any, _context: Any) -> AsyncIterator[Any]:
        await released.wait()
        yield

    monkeypatch.setattr(services.predictions, "WatchForecasts", hang)
    await services.stop("prediction")
    await services.start("prediction")

    async def is_late() -> bool:
        # On a busy machine another service may be late too: it is asked again.
        answer = await program.get("/subscribeList")
        if answer.status != 200:
            return False
        row = answer.content["subs"][0]
        late = row["forecastReason"] and row["forecastReason"]["reason"] == "DEADLINE_EXCEEDED"
        return bool(late and row["currentPrice"] == 293.65)

    await eventually(is_late)
    released.set()


async def test_an_answer_that_fails_once_leaves_the_rest_of_the_page(
    program: Any, services: Any
) -> None:
    await follow(program, "AAPL")
    services.predictions.fail_next = AppError(StatusCode.INTERNAL, "INTERNAL", "a secret detail")
    answer = await program.get("/subscribeList")
    assert answer.status == 200
    assert answer.content["forecastReason"]["message"] == "Something went wrong in prediction-svc."


async def test_probes(anyone: Any, services: Any) -> None:
    answer = await anyone.get("/healthz")
    assert (answer.status, answer.content or answer.text) in (
        (200, "ok"),
        (200, {"status": "ok"}),
    )
    ready = await anyone.get("/readyz")
    assert ready.status == 200
    await services.stop("quote")
    await services.stop("prediction")
    ready = await anyone.get("/readyz")
    assert ready.status == 200
    if anyone.is_program:
        assert ready.content["services"]["quote-svc"] == "UNAVAILABLE"
    else:
        assert "quote-svc: UNAVAILABLE" in ready.text
    await services.stop("subscription")
    ready = await anyone.get("/readyz")
    assert ready.status == 503
    if anyone.is_program:
        assert ready.content["services"]["subscription-svc"] == "UNAVAILABLE"
    else:
        assert ready.text.startswith("not ready: subscription-svc")
    assert (await anyone.get("/healthz")).status == 200
