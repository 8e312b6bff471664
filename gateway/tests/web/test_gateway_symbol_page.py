"""The symbol page over fakes: what it shows, where something is missing, and what it costs."""

import gzip
import json
import math
import re
from datetime import date
from typing import Any

import pytest

from fake_records import ledger_entry
from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.convert import epoch_day
from gateway import wording
from gateway.app import create_app
from gateway.pages import part
from reading import words_of

Fixture = Any


@pytest.fixture
async def reader(browser: Fixture) -> Fixture:
    await browser.register()
    return browser


@pytest.fixture
async def script(program: Fixture) -> Fixture:
    await program.register()
    return program


async def test_all_that_is_known_is_on_the_page(reader: Fixture) -> None:
    answer = await reader.get("/symbols/AAPL")
    assert answer.status == 200
    text = words_of(answer.text)
    for said in (
        "Apple Inc.",
        "293.65",
        "Thu 2 Jan 2020",
        "Wed 8 Jan 2020",
        "20 sessions ahead",
        "50.8\xa0%",
        "Sharper than naive",
        "No demonstrated edge",
        "+2.1\xa0% against the hardest naive forecaster; 95 % interval +0.6\xa0% to +3.6\xa0%",
        "evidence 0.4, 2.6 is asked for",
        "evidence 3.2, 2.6 is asked for",
        "81.2\xa0%",
        "Size of its moves over 5 sessions",
        "How much was traded in the last session, compared with other stocks",
        "share",
        "XNAS",
        "split: 4 new for 1 old",
        "dividend 0.7700 USD",
        "AAPL closed at 293.65 USD on Tue 31 Dec 2019",
    ):
        assert said in text, said
    assert '<form method="post" action="/subscriptions">' in answer.text
    await reader.post("/subscriptions", symbol="AAPL")
    assert "/subscriptions/AAPL/delete" in (await reader.get("/symbols/aapl")).text


async def test_the_reasons_add_up(reader: Fixture) -> None:
    page = (await reader.get("/symbols/AAPL")).text
    section = page[page.index('id="why"') : page.index('id="ledger"')]
    values = re.findall(r'data-label="Adds">([−+][\d.]+)<', section)
    numbers = [float(each.replace("−", "-")) for each in values]
    assert len(numbers) == 5
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1])
    assert wording.decimal(math.exp(-0.125)) in section


async def test_each_state_of_a_forecast_is_said_with_its_reason(
    reader: Fixture, services: Fixture
) -> None:
    page = (await reader.get("/symbols/AAPL")).text
    rows = dict(re.findall(r'<tr role="row" data-row="(\d+)" [^>]*>(.*?)</tr>', page, re.DOTALL))
    text = {int(number): words_of(row) for number, row in rows.items()}
    assert list(text) == [each.row_number for each in services.predictions.entries]
    assert "pending its close is not known yet" in text[25]
    assert "missed: Nobody was there to make it" in text[21]
    assert "none was made" in text[21]
    assert "unresolved: The source has lost the session" in text[17]
    assert "not known" in text[17]
    assert "revised since to" in text[13]
    assert "+3.05\xa0%" in text[13]
    assert "inside" in text[13]  # what was recorded first counts
    assert "outside" in text[9]
    assert "inside" in text[5]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", "".join(rows.values()), re.DOTALL)
    assert all(words_of(cell).strip() for cell in cells)


async def test_page_json_and_services_agree(
    reader: Fixture, services: Fixture, client: Fixture
) -> None:
    page = (await reader.get("/symbols/AAPL")).text
    response = await client.get("/symbols/AAPL", headers={"Accept": "application/json"})
    told = await response.json()
    outlook = await services.predictions.GetSymbolOutlook(
        pb.GetSymbolOutlookRequest(symbol="AAPL", entry_count=60, entry_horizon=1), None
    )
    for forecast, said in zip(outlook.forecasts, told["forecasts"], strict=True):
        assert said["forecastSession"] == forecast.target_session_date
        assert said["upProbability"] == forecast.up_probability
        prices = [each.price for each in forecast.quantiles]
        assert [each["price"] for each in said["quantiles"]] == prices
        assert f"{wording.price(prices[0])} – {wording.price(prices[-1])}" in page
        assert wording.share(forecast.up_probability, 1) in page
    for entry, said in zip(outlook.entries, told["ledger"]["entries"], strict=True):
        assert said["number"] == entry.row_number
        assert said["logMoves"] == list(entry.log_moves)
        assert (
            said["state"]
            == pb.OutcomeState.Name(entry.state).removeprefix("OUTCOME_STATE_").lower()
        )
        moves = [each.log_move if each.HasField("log_move") else None for each in entry.outcomes]
        assert [each["logMove"] for each in said["outcomes"]] == moves
        if entry.log_moves:
            low = entry.reference_close * math.exp(entry.log_moves[1])
            assert said["band"]["low"] == low
            assert wording.price(low) in page
        for move in moves:
            assert move is None or wording.percent(100 * math.expm1(move)) in page
    for basis, record in (("live", outlook.live), ("backtest", outlook.backtest)):
        said = told["record"][basis]
        assert said["rangeSkill"]["value"] == record.range_skill.value
        assert said["range"]["t"] == record.range.t
        assert said["coverage"] == record.coverage
        assert said["score"]["value"] == record.score.value
    assert wording.share(outlook.live.coverage, 1) in page
    assert told["why"]["prediction"] == outlook.explanation.prediction
    assert told["quote"]["currentPrice"] == services.quotes.prices["AAPL"]


async def test_below_its_least_n_no_number_is_told(reader: Fixture, services: Fixture) -> None:
    services.predictions.live_sessions = 37
    page = (await reader.get("/symbols/AAPL")).text
    worth = page[page.index('id="worth"') : page.index('id="chart-section"')]
    live = words_of(worth[: worth.index("Backtest")])
    assert live.count("not enough yet (37 of 150)") == 4
    assert "%" not in live.replace("80 % band held", "")


async def test_later_pages_and_other_horizons_of_the_ledger(
    reader: Fixture, services: Fixture
) -> None:
    resolved = pb.OUTCOME_STATE_RESOLVED
    services.predictions.entries = [
        *(ledger_entry(400 - 3 * k, "AAPL", resolved) for k in range(50)),
        ledger_entry(100, "AAPL", resolved, horizon=5),
    ]
    first = (await reader.get("/symbols/AAPL")).text
    shown = re.findall(r'data-row="(\d+)"', first)
    assert shown == [str(400 - 3 * k) for k in range(20)]
    address = re.search(r'href="(/symbols/AAPL\?horizon=1&amp;before=\d+)#ledger"', first)
    assert address
    second = (await reader.get(address[1].replace("&amp;", "&"))).text
    assert re.findall(r'data-row="(\d+)"', second) == [str(400 - 3 * k) for k in range(20, 40)]
    five = (await reader.get("/symbols/AAPL?horizon=5")).text
    assert re.findall(r'data-row="(\d+)"', five) == ["100"]
    refused = await reader.get("/symbols/AAPL?horizon=2")
    assert refused.status == 400


async def test_an_unknown_symbol_is_404_with_suggestions(reader: Fixture, script: Fixture) -> None:
    for symbol in ("AAPK", "a%20b", "%3Cscript%3E"):
        answer = await reader.get(f"/symbols/{symbol}")
        assert answer.status == 404
        assert "<script>" not in answer.text
    page = (await reader.get("/symbols/AAPK")).text
    assert 'href="/symbols/AAPL"' in page
    answer = await script.get("/symbols/AAPK")
    assert (answer.status, answer.error["reason"]) == (404, "SYMBOL_NOT_FOUND")
    assert {"symbol": "AAPL", "name": "Apple Inc."} in answer.error["suggestions"]
    assert (await script.get("/symbols/AAPK/history")).status == 404


@pytest.mark.parametrize(
    ("down", "gone", "left"),
    [
        ("quote", ["The price is unavailable:", "Past prices are unavailable:"], "What may come"),
        ("prediction", ["Forecasts are unavailable:", "The ledger is unavailable:"], "293.65"),
    ],
)
async def test_without_a_service_its_panels_say_so(
    reader: Fixture, services: Fixture, down: str, gone: list[str], left: str
) -> None:
    await services.stop(down)
    answer = await reader.get("/symbols/AAPL")
    assert answer.status == 200
    text = words_of(answer.text)
    for said in (*gone, left):
        assert said in text, said
    response = await reader.client.get("/symbols/AAPL", headers={"Accept": "application/json"})
    told = await response.json()
    missing = {
        "quote": ["priceReason", "historyReason"],
        "prediction": ["forecastReason", "ledgerReason"],
    }
    for key in missing[down]:
        assert told[key]["reason"] == "UNAVAILABLE"


async def test_without_a_forecast_the_reason_stands_in_its_place(
    reader: Fixture, services: Fixture
) -> None:
    del services.predictions.closes["XOM"]
    text = words_of((await reader.get("/symbols/XOM")).text)
    assert "There is no forecast: XOM has 20 sessions; 30 are needed." in text
    services.predictions.learned = False
    text = words_of((await reader.get("/symbols/MSFT")).text)
    assert "Nothing was learned for this forecast" in text


async def test_prices_of_another_market_never_stand_beside_its_forecasts(
    reader: Fixture, services: Fixture
) -> None:
    services.predictions.market_id = "csv:0002"
    assert "forecasts at hand are of another market" in (await reader.get("/symbols/AAPL")).text


@pytest.mark.parametrize(("fresh_seconds", "asked"), [(1e6, 0), (0.0, 1)])
async def test_a_warm_page_costs_few_calls(  # noqa: PLR0917 - fixtures
    browser: Fixture,
    monkeypatch: pytest.MonkeyPatch,
    services: Fixture,
    settings: Fixture,
    aiohttp_client: Fixture,
    fresh_seconds: float,
    asked: int,
) -> None:
    monkeypatch.setattr("gateway.records.FRESH_SECONDS", fresh_seconds)
    reader = type(browser)(await aiohttp_client(create_app(settings)), "text/html")
    await reader.register()
    for _ in range(3):
        await reader.get("/symbols/AAPL")
    for fake in (services.quotes, services.predictions, services.accounts):
        fake.calls.clear()
    services.predictions.entries = [ledger_entry(31, "AAPL", pb.OUTCOME_STATE_RESOLVED)]
    page = (await reader.get("/symbols/AAPL")).text
    # What the board asks once in a while is for all pages together.
    polled = {"ListUniverse", "GetClock", "GetMarket"}
    assert set(services.quotes.calls) <= polled
    assert services.predictions.calls["GetSymbolOutlook"] == asked
    assert set(services.predictions.calls) <= {"GetSymbolOutlook", "GetModelStatus"}
    assert services.accounts.calls.total() == 0
    # What is new is on the page as soon as it is asked for.
    assert ('data-row="31"' in page) == bool(asked)


async def test_followers_and_others_share_a_page_each(
    reader: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.get("/symbols/AAPL")  # from now on its price comes from the board
    rendered: list[str] = []

    def counting(request: Fixture, template: str, **context: Fixture) -> Fixture:
        rendered.append(template)
        return part(request, template, **context)

    monkeypatch.setattr("gateway.shared_pages.part", counting)
    for _ in range(3):
        assert "Add to the watchlist" in (await reader.get("/symbols/AAPL")).text
        await reader.post("/subscriptions", symbol="AAPL")
        assert "Add to the watchlist" not in (await reader.get("/symbols/AAPL")).text
        await reader.post("/subscriptions/AAPL/delete")
    assert rendered == ["symbol.html"] * 2


async def test_the_history_is_sent_once(reader: Fixture, services: Fixture) -> None:
    services.quotes.past_sessions = 1260
    page = (await reader.get("/symbols/AAPL")).text
    address = re.search(r'data-history="([^"]+)"', page)
    assert address
    response = await reader.client.get(address[1])
    assert response.status == 200
    assert response.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert response.headers["Content-Encoding"] == "gzip"
    columns = await response.json()
    assert len(columns["days"]) == len(columns["closes"]) == 1260
    assert columns["days"][-1] == epoch_day(date(2019, 12, 31))
    assert columns["closes"][-1] == services.quotes.prices["AAPL"]
    assert len(gzip.compress(json.dumps(columns, separators=(",", ":")).encode(), 9)) <= 60_000
    asked = {"If-None-Match": response.headers["ETag"]}
    again = await reader.client.get("/symbols/AAPL/history", headers=asked)
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["Cache-Control"] == "private, no-cache"


async def test_only_this_page_loads_the_chart(reader: Fixture) -> None:
    assert "/static/charts.js" in (await reader.get("/symbols/AAPL")).text
    for path in ("/subscribeList", "/track-record", "/track-record/words", "/account"):
        assert "chart" not in "".join(re.findall(r"<script[^>]*>", (await reader.get(path)).text))


async def test_who_is_signed_out_is_led_to_the_sign_in(browser: Fixture, program: Fixture) -> None:
    answer = await browser.get("/symbols/AAPL")
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=%2Fsymbols%2FAAPL")
    assert (await program.get("/symbols/AAPL")).status == 401
    assert (await program.get("/symbols/AAPL/history")).status == 401
