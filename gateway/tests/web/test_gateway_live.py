"""What open pages are told, and when their streams end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from foretick.subscription.v1 import subscription_pb2 as pb
from gateway.app import create_app
from gateway.boarding import BOARD, LIVE
from gateway.settings import GatewaySettings

Client = TestClient[web.Request, web.Application]
WITHIN_SECONDS = 10.0
CELLS = 7


@dataclass
class Event:
    kind: str = "message"
    number: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def symbol(self) -> str:
        return self.lines[0]

    @property
    def cells(self) -> dict[int, str]:
        numbered = (line.partition(" ") for line in self.lines[1:])
        return {int(number): cell for number, _, cell in numbered}


class Page:
    """An open page: what its stream tells, event by event."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id = ""

    async def next(self, *kinds: str) -> Event:
        """The next event of one of these kinds."""
        async with asyncio.timeout(WITHIN_SECONDS):
            while (event := await self._read()).kind not in kinds:
                pass
            return event

    async def ends(self) -> bool:
        async with asyncio.timeout(WITHIN_SECONDS):
            while await self.response.content.readline():
                pass
        return self.response.content.at_eof()

    async def _read(self) -> Event:
        event = Event()
        while line := (await self.response.content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                event.kind = value
            elif name == "data":
                event.lines.append(value)
            elif name == "id":
                event.number = self.last_id = value
        if not event.lines and self.response.content.at_eof():
            raise EOFError
        return event


async def opened(person: Any, since: str = "", last: str = "") -> Page:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    response = await person.client.get(f"/events?since={since}", headers=headers)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    return Page(response)


@pytest.fixture
async def follower(browser: Any) -> Any:
    await browser.register()
    for symbol in ("AAPL", "MSFT"):
        assert (await browser.post("/subscriptions", symbol=symbol)).status == 303
    await browser.get("/subscribeList")
    return browser


def shown(text: str) -> str:
    """The state of the board that a page shows."""
    return text.partition('data-since="')[2].partition('"')[0]


async def test_a_price_that_changes_is_told_with_its_cells_alone(
    follower: Any, services: Any
) -> None:
    page = await opened(follower)
    first = [await page.next("row") for _ in range(2)]
    assert [(event.symbol, list(event.cells)) for event in first] == [
        ("AAPL", list(range(CELLS))),
        ("MSFT", list(range(CELLS))),
    ]
    services.quotes.prices["MSFT"] = 160.25
    # The first difference is told from what was known to be sent: all cells.
    await page.next("row")
    services.quotes.prices["MSFT"] = 161.5
    event = await page.next("row")
    assert event.symbol == "MSFT"
    assert "161.50" in event.cells[2]
    assert set(event.cells) == {1, 2}, "the fake's change is always one percent"
    assert "<td" in event.cells[2]


async def test_a_page_is_told_what_has_changed_since_it_was_made(
    follower: Any, services: Any
) -> None:
    text = (await follower.get("/subscribeList")).text
    before = await opened(follower)
    await before.next("row")
    services.quotes.prices["AAPL"] = 300.5
    while "300.50" not in str((await before.next("row")).lines):
        pass
    page = await opened(follower, shown(text))
    assert (await page.next("row")).symbol == "AAPL"
    resumed = await opened(follower, "nonsense-17", page.last_id)
    services.quotes.prices["MSFT"] = 161.5
    assert (await resumed.next("row")).symbol == "MSFT", "AAPL was told before"


@pytest.mark.parametrize("unknown", ["", "0badb001-3", "-", "x-y", "٣-٤", "-9" * 50])
async def test_whoever_shows_an_unknown_state_is_told_all(follower: Any, unknown: str) -> None:
    page = await opened(follower, unknown)
    assert [(await page.next("row")).symbol for _ in range(2)] == ["AAPL", "MSFT"]


async def test_a_service_that_goes_and_comes_back_is_told(follower: Any, services: Any) -> None:
    page = await opened(follower)
    assert (await page.next("notices")).lines[0] == ""
    await services.stop("prediction")
    lost = await page.next("notices")
    assert lost.lines[0] == "forecasts"
    assert "Forecasts are unavailable:" in lost.lines[1]
    services.predictions.width = 0.05
    await services.start("prediction")
    back = [await page.next("notices", "row") for _ in range(3)]
    assert {event.kind for event in back} == {"notices", "row"}
    assert [event.lines[0] for event in back if event.kind == "notices"] == [""]


async def test_other_languages_are_told_in_their_own(follower: Any) -> None:
    response = await follower.client.get("/events", headers={"Accept-Language": "zh"})
    event = await Page(response).next("row")
    assert "由模型给出" in str(event.lines)
    assert "by model" in str((await (await opened(follower)).next("row")).lines)


async def test_a_list_that_changes_is_told_to_its_owner(follower: Any, services: Any) -> None:
    page = await opened(follower)
    await page.next("row")
    await services.accounts.tell(pb.ACCOUNT_EVENT_KIND_SUBSCRIPTIONS_CHANGED, "a@example.org")
    assert (await page.next("list")).lines == ["changed"]


async def test_nobody_is_told_without_a_sign_in(client: Client) -> None:
    response = await client.get("/events", headers={"Accept": "application/json"})
    assert response.status == 401


async def test_a_stream_ends_with_its_sign_in(follower: Any, services: Any) -> None:
    page = await opened(follower)
    await page.next("row")
    (sign_in_id,) = services.accounts.sign_ins
    await services.accounts.end(sign_in_id)
    assert await page.ends()
    response = await follower.client.get("/events", headers={"Accept": "application/json"})
    assert response.status == 401


async def test_streams_end_in_good_order_with_the_process(follower: Any) -> None:
    page = await opened(follower)
    await page.next("row")
    follower.client.app[LIVE].close()
    assert await page.ends()
    assert page.response.connection is None, "the last chunk has come"


async def test_whoever_leaves_is_forgotten(
    settings: GatewaySettings, follower: Any, aiohttp_client: Callable[..., Awaitable[Client]]
) -> None:
    page = await opened(follower)
    await page.next("row")
    live = follower.client.app[LIVE]
    assert live.count == 1
    page.response.close()
    async with asyncio.timeout(WITHIN_SECONDS):
        while live.count:  # noqa: ASYNC110 - a connection's end is heard of by itself
            await asyncio.sleep(0.01)


async def test_without_the_board_there_are_no_live_updates(
    settings: GatewaySettings, aiohttp_client: Callable[..., Awaitable[Client]]
) -> None:
    app = create_app(settings.model_copy(update={"board": "off"}))
    client = await aiohttp_client(app)
    response = await client.get("/events", headers={"Accept": "application/json"})
    assert response.status == 404


async def test_a_page_at_another_process_is_up_to_date_at_once(
    follower: Any,
    settings: GatewaySettings,
    services: Any,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    """Whoever has just written is answered by every process as it is now."""
    other = await aiohttp_client(create_app(settings))
    jar = {each.key: each.value for each in follower.client.session.cookie_jar}
    assert jar["foretick_wrote"] == "1"
    headers = {"Accept": "application/json"}
    first = await (await other.get("/subscribeList", cookies=jar, headers=headers)).json()
    assert [row["symbol"] for row in first["subs"]] == ["AAPL", "MSFT"]
    services.accounts.followed["a@example.org"].append("XOM")  # nobody is told of it
    second = await (await other.get("/subscribeList", cookies=jar, headers=headers)).json()
    assert [row["symbol"] for row in second["subs"]] == ["AAPL", "MSFT", "XOM"]


@pytest.mark.parametrize(
    "page", ["/subscribeList", "/account", "/account/delete", "/symbols/AAPL", "/track-record"]
)
async def test_a_sign_in_is_asked_for_once_while_events_are_heard(
    follower: Any, services: Any, page: str
) -> None:
    follower.client.session.cookie_jar.clear(lambda each: each.key == "foretick_wrote")
    await follower.get(page)
    services.accounts.calls.clear()
    for _ in range(5):
        assert (await follower.get(page)).status == 200
    assert services.accounts.calls["BatchListSubscriptions"] == 0
    await services.accounts.tell(pb.ACCOUNT_EVENT_KIND_SUBSCRIPTIONS_CHANGED, "a@example.org")

    async with asyncio.timeout(WITHIN_SECONDS):
        while not services.accounts.calls["BatchListSubscriptions"]:
            await follower.get(page)


async def test_the_board_is_numbered_for_pages(follower: Any) -> None:
    text = (await follower.get("/subscribeList")).text
    assert shown(text) == follower.client.app[BOARD].token
