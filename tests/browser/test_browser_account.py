"""The account's pages by keyboard alone, on a phone and at a desk, in light and dark."""

import os
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

PASSWORD, NEW = "correct horse battery", "quite another password"
PAGES = ("/account", "/account/devices", "/account/log", "/account/delete")
NUMBERS = count(1)


def fits_the_window(page: Page) -> bool:
    assert page.viewport_size
    return bool(
        page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    )


def unlabelled(page: Page) -> list[str]:
    """What can be used and has no name that is read out."""
    named = "all => all.filter(one => !(one.labels?.length || one.textContent.trim()"
    named += " || one.ariaLabel)).map(one => one.outerHTML)"
    shown = "input:not([type=hidden]):not([hidden]), button, a"
    return list(page.locator(shown).evaluate_all(named))


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what is focused has the name."""
    for _ in range(40):
        page.keyboard.press("Tab")
        said = page.evaluate(
            "() => { const one = document.activeElement;"
            " return (one.labels?.[0]?.textContent || one.ariaLabel || one.textContent).trim(); }"
        )
        if said == name:
            return
    raise AssertionError(f"the keyboard does not reach {name}")


def keep(page: Page, name: str, request: pytest.FixtureRequest) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        path = Path(folder) / f"{name}-{request.node.callspec.id}.png"
        page.screenshot(path=path, full_page=True)


def test_every_page_fits_is_labelled_and_reached_by_keyboard(
    newcomer: Page, request: pytest.FixtureRequest
) -> None:
    for path in PAGES:
        newcomer.goto(path)
        assert fits_the_window(newcomer), path
        assert unlabelled(newcomer) == [], path
        keep(newcomer, path.strip("/").replace("/", "-"), request)
    newcomer.goto("/subscribeList")
    for name in ("Account", "Devices", "Log"):
        tab_to(newcomer, name)
        newcomer.keyboard.press("Enter")
        expect(newcomer.get_by_role("heading", level=1)).to_have_text(name)


def test_the_password_is_changed_and_errors_stand_beside_their_field(
    newcomer: Page, request: pytest.FixtureRequest
) -> None:
    newcomer.goto("/account")
    form = newcomer.locator("form[action='/account/password']")
    form.get_by_label("Your password").fill("not the one")
    newcomer.keyboard.press("Tab")
    newcomer.keyboard.type(NEW)
    newcomer.keyboard.press("Enter")
    field = form.get_by_label("Your password")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    said = (field.get_attribute("aria-describedby") or "").split()[0]
    expect(newcomer.locator(f"#{said}")).to_be_visible()
    assert fits_the_window(newcomer)
    keep(newcomer, "account-error", request)
    newcomer.keyboard.type(PASSWORD)
    newcomer.keyboard.press("Tab")
    newcomer.keyboard.type(NEW)
    newcomer.keyboard.press("Enter")
    expect(newcomer.get_by_role("status")).to_contain_text("The password is changed")
    newcomer.goto("/account/log")
    expect(newcomer.get_by_role("rowheader").first).to_have_text("Password changed")


def test_the_data_are_downloaded_and_the_account_deleted(newcomer: Page) -> None:
    newcomer.goto("/account")
    with newcomer.expect_download() as download:
        newcomer.get_by_role("button", name="Download your data").click()
    assert download.value.suggested_filename == "foretick-account.json"
    newcomer.get_by_role("link", name="Delete the account").click()
    newcomer.get_by_label("Your password").fill(PASSWORD)
    newcomer.keyboard.press("Enter")
    expect(newcomer.get_by_role("status")).to_contain_text("The account is deleted")
    assert newcomer.url.endswith("/login?done=deleted")


def test_pages_before_signing_in_fit_and_are_labelled(
    page: Page, request: pytest.FixtureRequest
) -> None:
    for path in ("/login", "/register", "/forgot", "/reset-password?token=none"):
        page.goto(path)
        assert fits_the_window(page), path
        assert unlabelled(page) == [], path
        keep(page, path.strip("/").partition("?")[0], request)
    page.get_by_label("New password").fill(NEW)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    page.goto("/login")
    page.get_by_label("E-mail address").fill(f"nobody{next(NUMBERS)}@example.org")
    tab_to(page, "Password")
    page.keyboard.type("not the one")
    tab_to(page, "Keep me signed in on this device")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Keep me signed in")).to_be_checked()
    keep(page, "login-error", request)
