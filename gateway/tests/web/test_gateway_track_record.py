"""The track record and the ledger over fakes."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fake_records import HASH
from foretick.prediction.v1 import prediction_pb2 as pb
from gateway import wording
from gateway.app import create_app
from gateway.settings import GatewaySettings
from reading import words_of

Fixture = Any


@pytest.fixture
async def reader(browser: Fixture) -> Fixture:
    await browser.register()
    return browser


async def test_the_record_is_told_with_intervals_and_n(reader: Fixture) -> None:
    answer = await reader.get("/track-record")
    assert answer.status == 200
    text = words_of(answer.text)
    for said in (
        "Sharper than naive",
        "No demonstrated edge",
        "evidence 1.2, 2.6 is asked for",
        "1 of 5 symbols show an edge in direction; about 0.1 would by chance alone",
        "5 of 5 symbols have sharper bands",
        "Coverage is quiet",
        "drift is quiet",
        "80.5\xa0% 78.9\xa0% … 82.0\xa0%",
        "n 300",
        "n 1,000",
        "1,234 rows",
        f"{HASH}@1234",
        f"python -m prediction_svc verify --market csv:0001 --expect-head {HASH}@1234",
        "2 (0.13\xa0%)",
    ):
        assert said in text, said
    assert answer.text.count('<svg class="plot"') == 2 * 3


async def test_page_json_and_services_agree(reader: Fixture, services: Fixture) -> None:
    page = (await reader.get("/track-record")).text
    response = await reader.client.get("/track-record", headers={"Accept": "application/json"})
    told = await response.json()
    assert len(told["records"]) == 6
    names = {1: "ewma_normal", 2: "ewma_empirical", 3: "long_sd_empirical"}
    for said in told["records"]:
        basis = {"live": pb.SCORE_BASIS_LIVE, "backtest": pb.SCORE_BASIS_BACKTEST}[said["basis"]]
        asked = pb.GetTrackRecordRequest(horizon=said["horizon"], basis=basis)
        record = (await services.predictions.GetTrackRecord(asked, None)).record
        assert said["dates"] == record.scored_dates
        for skill in record.skills:
            name, percent = names[skill.baseline], skill.percent
            assert said["skills"][name] == {
                "value": percent.value,
                "low": percent.low,
                "high": percent.high,
            }
            cell = re.search(
                rf'data-skill="{said["basis"]} {said["horizon"]} {name}">(.*?)</td>',
                page,
                re.DOTALL,
            )
            assert cell
            shown = [
                wording.percent(each, 1) for each in (percent.value, percent.low, percent.high)
            ]
            assert f"{shown[0]} {shown[1]} … {shown[2]}" in words_of(cell[1])
            assert wording.count(record.scored_dates) in words_of(cell[1])
        assert said["coverage"]["value"] == record.coverage.value
        assert said["unresolved"] == record.unresolved
    for basis, listed in told["symbols"].items():
        assert [each["symbol"] for each in listed] == sorted(services.quotes.prices)
        assert {each["score"]["basis"] for each in listed} == {basis}
    assert told["head"] == {"market": "csv:0001", "rows": 1234, "hash": HASH}
    numbers = [each.row_number for each in services.predictions.entries]
    assert [each["number"] for each in told["ledger"]["entries"]] == numbers
    assert re.findall(r'data-row="(\d+)"', page) == list(map(str, numbers))


async def test_below_its_least_n_no_number_is_told(reader: Fixture, services: Fixture) -> None:
    services.predictions.live_sessions, services.predictions.backtest_sessions = 12, 0
    page = (await reader.get("/track-record")).text
    text = words_of(page[: page.index('id="counts"')])
    assert "not enough yet (12 of 150)" in text
    assert "not enough yet (0 of 150)" in text
    assert "coverage: not enough yet (12 of 63)" in text
    assert "<svg" not in page
    assert not re.search(r"\d\xa0%", text)


async def test_a_service_that_is_down_leaves_the_page(reader: Fixture, services: Fixture) -> None:
    await services.stop("prediction")
    answer = await reader.get("/track-record")
    assert answer.status == 200
    assert "The record is unavailable:" in answer.text
    assert "The ledger is unavailable:" in answer.text
    await services.stop("quote")
    assert (await reader.get("/track-record")).status == 200


async def test_each_forecast_has_an_address_for_good(reader: Fixture, services: Fixture) -> None:
    for entry in services.predictions.entries:
        text = words_of((await reader.get(f"/ledger/{entry.row_number}")).text)
        assert f"Row {entry.row_number}: AAPL" in text
        assert HASH in text
        response = await reader.client.get(
            f"/ledger/{entry.row_number}", headers={"Accept": "application/json"}
        )
        told = await response.json()
        assert (told["number"], told["logMoves"]) == (entry.row_number, list(entry.log_moves))
        for outcome in entry.outcomes:
            text = words_of((await reader.get(f"/ledger/{outcome.row_number}")).text)
            assert f"Row {entry.row_number}: AAPL" in text
            assert f"Row {outcome.row_number} says what came of it" in text
    assert (await reader.get("/ledger/99999")).status == 404
    assert (await reader.get("/ledger/none")).status == 404


async def test_every_word_is_explained(reader: Fixture) -> None:
    text = words_of((await reader.get("/track-record/words")).text)
    for word in ("80 % band", "Naive forecasts", "No demonstrated edge", "Calibration", "σ"):
        assert word in text


PATHS = ("/track-record", "/track-record/words", "/ledger/5")


@pytest.mark.parametrize("path", PATHS)
async def test_the_record_asks_for_a_sign_in(browser: Fixture, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/login?next=")


@pytest.mark.parametrize("path", PATHS)
async def test_where_it_is_public_all_may_read_the_record(
    settings: GatewaySettings,
    aiohttp_client: Callable[..., Awaitable[TestClient[web.Request, web.Application]]],
    services: Fixture,
    path: str,
) -> None:
    public = settings.model_copy(update={"public_record": True})
    client = await aiohttp_client(create_app(public))
    answer = await client.get(path, headers={"Accept": "text/html"})
    assert answer.status == 200
    assert "Sign out" not in await answer.text()
    as_json = {"Accept": "application/json"}
    assert "csrf_token" not in await (await client.get("/ledger/5", headers=as_json)).json()
    # The pages of symbols, and all that is one's own, are not part of it.
    assert (await client.get("/symbols/AAPL", headers=as_json)).status == 401
    # Who reads without a sign-in needs no accounts.
    await services.stop("subscription")
    assert (await client.get(path)).status == 200


async def test_a_page_that_is_rendered_once_is_each_persons_own(
    aiohttp_client: Callable[..., Awaitable[TestClient[web.Request, web.Application]]],
    aiohttp_server: Callable[..., Awaitable[TestServer]],
    settings: GatewaySettings,
    browser: Fixture,
) -> None:
    server = await aiohttp_server(create_app(settings))
    people = []
    for address in ("ann@example.org", "o'bob@example.org"):
        person = type(browser)(await aiohttp_client(server), "text/html")
        await person.register(email=address)
        people.append(person)
    for path in ("/track-record", "/symbols/AAPL"):
        ann, bob = [await person.get(path) for person in people]
        assert "ann@example.org" in ann.text
        assert "ann@example.org" not in bob.text
        assert "o&#39;bob@example.org" in bob.text
        assert (ann.token, bob.token) == (people[0].token, people[1].token)
        assert ann.token != bob.token
        assert ann.headers["Content-Encoding"] == "gzip"
        plain = await people[0].client.get(
            path, headers={"Accept": "text/html", "Accept-Encoding": "identity"}
        )
        assert "Content-Encoding" not in plain.headers
        assert await plain.text() == ann.text
        assert "\ue000" not in ann.text
