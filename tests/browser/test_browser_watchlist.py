"""What a newcomer does with a watchlist, with scripts and without."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browsing import Window, fits_the_window, keep, offered, registered


def price_of(page: Page, symbol: str) -> str:
    return page.locator(f"#row-{symbol} .price .main").inner_text()


def symbols(page: Page) -> list[str]:
    shown: list[str] = page.locator("tr[data-symbol]").evaluate_all(
        "all => all.map(one => one.dataset.symbol)"
    )
    return shown


def add(page: Page, symbol: str) -> None:
    page.get_by_label("Add a symbol").fill(symbol.lower())
    page.keyboard.press("Enter")
    expect(page.get_by_role("rowheader", name=symbol)).to_be_visible()


def remove(page: Page, symbol: str) -> None:
    page.get_by_role("button", name=f"Remove {symbol}").click()
    expect(page.get_by_role("rowheader", name=symbol)).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_a_newcomer_finds_adds_imports_exports_removes_and_undoes(
    window: Window, tmp_path: Path, scripts: bool
) -> None:
    page = registered(window(java_script_enabled=scripts))
    first, second, third = offered(page)[:3]
    # By name where the page can ask while one types; else by the page of what is found.
    if scripts:
        page.get_by_label("Add a symbol").press_sequentially(first[:3].lower())
        expect(page.get_by_role("option").first).to_contain_text(first)
        keep(page, "found")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    else:
        page.goto(f"/search?q={first[:3]}")
        page.get_by_role("button", name=f"Add {first}").click()
    expect(page.get_by_role("rowheader", name=first)).to_be_visible()

    file = tmp_path / "mine.csv"
    file.write_text(f"symbol,note\n{second},bought low\nNOSUCH,\n{third},\n")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("A file").set_input_files(file)
    page.get_by_role("button", name="Preview").click()
    bad = page.get_by_role("row").filter(has_text="NOSUCH")
    expect(bad.get_by_role("cell").first).to_have_text("3")
    keep(page, f"import-preview-{scripts}")
    page.get_by_role("button", name="Import").click()
    page.get_by_role("link", name="To the watchlist").click()
    assert symbols(page) == [first, second, third]

    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    exported = Path(download.value.path()).read_text()
    assert re.search(rf"^{second},[^,]*,bought low", exported, re.MULTILINE)

    remove(page, second)
    assert symbols(page) == [first, third]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("rowheader", name=second)).to_be_visible()
    assert symbols(page) == [first, second, third]
    page.get_by_label(f"Note on {second}").click()
    expect(page.get_by_text("bought low")).to_be_visible()
    keep(page, f"note-{scripts}")


def test_a_price_changes_before_ones_eyes(newcomer: Page) -> None:
    symbol = offered(newcomer)[0]
    add(newcomer, symbol)
    expect(newcomer.locator(f"#row-{symbol} .price .main")).to_have_text(re.compile(r"\d"))
    before = price_of(newcomer, symbol)
    newcomer.evaluate("window.isThisPage = true")
    cell = newcomer.locator(f"#row-{symbol} .price .main")
    width = newcomer.locator(f"#row-{symbol} .price").bounding_box()
    expect(cell).not_to_have_text(before)
    assert newcomer.evaluate("window.isThisPage") is True
    after = newcomer.locator(f"#row-{symbol} .price").bounding_box()
    assert width is not None
    assert after is not None
    assert after["width"] == width["width"]


def test_a_list_is_filtered_while_one_types_and_sorted_by_its_heads(newcomer: Page) -> None:
    for symbol in offered(newcomer)[:4]:
        add(newcomer, symbol)
    own = symbols(newcomer)
    newcomer.evaluate("window.isThisPage = true")
    newcomer.get_by_label("Show only").press_sequentially(own[2].lower())
    expect(newcomer.locator("tr[data-symbol]")).to_have_count(1)
    assert symbols(newcomer) == [own[2]]
    expect(newcomer.get_by_label("Show only")).to_be_focused()
    newcomer.get_by_label("Show only").fill("")
    expect(newcomer.locator("tr[data-symbol]")).to_have_count(4)
    newcomer.get_by_role("link", name="Change").click()
    head = newcomer.get_by_role("columnheader", name="Change")
    expect(head).to_have_attribute("aria-sort", "descending")
    newcomer.get_by_role("link", name="Change").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert newcomer.evaluate("window.isThisPage") is True
    assert "sort=change" in newcomer.url
    newcomer.reload()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert set(symbols(newcomer)) == set(own)


def test_what_another_window_adds_comes_by_itself_and_the_page_goes_on(newcomer: Page) -> None:
    first, second = offered(newcomer)[:2]
    add(newcomer, first)
    newcomer.evaluate("window.isThisPage = true")
    other = newcomer.context.new_page()
    other.goto("/subscribeList")
    add(other, second)
    expect(newcomer.get_by_role("rowheader", name=second)).to_be_visible()
    newcomer.get_by_label("Show only").press_sequentially(second.lower())
    expect(newcomer.locator("tr[data-symbol]")).to_have_count(1)
    newcomer.get_by_label("Add a symbol").press_sequentially(first[:3].lower())
    expect(newcomer.get_by_role("option").first).to_be_visible()
    assert newcomer.evaluate("window.isThisPage") is True


def test_without_scripts_a_list_is_filtered_and_sorted_by_its_address(window: Window) -> None:
    page = registered(window(java_script_enabled=False))
    for symbol in offered(page)[:3]:
        add(page, symbol)
    own = symbols(page)
    page.get_by_label("Show only").fill(own[1])
    page.get_by_role("button", name="Show").click()
    assert symbols(page) == [own[1]]
    page.get_by_role("link", name="Name").click()
    assert "filter=" in page.url
    assert "sort=name" in page.url
    assert symbols(page) == [own[1]]


def test_one_click_follows_what_is_offered(newcomer: Page) -> None:
    symbol = offered(newcomer)[0]
    newcomer.locator(".offers button").first.click()
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
    assert symbols(newcomer) == []


def test_signing_out_and_in_again_finds_the_list_as_it_was(newcomer: Page) -> None:
    address = newcomer.locator("header .email").text_content() or ""
    symbol = offered(newcomer)[0]
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
