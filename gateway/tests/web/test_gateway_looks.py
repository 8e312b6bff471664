"""How pages look: chosen by a form, kept in cookies, applied where pages are rendered."""

import re
from typing import Any

import pytest


def root_element(text: str) -> str:
    found = re.search("<html[^>]*>", text)
    assert found
    return found[0]


async def test_a_page_looks_as_the_system_does_until_somebody_chooses(browser: Any) -> None:
    page = await browser.get("/login")
    assert root_element(page.text) == '<html lang="en">'
    assert '<meta name="color-scheme" content="light dark">' in page.text


@pytest.mark.parametrize(
    ("field", "value", "attribute"),
    [
        ("theme", "dark", 'data-theme="dark"'),
        ("theme", "light", 'data-theme="light"'),
        ("rise", "red", 'data-rise="red"'),
        ("language", "zh-Hans", 'lang="zh-Hans"'),
    ],
)
async def test_a_choice_is_kept_and_leads_back(
    browser: Any, field: str, value: str, attribute: str
) -> None:
    answer = await browser.post("/look", **{field: value}, next="/register?next=/account")
    assert (answer.status, answer.headers["Location"]) == (303, "/register?next=/account")
    (cookie,) = answer.cookies.values()
    assert cookie["samesite"] == "Lax"
    assert int(cookie["max-age"]) > 300 * 24 * 3600
    page = await browser.get("/register")
    assert attribute in root_element(page.text)
    pressed = re.findall(r'name="(\w+)" value="([\w-]+)"[^>]* aria-pressed="true"', page.text)
    assert (field, value) in pressed
    assert len(pressed) == 3


async def test_a_choice_is_taken_back(browser: Any) -> None:
    await browser.post("/look", theme="dark", rise="red")
    await browser.post("/look", theme="auto", rise="green")
    assert root_element((await browser.get("/login")).text) == '<html lang="en">'


async def test_no_other_site_is_led_to(browser: Any) -> None:
    answer = await browser.post("/look", theme="dark", next="//elsewhere.example")
    assert answer.headers["Location"] == "/subscribeList"


async def test_what_is_no_choice_is_refused_and_a_cookie_of_it_ignored(
    anyone: Any, client: Any
) -> None:
    answer = await anyone.post("/look", theme='"><script>')
    assert answer.status == 400
    assert not answer.cookies
    if anyone.is_program:
        assert (answer.error["reason"], answer.error["field"]) == ("CHOICE_UNKNOWN", "theme")
    page = await client.get("/login", headers={"Cookie": "foretick_theme=purple; foretick_rise=x"})
    assert root_element(await page.text()) == '<html lang="en">'


async def test_another_site_cannot_choose(client: Any) -> None:
    answer = await client.post(
        "/look", data={"theme": "dark"}, headers={"Origin": "https://elsewhere.example"}
    )
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers


async def test_the_form_leads_back_to_the_page_it_stands_on(browser: Any) -> None:
    page = await browser.get("/login?next=/account")
    assert '<input type="hidden" name="next" value="/login?next=/account">' in page.text
    await browser.open("/login")
    refused = await browser.post("/login", email="a@example.org", password="wrong")
    assert '<input type="hidden" name="next" value="/subscribeList">' in refused.text
