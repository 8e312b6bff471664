"""A service is killed and brought back while a page is open."""

import pytest
from playwright.sync_api import Page, expect

from browsing import PATIENCE_MS, Window, keep
from stack import Stack


@pytest.mark.parametrize(
    ("service", "notice"),
    [
        ("quote-svc", "Prices are unavailable"),
        ("prediction-svc", "Forecasts are unavailable"),
    ],
)
def test_an_open_page_says_what_is_away_and_catches_up(
    window: Window, follower: object, demo_stack: Stack, service: str, notice: str
) -> None:
    page: Page = window(storage_state=follower)
    page.goto("/subscribeList")
    expect(page.locator("tr[data-symbol]")).to_have_count(5)
    expect(page.locator("#notices")).not_to_contain_text("unavailable")
    page.evaluate("window.isThisPage = true")
    demo_stack.kill(service)
    try:
        expect(page.locator("#notices")).to_contain_text(notice)
        expect(page.locator("tr[data-symbol]")).to_have_count(5)
        keep(page, f"without-{service}")
    finally:
        demo_stack.start(service)
    expect(page.locator("#notices")).not_to_contain_text(notice, timeout=3 * PATIENCE_MS)
    assert page.evaluate("window.isThisPage") is True
