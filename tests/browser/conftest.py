"""A real browser on the demo market of a real stack; both are shared by all tests."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    StorageState,
    expect,
    sync_playwright,
)

from browsing import PATIENCE_MS, SIZES, Window, offered, registered
from stack import Stack

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # A session that outlasts the tests: prices move, and the page says the same of all else.
    settings = {"QUOTE_MARKET": "demo", "DEMO_SESSION_SECONDS": "1200"}
    with Stack(tmp_path_factory.mktemp("demo"), **settings) as stack:
        yield stack


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    named = os.environ.get("CHROMIUM")
    program = named or shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "browser tests need Chromium: install it, or name it in CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Browser, demo_stack: Stack) -> Iterator[Window]:
    """Opens windows, of a size in a colour scheme; their consoles stay silent.

    The console is where a browser reports what the Content-Security-Policy has blocked.
    """
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def opened(size: str = "desk", scheme: str = "light", **options: Any) -> Page:
        width, height = SIZES[size]
        context = chromium.new_context(
            base_url=demo_stack.url,
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            **options,
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        return page

    yield opened
    for context in contexts:
        context.close()
    # The browser itself notes every status above 399 and every connection that broke off, and that
    # is what tests ask for.
    assert [text for text in said if "Failed to load resource" not in text] == []


@pytest.fixture
def page(window: Window) -> Page:
    return window()


@pytest.fixture
def newcomer(page: Page) -> Page:
    """Somebody who has just registered, by keyboard alone."""
    return registered(page)


@pytest.fixture(scope="session")
def follower(chromium: Browser, demo_stack: Stack) -> StorageState:
    """The cookies of somebody who follows five symbols, and whose forecasts are there."""
    context = chromium.new_context(base_url=demo_stack.url)
    context.set_default_timeout(PATIENCE_MS)
    page = registered(context.new_page())
    for symbol in offered(page)[:5]:
        page.get_by_label("Add a symbol").fill(symbol)
        page.keyboard.press("Enter")
        page.get_by_role("rowheader", name=symbol).wait_for()
    page.wait_for_function(
        "() => document.querySelectorAll('svg.bandbar').length === 5 || location.reload()",
        timeout=2 * PATIENCE_MS,
        polling=1000,
    )
    state = context.storage_state()
    context.close()
    return state
