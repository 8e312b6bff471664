"""Every page on a phone and at a desk, in light and dark: it fits, and can be used by anybody."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, StorageState

from browsing import SIZES, Window, fits_the_window, keep

AXE = Path(__file__).parents[2] / "gateway/web/node_modules/axe-core/axe.min.js"
BEFORE = ("/login", "/register", "/forgot", "/reset-password?token=none")
AFTER = (
    "/subscribeList",
    "/search?q=a",
    "/lists",
    "/symbols/ALVQ",
    "/symbols/ALVQ?horizon=20",
    "/symbols/NOSUCH",
    "/track-record",
    "/track-record/words",
    "/ledger/1",
    "/account",
    "/account/devices",
    "/account/log",
    "/account/delete",
    "/nowhere",
)
LOOKS = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]


def violations(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse."""
    # Evaluated from outside, which the Content-Security-Policy has no say in.
    page.evaluate(AXE.read_text() + "; undefined")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


def unlabelled(page: Page) -> list[str]:
    """What can be used and has no name that is read out."""
    named = "all => all.filter(one => !(one.labels?.length || one.textContent.trim()"
    named += " || one.ariaLabel)).map(one => one.outerHTML)"
    shown = "input:not([type=hidden]):not([hidden]), button, a"
    return list(page.locator(shown).evaluate_all(named))


def examine(page: Page, path: str, name: str) -> None:
    page.goto(path)
    assert fits_the_window(page), path
    assert unlabelled(page) == [], path
    assert violations(page) == [], path
    keep(page, f"{path.partition('?')[0].strip('/').replace('/', '-')}-{name}")


@pytest.mark.parametrize(("size", "scheme"), LOOKS, ids=["-".join(look) for look in LOOKS])
def test_every_page_fits_and_is_accessible(
    window: Window, follower: StorageState, size: str, scheme: str
) -> None:
    stranger = window(size, scheme)
    for path in BEFORE:
        examine(stranger, path, f"{size}-{scheme}")
    page = window(size, scheme, storage_state=follower)
    for path in AFTER:
        examine(page, path, f"{size}-{scheme}")


def test_it_can_be_installed(window: Window, follower: StorageState) -> None:
    page = window("phone", storage_state=follower)
    page.goto("/subscribeList")
    browser = page.context.new_cdp_session(page)
    manifest = browser.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert "/static/app.webmanifest" in manifest["url"]
    # A window of the tests is a private one, and says so.
    errors = browser.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in errors] in ([], ["in-incognito"])
