"""A real browser on the demo market of a real stack."""

import os
import shutil
from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from stack import PASSWORD, Stack

NUMBERS = count(1)
SIZES = {"desk": (1280, 900), "phone": (360, 740)}
LOOKS = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="session")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # A long session: what a page says does not change while a test reads it.
    settings = {"QUOTE_MARKET": "demo", "DEMO_SESSION_SECONDS": "3600"}
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


@pytest.fixture(
    params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join
)
def context(
    request: pytest.FixtureRequest, chromium: Browser, demo_stack: Stack
) -> Iterator[BrowserContext]:
    """A window of each size in each colour scheme, without JavaScript of ours to rely on."""
    size, scheme = request.param
    width, height = SIZES[size]
    context = chromium.new_context(
        base_url=demo_stack.url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
    )
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page whose console, with its reports of blocked content, stays silent."""
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    # The browser itself notes every status above 399, and that is what the tests ask for.
    assert [text for text in said if "Failed to load resource" not in text] == []


@pytest.fixture
def newcomer(page: Page) -> Page:
    """Somebody who has just registered, by keyboard alone."""
    page.goto("/")
    page.get_by_role("link", name="Register").click()
    page.get_by_label("E-mail address").fill(f"newcomer{next(NUMBERS)}@example.org")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "?" not in url and url.endswith("/subscribeList"))
    return page
