"""The account's pages by keyboard alone."""

from playwright.sync_api import Page, expect

from browsing import fits_the_window, keep
from stack import PASSWORD

NEW = "quite another password"


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


def test_every_page_is_reached_by_keyboard(newcomer: Page) -> None:
    for name in ("Account", "Devices", "Log"):
        tab_to(newcomer, name)
        newcomer.keyboard.press("Enter")
        expect(newcomer.get_by_role("heading", level=1)).to_have_text(name)


def test_the_password_is_changed_and_errors_stand_beside_their_field(newcomer: Page) -> None:
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
    keep(newcomer, "account-error")
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


def test_what_is_refused_before_signing_in_is_said_where_it_was_typed(page: Page) -> None:
    page.goto("/reset-password?token=none")
    page.get_by_label("New password").fill(NEW)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    page.goto("/login")
    page.get_by_label("E-mail address").fill("nobody@example.org")
    tab_to(page, "Password")
    page.keyboard.type("not the one")
    tab_to(page, "Keep me signed in on this device")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Keep me signed in")).to_be_checked()
    keep(page, "login-error")


def test_an_account_is_made_left_and_entered_by_keyboard_alone(page: Page) -> None:
    email = "typist@example.org"
    page.goto("/register")
    for path in ("/register", "/login"):
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.url.partition("?")[0].endswith(path)
        tab_to(page, "E-mail address")
        page.keyboard.type(email)
        tab_to(page, "Password")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/subscribeList")
        tab_to(page, "Sign out")
        page.keyboard.press("Enter")
        page.wait_for_url("**/login*")
