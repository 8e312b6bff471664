"""What the tests of the browser do and look at again and again."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from playwright.sync_api import Page

from stack import PASSWORD

SIZES = {"desk": (1280, 900), "phone": (360, 740)}
# Whatever is not there after so long is not coming; a machine may be busy.
PATIENCE_MS = 60_000
NUMBERS = count(1)

Window = Callable[..., Page]


def registered(page: Page) -> Page:
    """Register by keyboard, and come to an empty watchlist."""
    page.goto("/")
    page.get_by_role("link", name="Register").click()
    page.get_by_label("E-mail address").fill(f"newcomer{next(NUMBERS)}@example.org")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_label("Add a symbol").wait_for()
    return page


def offered(page: Page) -> list[str]:
    """The symbols that an empty list offers."""
    symbols: list[str] = page.locator(".offers button").evaluate_all(
        "all => all.map(one => one.value)"
    )
    assert len(symbols) >= 5
    return symbols


def fits_the_window(page: Page) -> bool:
    assert page.viewport_size
    return bool(
        page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    )


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page in the folder SCREENSHOTS, if there is one."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
