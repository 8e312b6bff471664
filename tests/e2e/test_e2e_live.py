"""Pages that stay open: what they are told by the whole product, and when they are cut off."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from foretick_rpc.healthcheck import is_serving
from foretick_rpc.ports import free_port
from stack import Stack, Visitor, eventually

Visit = Callable[[Stack], Visitor]
SYMBOLS = ("BOXJ", "FJRQ", "LOZQ")


@pytest.fixture(scope="module")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(
        tmp_path_factory.mktemp("live"), QUOTE_MARKET="demo", DEMO_SESSION_SECONDS="60"
    ) as stack:
        yield stack


class Open:
    """An open page's stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def told(self, kind: str) -> list[str]:
        """The lines of the next event of a kind."""
        found = ""
        lines: list[str] = []
        async for raw in self._response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                found = line.removeprefix("event: ")
            elif line.startswith("data: "):
                lines.append(line.removeprefix("data: "))
            elif not line:
                if found == kind:
                    return lines
                found, lines = "", []
        raise EOFError

    async def ends(self) -> bool:
        async for _ in self._response.content:
            pass
        return True


@asynccontextmanager
async def opened(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Open]:
    async with http.get(f"{url}/events") as response:
        assert response.status == 200, await response.text()
        yield Open(response)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=90)
    ) as session:
        yield session


async def test_prices_move_and_an_outage_is_told_and_mended(
    demo_stack: Stack, http: aiohttp.ClientSession
) -> None:
    visitor = Visitor(http, demo_stack.url)
    await visitor.register("mover@example.org")
    await visitor.subscribe(*SYMBOLS)
    async with opened(http, demo_stack.url) as page:
        # An outage is told as one only once all prices were there and one has moved.
        prices: dict[str, str] = {}
        has_moved = False
        while len(prices) < len(SYMBOLS) or not has_moved:
            symbol, *cells = await page.told("row")
            price = next((cell for cell in cells if cell.startswith("2 <td")), "")
            if "<abbr>" in price:
                has_moved |= prices.setdefault(symbol, price) != price
        assert set(prices) == set(SYMBOLS)
        killed = demo_stack.processes.pop("quote-svc")
        killed.kill()
        await asyncio.to_thread(killed.wait)
        lost = await page.told("notices")
        # Whoever asks first for the time or for prices finds out, and says it.
        while lost[0] != "prices" or "It has not been heard of since" not in lost[1]:
            lost = await page.told("notices")
        assert "Prices are unavailable" in lost[1]
        text = await visitor.page("/subscribeList")
        assert "It has not been heard of since" in text
        assert text.count("<tr role") == 1 + len(SYMBOLS)
        demo_stack.start("quote-svc")
        while (await page.told("notices"))[0] != "":
            pass
        assert (await page.told("row"))[0] in SYMBOLS
    assert "unavailable" not in await visitor.page("/subscribeList")


async def answers(url: str) -> bool:
    try:
        async with aiohttp.request("GET", f"{url}/healthz") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


@pytest.fixture
async def second(demo_stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """The address of another gateway process over the same services."""
    port = str(free_port())
    environment = {**demo_stack.environment, "GATEWAY_PORT": port}
    with (tmp_path / "gateway.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", env=environment, stderr=log
        )
    url = f"http://127.0.0.1:{port}"

    await eventually(lambda: answers(url), "the second gateway")
    yield url
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) == 0, (tmp_path / "gateway.log").read_text()


async def test_another_gateway_refuses_a_sign_in_that_has_ended(
    demo_stack: Stack, second: str, http: aiohttp.ClientSession
) -> None:
    assert is_serving(demo_stack.target("subscription-svc"), 5)
    visitor, elsewhere = Visitor(http, demo_stack.url), Visitor(http, second)
    await visitor.register("leaver@example.org")
    token = await visitor.token("/subscribeList")
    assert (await elsewhere.get("/subscribeList"))[0] == 200
    kept = {each.key: each.value for each in http.cookie_jar}
    async with opened(http, second) as page:
        assert (await visitor.post("/logout", {"csrf_token": token}, json=False))[0] == 303
        assert await page.ends()
    sign_in = {"Cookie": f"foretick_sign_in={kept['foretick_sign_in']}"}
    async with aiohttp.request(
        "GET", f"{second}/subscribeList", headers={**sign_in, "Accept": "application/json"}
    ) as response:
        assert response.status == 401


async def test_a_gateway_that_stops_ends_what_is_open(
    demo_stack: Stack, http: aiohttp.ClientSession
) -> None:
    await Visitor(http, demo_stack.url).register("stayer@example.org")
    async with opened(http, demo_stack.url) as page:
        await page.told("notices")
        demo_stack.stop("gateway")
        assert await page.ends()
    demo_stack.start("gateway")
    await eventually(lambda: answers(demo_stack.url), "the gateway again")
