"""The yahoo market end to end: yfinance's own code, against a server in the tests' own hands."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta

import exchange_calendars
import numpy as np
import pytest
from yfinance.pricing_pb2 import PricingData

from fake_yahoo import FakeYahoo, Fault
from stack import Stack, Visitor, eventually
from yahoo_answers import Listing

Visit = Callable[[Stack], Visitor]
SESSIONS = 700


def days_of(calendar: str) -> list[date]:
    """The last sessions of an exchange before today; every day for an empty name."""
    today = datetime.now(UTC).date()
    if not calendar:
        return [today - timedelta(days=back) for back in range(SESSIONS, 0, -1)]
    first = today - timedelta(days=2 * SESSIONS)
    known = exchange_calendars.get_calendar(calendar, start=first.isoformat())
    sessions = known.sessions_in_range(known.first_session, today - timedelta(days=1))
    return [session.date() for session in sessions][-SESSIONS:]


def listing(symbol: str, price: float, calendar: str = "XNYS", **more: object) -> Listing:
    """A random walk that ends with the last session before today at `price`."""
    days = days_of(calendar)
    steps = np.random.default_rng(len(symbol)).normal(0, 0.01, len(days))
    walk = price * np.exp(np.cumsum(steps) - steps.sum())
    closes = [round(float(close), 2) for close in walk]
    return Listing(symbol, days, closes, **more)  # type: ignore[arg-type]


LISTINGS = {
    each.symbol: each
    for each in (
        listing("AAPL", 190.25, name="Apple Inc.", volumes=[1_000_000] * SESSIONS),
        listing(
            "BARC.L",
            216.0,
            "XLON",
            name="BARCLAYS PLC",
            currency="GBp",
            zone="Europe/London",
            exchange="LSE",
            opens_at=time(8),
        ),
        listing("^GSPC", 5005.5, kind="INDEX", exchange="SNP", name="S&P 500"),
        listing(
            "BTC-USD",
            61000.0,
            "",
            kind="CRYPTOCURRENCY",
            exchange="CCC",
            zone="UTC",
            opens_at=time(0),
            name="Bitcoin USD",
        ),
        listing("VFIAX", 455.1, kind="MUTUALFUND", exchange="NAS", name="Vanguard 500 Index"),
    )
}


@pytest.fixture(scope="module")
def yahoo() -> Iterator[FakeYahoo]:
    with FakeYahoo(LISTINGS) as fake:
        yield fake


@pytest.fixture(scope="module")
def yahoo_stack(yahoo: FakeYahoo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("yahoo")
    (folder / "seed.txt").write_text("AAPL Apple\n")
    settings = {
        "QUOTE_MARKET": "yahoo",
        "QUOTE_CA_BUNDLE": str(yahoo.ca_bundle),
        "QUOTE_SEED_FILE": str(folder / "seed.txt"),
        "QUOTE_YAHOO_RATE": "50",
        **yahoo.environment,
    }
    with Stack(folder, **settings) as stack:
        yield stack


async def have(visitor: Visitor, part: str) -> bool:
    """Whether all rows have a part."""
    return all(row[part] for row in (await visitor.subscriptions())["subs"])


async def test_each_kind_of_instrument_is_right_or_says_why_not(
    yahoo_stack: Stack, yahoo: FakeYahoo, visitors: Visit
) -> None:
    visitor = visitors(yahoo_stack)
    await visitor.register("satoshi@example.org")
    await visitor.subscribe(*LISTINGS)
    form = {"symbol": "NOSUCH", "csrf_token": await visitor.token("/subscribeList")}
    status, text, _ = await visitor.post("/subscriptions", form)
    assert (status, json.loads(text)["error"]["reason"]) == (404, "SYMBOL_NOT_FOUND")
    await eventually(lambda: have(visitor, "currentPrice"), "prices of all kinds")
    answer = await visitor.subscriptions()
    assert answer["market"]["id"] == "yahoo"
    assert "personal use" in " ".join(answer["market"]["notices"])
    rows = {row["symbol"]: row for row in answer["subs"]}
    assert list(rows) == list(LISTINGS)
    for symbol, row in rows.items():
        pence = symbol == "BARC.L"
        close = LISTINGS[symbol].closes[-1]
        assert close is not None
        assert row["currentPrice"] == pytest.approx(close / (100 if pence else 1))
        assert row["currency"] == ("GBP" if pence else "USD")
        assert row["name"] == LISTINGS[symbol].name
        assert row["priceAsOf"]
    page = await visitor.page("/subscribeList")
    for words in ("Yahoo Finance", "2.1600 <abbr>GBP", "Bitcoin USD", "S&amp;P 500"):
        assert words in page
    await eventually(lambda: have(visitor, "band"), "forecasts of all kinds")


async def test_a_price_that_yahoo_pushes_is_on_the_page(
    yahoo_stack: Stack, yahoo: FakeYahoo, visitors: Visit
) -> None:
    visitor = visitors(yahoo_stack)
    await visitor.register("hal@example.org")
    await visitor.subscribe("BTC-USD")  # which is traded at any time

    async def followed() -> bool:
        return any("BTC-USD" in symbols for symbols in yahoo.subscriptions)

    await eventually(followed, "the stream's subscription")
    now = int(datetime.now(UTC).timestamp() * 1000)
    message = PricingData(id="BTC-USD", price=61250.0, time=now, market_hours=1)
    yahoo.push(message.SerializeToString())

    async def shown() -> bool:
        return bool((await visitor.row("BTC-USD"))["currentPrice"] == 61250.0)

    await eventually(shown, "the price that was pushed")


async def test_what_is_known_outlasts_yahoo_and_a_restart(
    yahoo_stack: Stack, yahoo: FakeYahoo, visitors: Visit
) -> None:
    visitor = visitors(yahoo_stack)
    await visitor.register("warren@example.org")
    await visitor.subscribe("AAPL")
    yahoo.fault = Fault.RATE_LIMITED
    try:
        yahoo_stack.stop("quote-svc")
        yahoo_stack.start("quote-svc")

        async def priced() -> bool:
            return (await visitor.row("AAPL"))["currentPrice"] is not None

        await eventually(priced, "the stored price")
        assert (await visitor.row("AAPL"))["currentPrice"] == LISTINGS["AAPL"].closes[-1]
        form = {"symbol": "TSLA", "csrf_token": await visitor.token("/subscribeList")}
        status, text, _ = await visitor.post("/subscriptions", form)
        assert status == 503
        assert json.loads(text)["error"]["message"].endswith("Nothing was stored.")
    finally:
        yahoo.fault = None
