"""The watchlist from the board: what a page costs, and what is shown before all is known."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.app import create_app
from gateway.settings import GatewaySettings
from patience import eventually

Client = TestClient[web.Request, web.Application]


async def follow(person: Any, *symbols: str) -> None:
    await person.register()
    for symbol in symbols:
        assert (await person.post("/subscriptions", symbol=symbol)).status in (201, 303)


def forget_calls(services: Any) -> None:
    for fake in (services.quotes, services.predictions, services.accounts):
        fake.calls.clear()


def page_calls(services: Any) -> Counter[str]:
    """All calls but those that are made once in a while for all pages together."""
    made: Counter[str] = Counter()
    for fake in (services.quotes, services.predictions, services.accounts):
        made += fake.calls
    for call in ("GetClock", "GetModelStatus", "ListUniverse"):
        del made[call]
    return made


@pytest.fixture
async def unboarded(
    settings: GatewaySettings, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Client:
    return await aiohttp_client(create_app(settings.model_copy(update={"board": "off"})))


async def test_without_the_board_a_page_costs_three_calls_and_looks_the_same(
    browser: Any, unboarded: Client, services: Any
) -> None:
    await follow(browser, "AAPL", "MSFT", "XOM")
    boarded = await browser.get("/subscribeList")
    jar = browser.client.session.cookie_jar
    cookies = {each.key: each.value for each in jar}
    headers = {**browser.headers, "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
    (await unboarded.get("/subscribeList", headers=headers)).release()
    forget_calls(services)
    response = await unboarded.get("/subscribeList", headers=headers)
    text = await response.text()
    made = page_calls(services)
    assert (made["BatchGetQuotes"], made["BatchGetForecasts"]) == (1, 1)
    assert (made["WatchQuotes"], made["WatchForecasts"]) == (0, 0)

    def table(page: str) -> str:
        return page.partition("<table")[2].partition("</table>")[0]

    assert table(text) == table(boarded.text)
    assert "293.65" in table(text)


async def test_what_changes_is_seen_without_asking(program: Any, services: Any) -> None:
    await follow(program, "AAPL", "MSFT")
    await program.get("/subscribeList")
    forget_calls(services)
    services.quotes.prices["MSFT"] = 160.25

    async def is_seen() -> bool:
        rows = (await program.get("/subscribeList")).content["subs"]
        return [row["currentPrice"] for row in rows] == [293.65, 160.25]

    await eventually(is_seen)
    assert set(page_calls(services)) <= {"BatchListSubscriptions"}


async def test_many_who_look_first_cost_one_watch(anyone: Any, services: Any) -> None:
    await follow(anyone, "AAPL", "MSFT", "XOM")
    forget_calls(services)
    answers = await asyncio.gather(*(anyone.get("/subscribeList") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert all("293.65" in answer.text for answer in answers)
    made = page_calls(services)
    assert (made["WatchQuotes"], made["WatchForecasts"]) == (1, 1)


async def test_a_page_does_not_wait_for_what_is_slow(browser: Any, services: Any) -> None:
    await follow(browser, "AAPL", "MSFT")
    services.quotes.may_answer.clear()
    answer = await browser.get("/subscribeList")
    assert answer.status == 200
    assert answer.text.count('class="main none pending"') == 2
    assert '<noscript><meta http-equiv="refresh"' in answer.text
    assert "281.90" in answer.text, "forecasts come without prices"
    services.quotes.may_answer.set()

    async def is_filled() -> bool:
        text = (await browser.get("/subscribeList")).text
        return "293.65" in text and "pending" not in text and "http-equiv" not in text

    await eventually(is_filled)


async def test_what_was_known_stays_on_the_page_when_a_service_goes(
    browser: Any, program: Any, services: Any
) -> None:
    await follow(browser, "AAPL")
    assert "293.65" in (await browser.get("/subscribeList")).text
    await services.stop("quote")

    async def is_marked() -> bool:
        return "Prices are unavailable:" in (await browser.get("/subscribeList")).text

    await eventually(is_marked)
    answer = await browser.get("/subscribeList")
    assert answer.status == 200
    assert "293.65" in answer.text
    assert "It has not been heard of since" in answer.text
    assert 'class="watchlist without-prices"' in answer.text
    services.quotes.prices["AAPL"] = 300.5
    await services.start("quote")

    async def is_back() -> bool:
        text = (await browser.get("/subscribeList")).text
        return "300.50" in text and "unavailable" not in text

    await eventually(is_back)


async def test_a_first_fetch_is_told_with_a_progress_bar(
    browser: Any, program: Any, services: Any
) -> None:
    await follow(browser, "AAPL")
    services.quotes.progress = services.quotes.fetched(41, 2, 150)

    async def is_told() -> bool:
        return (
            '<progress id="fetching" max="150" value="41">'
            in (await browser.get("/subscribeList")).text
        )

    await eventually(is_told)
    assert "41 of 150 instruments" in (await browser.get("/subscribeList")).text
    services.quotes.progress = services.quotes.fetched(148, 2, 150)

    async def is_over() -> bool:
        return "fetching" not in (await browser.get("/subscribeList")).text

    await eventually(is_over)
