"""The pages of a symbol and of the track record in a browser, on an exchange that is stepped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from browsing import PATIENCE_MS, Window, fits_the_window, keep, registered
from foretick.quote.v1 import quote_pb2
from stack import Stack
from stepping import Exchange, exchange_of
from test_browser_pages import unlabelled, violations

SYMBOL = "ALVQ"
V = TypeVar("V")


def on(stack: Stack, work: Callable[[Exchange], Awaitable[V]]) -> V:
    """Do something with the exchange; in a thread, since this one belongs to the browser."""

    async def whole() -> V:
        async with exchange_of(stack) as exchange:
            return await work(exchange)

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, whole()).result()


async def in_many_states(exchange: Exchange) -> None:
    """Let forecasts be resolved, revised and missed, and the last be pending."""
    await exchange.hold()
    for _ in range(2):
        await exchange.written(SYMBOL, await exchange.step())
    revised = quote_pb2.Fault(kind=quote_pb2.FAULT_KIND_REVISED_BAR, symbols=[SYMBOL])
    await exchange.break_with(revised)
    await exchange.written(SYMBOL, await exchange.step())
    await exchange.break_with()
    await exchange.control.SetClock(quote_pb2.SetClockRequest(step_sessions=3))
    await exchange.written(SYMBOL, await exchange.step())


@pytest.fixture(scope="module")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"QUOTE_MARKET": "demo", "QUOTE_CONTROL": "1"}
    with Stack(tmp_path_factory.mktemp("stepped"), **settings) as stack:
        on(stack, in_many_states)
        yield stack


@pytest.fixture(scope="module")
def reader(chromium: Browser, demo_stack: Stack) -> StorageState:
    """The cookies of somebody who is signed in."""
    context = chromium.new_context(base_url=demo_stack.url)
    context.set_default_timeout(PATIENCE_MS)
    registered(context.new_page())
    state = context.storage_state()
    context.close()
    return state


def check_page(page: Page, name: str) -> None:
    assert fits_the_window(page)
    assert unlabelled(page) == []
    assert violations(page) == []
    keep(page, name)


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_a_symbol_and_its_past_forecasts(window: Window, reader: StorageState, size: str) -> None:
    page = window(size, "light", storage_state=reader)
    page.goto(f"/symbols/{SYMBOL}")
    page.locator("#chart canvas").first.wait_for()
    assert page.locator("#chart").get_attribute("hidden") is None
    assert not page.locator("details.bars").evaluate("one => one.open")
    page.get_by_role("button", name="1 month").click()
    pressed = page.locator("#chart [aria-pressed=true]").all_inner_texts()
    assert pressed == ["1 month"]
    states = page.locator("#ledger [data-row]").evaluate_all("all => all.map(o => o.dataset.state)")
    assert states[0] == "open"
    assert {"resolved", "missed"} <= set(states)
    cells = page.locator("#ledger tbody td").all_inner_texts()
    assert all(cell.strip() for cell in cells)
    check_page(page, f"symbol-{size}")


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_all_is_there_without_scripts(window: Window, reader: StorageState, size: str) -> None:
    page = window(size, "dark", storage_state=reader, java_script_enabled=False)
    page.goto(f"/symbols/{SYMBOL}")
    assert not page.locator("#chart").is_visible()
    assert page.locator("details.bars tbody tr").count() == 20
    assert page.locator("details.bars tbody tr").first.is_visible()
    assert page.locator("#bands tbody tr").count() == 3
    assert page.locator("#ledger [data-row]").count() >= 5
    page.get_by_role("link", name="5 sessions").click()
    page.wait_for_url("**?horizon=5#ledger")
    number = page.locator("#ledger [data-row] a").first
    row = number.inner_text()
    number.click()
    page.wait_for_url(f"**/ledger/{row}")
    page.get_by_role("link", name="The whole ledger").click()
    page.wait_for_url("**/track-record#ledger")
    assert page.get_by_text("not enough yet").first.is_visible()


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_the_track_record(window: Window, reader: StorageState, size: str) -> None:
    page = window(size, "dark", storage_state=reader)
    page.goto("/track-record")
    assert page.get_by_text("not enough yet").first.is_visible()
    assert page.locator("code", has_text="prediction_svc verify").is_visible()
    check_page(page, f"record-{size}")
    page.get_by_role("link", name="Earlier rows").click()
    page.wait_for_url("**/track-record?before=*")
    assert page.locator("#ledger [data-row]").count() == 20


def test_what_happens_is_seen_without_a_reload(
    window: Window, reader: StorageState, demo_stack: Stack
) -> None:
    page = window(storage_state=reader)
    page.goto(f"/symbols/{SYMBOL}")
    page.evaluate("window.here = true")
    pending = page.locator("#ledger [data-row]").first
    row = pending.get_attribute("data-row")
    assert pending.get_attribute("data-state") == "open"

    async def closes(exchange: Exchange) -> str:
        entries = await exchange.written(SYMBOL, await exchange.step())
        return str(entries[0].row_number)

    fresh = on(demo_stack, closes)
    page.locator(f"#ledger [data-row='{fresh}'][data-state=open]").wait_for()
    page.locator(f"#ledger [data-row='{row}'][data-state=resolved]").wait_for()
    assert page.evaluate("window.here")


def test_a_service_that_is_away_is_said_in_its_place(
    window: Window, reader: StorageState, demo_stack: Stack
) -> None:
    page = window("phone", storage_state=reader)
    demo_stack.stop("prediction-svc")
    page.goto(f"/symbols/{SYMBOL}")
    expect(page.get_by_text("Forecasts are unavailable:")).to_be_visible()
    page.locator("#chart canvas").first.wait_for()
    check_page(page, "symbol-without-forecasts")
    page.goto("/track-record")
    expect(page.get_by_text("The record is unavailable:")).to_be_visible()
    check_page(page, "record-unavailable")
    demo_stack.start("prediction-svc")
    demo_stack.wait_until_serving()
