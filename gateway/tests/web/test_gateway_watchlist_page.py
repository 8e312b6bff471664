import json
import re
from html.parser import HTMLParser
from typing import Any

from foretick.prediction.v1.prediction_pb2 import TrainingProgress
from patience import eventually

NBSP = "\N{NO-BREAK SPACE}"


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


async def follow(person: Any, *symbols: str) -> None:
    for symbol in symbols:
        assert (await person.post("/subscriptions", symbol=symbol)).status in (201, 303)


async def test_the_historic_keys_and_more(program: Any) -> None:
    await program.register()
    await follow(program, "AAPL", "msft")
    answer = await program.get("/subscribeList")
    assert answer.headers["Content-Type"].startswith("application/json")
    first, second = answer.content["subs"]
    assert (first["symbol"], second["symbol"]) == ("AAPL", "MSFT")
    assert first["currentPrice"] == 293.65
    assert first["predictScore"] == 2.13
    assert first["limit_up_down"] == 0.04
    more = {
        "name": "Apple Inc.",
        "currency": "USD",
        "priceAsOf": "2019-12-31T21:00:00Z",
        "sessionState": "closed",
        "stale": False,
        "staleReason": None,
        "priceSource": "final_bar",
        "dayLow": 293.65 * 0.99,
        "dayHigh": None,
        "volume": 1_000_000,
        "forecastSession": "2020-01-02",
        "forecastSessionOpen": "2020-01-02T14:30:00Z",
        "forecastSessionClose": "2020-01-02T21:00:00Z",
        "forecastState": "current",
        "referenceClose": 293.65,
        "asOfSession": "2019-12-31",
        "forecaster": "scale_model",
        "modelVersion": "2019-07-01.1",
        "predictScoreLow": -0.2,
        "predictScoreHigh": 4.4,
        "predictScoreN": 250,
        "predictScoreBasis": "backtest",
        "priceReason": None,
        "forecastReason": None,
    }
    assert {key: first[key] for key in more} == more
    assert first["band"]["low"] < first["expectedClose"] < first["band"]["high"]
    assert first["band"]["level"] == 0.8
    assert [each["probability"] for each in first["quantiles"]] == [0.1, 0.5, 0.9]
    assert answer.content["market"] == {
        "id": "csv:0001",
        "kind": "csv",
        "name": "daily bars of prices.csv",
        "synthetic": False,
        "notices": ["Yahoo offers these prices for personal use only, and they may be delayed."],
        "time": "2019-12-31T21:00:00Z",
    }
    assert answer.content["email"] == "a@example.org"


async def test_the_page_names_what_a_row_is_made_of(browser: Any) -> None:
    await browser.register()
    await follow(browser, "AAPL", "XOM")
    answer = await browser.get("/subscribeList")
    page = Page(answer.text)
    for words in (
        "AAPL",
        "Apple Inc.",
        "293.65 USD",
        "31 Dec 2019, 21:00 UTC",
        "for Thu 2 Jan 2020",
        "by model 2019-07-01.1",
        "281.90 – 306.57",
        "to 293.77",
        f"+2.1{NBSP}%",
        "250 sessions, backtest",
        "Prices come from daily bars of prices.csv",
        "Yahoo offers these prices for personal use only, and they may be delayed.",
        "not investment advice",
    ):
        assert words.replace(NBSP, " ") in page.text.replace(NBSP, " "), words
    assert "Synthetic" not in page.text
    drawn = [str(each["class"]) for each in page.named("svg")]
    assert drawn == ["sparkline", "bandbar"] * 2
    paths = [str(each["d"]) for each in page.named("path")]
    assert all(re.fullmatch(r"[MHVh\d .-]+", path) for path in paths)
    assert "M-4 8H4.4" in paths
    assert page.named("a")[0]["href"] == "#content"


async def test_an_old_price_looks_old_and_says_why(
    browser: Any, program: Any, services: Any
) -> None:
    services.quotes.stale_reason = "The source does not answer since 14:05 <UTC>."
    await browser.register()
    await follow(browser, "AAPL")
    page = Page((await browser.get("/subscribeList")).text)
    assert "main old" in {attributes.get("class") for attributes in page.named("span")}
    assert "The source does not answer since 14:05 <UTC>." in page.text
    await program.register("b@example.org")
    await follow(program, "AAPL")
    (row,) = (await program.get("/subscribeList")).content["subs"]
    assert (row["stale"], row["staleReason"]) == (True, services.quotes.stale_reason)


async def test_pages_obey_their_own_policy(browser: Any) -> None:
    await browser.register()
    await follow(browser, "AAPL")
    answers = [await browser.get(path) for path in ("/subscribeList", "/nowhere")]
    await browser.post("/logout")
    answers += [await browser.get(path) for path in ("/login", "/register")]
    for answer in answers:
        page = Page(answer.text)
        names = {name for name, _ in page.tags}
        assert not names & {"style", "iframe"}
        for script in page.named("script"):
            assert str(script["src"]).startswith("/static/")
        assert not re.search(r"<script[^>]*>[^<]", answer.text)
        keys = {key for _, attributes in page.tags for key in attributes}
        assert not {key for key in keys if key == "style" or key.startswith(("on", "hx-on"))}
        assert page.named("html") == [{"lang": "en"}]
        assert len(page.named("h1")) == 1
        labels = {each["for"] for each in page.named("label")}
        fields = [each for each in page.named("input") if each.get("type") != "hidden"]
        assert {each["id"] for each in fields if "aria-label" not in each} == labels
        described = {
            word for each in fields for word in (each.get("aria-describedby") or "").split()
        }
        assert described <= {attributes.get("id") for _, attributes in page.tags}
        for form in page.named("form"):
            assert str(form["action"])[0] == "/"
            # What is sent by GET shows in addresses, where no token may be.
            assert form.get("method") == "post" or form["id"] == "view"


async def test_an_empty_list_offers_symbols_to_begin_with(browser: Any, services: Any) -> None:
    await browser.register()
    answer = await browser.get("/subscribeList")
    page = Page(answer.text)
    assert "Nothing on your watchlist yet" in page.text
    offered = [each["value"] for each in page.named("button") if each.get("name") == "symbol"]
    assert offered == ["AAPL", "BRK.B", "MSFT", "XOM", "^GSPC"]
    assert services.quotes.calls["BatchGetQuotes"] == 0
    await follow(browser, str(offered[4]))
    assert "^GSPC" in (await browser.get("/subscribeList")).text


async def test_adding_and_removing_with_plain_forms(browser: Any, services: Any) -> None:
    await browser.register()
    added = await browser.post("/subscriptions", symbol=" brk.b ")
    assert (added.status, added.headers["Location"]) == (303, "/subscribeList")
    await follow(browser, "^gspc")
    page = Page((await browser.get("/subscribeList")).text)
    actions = [
        str(each["formaction"])
        for each in page.named("button")
        if each.get("form") == "row-actions"
    ]
    assert actions == ["/subscriptions/BRK.B/delete", "/subscriptions/%5EGSPC/delete"]
    for action in actions:
        removed = await browser.post(action)
        assert removed.status == 303
        assert removed.headers["Location"].startswith("/subscribeList?undo=")
    assert services.accounts.followed["a@example.org"] == []


async def test_adding_twice_is_no_error_and_makes_one_row(program: Any, services: Any) -> None:
    await program.register()
    first = await program.post("/subscriptions", symbol="aapl")
    assert (first.status, first.content) == (201, {"symbol": "AAPL", "created": True})
    second = await program.post("/subscriptions", symbol="AAPL")
    assert (second.status, second.content) == (200, {"symbol": "AAPL", "created": False})
    assert services.accounts.followed["a@example.org"] == ["AAPL"]
    removed = await program.post("/subscriptions/AAPL/delete")
    assert removed.content.pop("undo")
    assert (removed.status, removed.content) == (200, {"symbol": "AAPL", "removed": True})


async def test_markup_in_names_symbols_and_addresses_is_text(browser: Any, services: Any) -> None:
    markup = '"><script>alert(1)</script><b x="'
    services.quotes.prices["EVIL"] = 1.0
    services.quotes.names["EVIL"] = markup
    services.quotes.market_name = markup
    await browser.register(f"{markup}@example.org")
    pages = [await browser.get("/subscribeList")]
    await follow(browser, "EVIL")
    pages.append(await browser.get("/subscribeList"))
    pages.append(await browser.post("/subscriptions", symbol=markup))
    await browser.post("/logout")
    await browser.open(f"/login?next=/{markup}")
    pages.append(await browser.post("/login", email=markup, password=markup, next=f"/{markup}"))
    for page in pages:
        assert "<script>" not in page.text
        assert "alert(1)" in page.text


async def test_right_to_left_and_control_characters_break_no_page(
    browser: Any, services: Any
) -> None:
    await browser.open("/register")
    odd = "a\x00\x1b\u202e\U0001f600\u0301b"
    answer = await browser.post("/register", email=odd, password="x")
    assert answer.status == 400
    assert "email must have" in answer.text


async def test_synthetic_prices_are_called_so(browser: Any, services: Any) -> None:
    services.quotes.synthetic = True
    await browser.register()
    assert "Synthetic prices" in Page((await browser.get("/subscribeList")).text).text
    await follow(browser, "AAPL")
    assert "Synthetic prices" in Page((await browser.get("/subscribeList")).text).text


async def test_a_score_that_is_not_there_yet_is_a_dash_with_the_reason(
    browser: Any, services: Any
) -> None:
    services.predictions.scored = 12
    services.predictions.learned = False
    await browser.register()
    await follow(browser, "AAPL")
    text = Page((await browser.get("/subscribeList")).text).text
    assert re.search(r"— not enough scored ?sessions yet \(12\)", text)
    assert "by no-learning forecaster" in text


async def test_a_forecast_of_a_past_session_is_said_to_be_updating(
    anyone: Any, services: Any
) -> None:
    await anyone.register()
    await follow(anyone, "AAPL")
    services.quotes.next_session = "2020-01-03"
    answer = await anyone.get("/subscribeList")
    if anyone.is_program:
        assert answer.content["subs"][0]["forecastState"] == "updating"
    else:
        assert "The next session is Fri 3 Jan 2020" in answer.text


async def test_one_symbol_without_forecast_or_price_says_why_in_its_row(
    anyone: Any, services: Any
) -> None:
    await anyone.register()
    await follow(anyone, "AAPL", "XOM")
    del services.predictions.closes["AAPL"]
    services.quotes.broken["XOM"] = "prices.csv, line 17, column close: no number"
    answer = await anyone.get("/subscribeList")
    assert answer.status == 200
    if anyone.is_program:
        first, second = answer.content["subs"]
        assert first["forecastReason"]["reason"] == "HISTORY_TOO_SHORT"
        assert (first["currentPrice"], first["predictScore"]) == (293.65, None)
        assert second["priceReason"]["reason"] == "PRICES_INVALID"
        assert (second["currentPrice"], second["predictScore"]) == (None, 2.13)
    else:
        assert "A forecast needs 30 sessions of history." in answer.text
        assert "prices.csv, line 17, column close" in answer.text
        assert "unavailable" not in answer.text


async def test_numbers_that_are_none_become_null(program: Any, services: Any) -> None:
    await program.register()
    await follow(program, "AAPL", "MSFT")
    services.quotes.prices["AAPL"] = float("nan")
    services.predictions.closes["AAPL"] = float("inf")
    services.predictions.closes["MSFT"] = 0.0
    answer = await program.get("/subscribeList")
    assert answer.status == 200

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads(answer.text, parse_constant=refuse)
    first, second = answer.content["subs"]
    assert (first["currentPrice"], first["limit_up_down"], first["band"]) == (None, None, None)
    assert second["limit_up_down"] is None


async def test_those_numbers_break_no_page_either(browser: Any, services: Any) -> None:
    await browser.register()
    await follow(browser, "AAPL")
    services.quotes.prices["AAPL"] = float("nan")
    for close in (float("inf"), 0.0, -1.0, 1e300):
        services.predictions.closes["AAPL"] = close
        answer = await browser.get("/subscribeList")
        assert answer.status == 200
        assert "nan" not in Page(answer.text).text.lower().replace("finance", "")


async def test_another_market_is_noticed_and_never_mixed(program: Any, services: Any) -> None:
    await program.register()
    await follow(program, "AAPL")
    await program.get("/subscribeList")
    services.quotes.market_id, services.quotes.market_name = "csv:0002", "other bars"
    services.quotes.prices["AAPL"] = 17.0

    async def told(price: float, market: str, reason: str | None) -> bool:
        content = (await program.get("/subscribeList")).content
        (row,) = content["subs"]
        name = (content["market"] or {"name": None})["name"]
        # Nothing of one market ever stands beside the other's name.
        assert (row["currentPrice"], name) in {
            (293.65, "daily bars of prices.csv"),
            (17.0, "other bars"),
            (17.0, None),
        }
        found = row["forecastReason"] and row["forecastReason"]["reason"]
        return (row["currentPrice"], name, found) == (price, market, reason)

    await eventually(lambda: told(17.0, "other bars", "MARKET_MISMATCH"))
    services.predictions.market_id = "csv:0002"
    await eventually(lambda: told(17.0, "other bars", None))


async def test_a_training_is_told_with_a_progress_bar(
    program: Any, browser: Any, services: Any
) -> None:
    await program.register()
    await follow(program, "AAPL")
    answer = await program.get("/subscribeList")
    assert answer.content["training"] is None
    progress = TrainingProgress(stage="training (model 2 of 4)", fraction=0.375)
    progress.remaining.FromSeconds(41)
    services.predictions.progress = progress

    async def is_told() -> bool:
        answer = await program.get("/subscribeList")
        return bool(answer.content["training"])

    await eventually(is_told)
    answer = await program.get("/subscribeList")
    assert answer.content["training"] == {
        "stage": "training (model 2 of 4)",
        "fraction": 0.375,
        "remainingSeconds": 41,
    }
    page = Page((await browser.get("/subscribeList")).text)
    assert page.named("progress") == [{"id": "training", "max": "100", "value": "38"}]
    told = "A model is being trained: training (model 2 of 4), about 41 seconds left."
    assert told in page.text
