"""What a newcomer does and sees, on a phone and at a desk, in light and dark."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect


def fits_the_window(page: Page) -> bool:
    assert page.viewport_size
    return bool(
        page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    )


def rows(page: Page) -> int:
    return page.locator("table.watchlist tbody tr").count()


def follow_five(page: Page) -> list[str]:
    """Follow five symbols that the empty list offers or the market knows; their names."""
    buttons = page.locator(".offers button")
    offered: list[str] = buttons.evaluate_all("all => all.map(one => one.value)")
    assert len(offered) >= 5
    for symbol in offered[:5]:
        page.get_by_label("Add a symbol").fill(symbol.lower())
        page.keyboard.press("Enter")
        expect(page.get_by_role("rowheader", name=symbol)).to_be_visible()
    return offered[:5]


def test_a_newcomer_follows_five_symbols(newcomer: Page, request: pytest.FixtureRequest) -> None:
    symbols = follow_five(newcomer)
    assert rows(newcomer) == 5
    expect(newcomer.locator("body")).to_contain_text("Synthetic prices")
    # Forecasts come within seconds of the start.
    newcomer.wait_for_function(
        "() => document.querySelectorAll('svg.bandbar').length === 5 || location.reload()",
        timeout=60_000,
        polling=1000,
    )
    assert fits_the_window(newcomer)
    if folder := os.environ.get("SCREENSHOTS"):
        newcomer.screenshot(path=Path(folder) / f"{request.node.callspec.id}.png", full_page=True)
    newcomer.get_by_role("button", name=f"Remove {symbols[0]}").click()
    expect(newcomer.get_by_role("rowheader", name=symbols[0])).to_have_count(0)
    assert rows(newcomer) == 4


def test_one_click_follows_what_is_offered(newcomer: Page) -> None:
    offer = newcomer.locator(".offers button").first
    symbol = offer.get_attribute("value")
    offer.click()
    expect(newcomer.get_by_role("rowheader", name=symbol)).to_be_visible()


def test_an_unknown_symbol_is_said_beside_its_field(newcomer: Page) -> None:
    newcomer.get_by_label("Add a symbol").fill("NOSUCH")
    newcomer.keyboard.press("Enter")
    field = newcomer.get_by_label("Add a symbol")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("NOSUCH")
    said = newcomer.locator(f"#{field.get_attribute('aria-describedby')}")
    expect(said).to_contain_text("NOSUCH")
    assert fits_the_window(newcomer)
    assert rows(newcomer) == 0


def test_signing_out_and_in_again_finds_the_list_as_it_was(newcomer: Page) -> None:
    address = newcomer.locator("header .email").text_content() or ""
    symbol = newcomer.locator(".offers button").first.get_attribute("value")
    newcomer.locator(".offers button").first.click()
    newcomer.get_by_role("button", name="Sign out").click()
    newcomer.wait_for_url("**/login*")
    newcomer.get_by_label("E-mail address").fill(address)
    newcomer.get_by_label("Password").fill("not the password")
    newcomer.keyboard.press("Enter")
    expect(newcomer.get_by_label("Password")).to_have_attribute("aria-invalid", "true")
    expect(newcomer.locator("body")).to_contain_text("the password is wrong")
    newcomer.get_by_label("Password").fill("correct horse battery")
    newcomer.keyboard.press("Enter")
    expect(newcomer.get_by_role("rowheader", name=symbol)).to_be_visible()
