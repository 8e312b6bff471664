"""Finding what to follow."""

from typing import Any

HTMX = {"HX-Request": "true", "Accept": "text/html"}


async def test_a_page_offers_what_is_found_without_any_script(browser: Any) -> None:
    await browser.register()
    page = await browser.get("/search?q=appl")
    assert 'name="symbol" value="AAPL"' in page.text
    assert "Apple Inc." in page.text
    assert browser.token in page.text
    assert 'aria-label="Add AAPL"' in page.text


async def test_programs_get_symbols_and_names(program: Any) -> None:
    await program.register()
    answer = await program.get("/search?q=appl")
    assert answer.content["found"] == [{"symbol": "AAPL", "name": "Apple Inc."}]
    assert answer.content["reason"] is None


async def test_what_is_typed_is_answered_with_options(browser: Any) -> None:
    await browser.register()
    browser.headers = HTMX
    answer = await browser.get("/search?symbol=appl")
    assert answer.text.count('role="option"') == 1
    assert 'data-symbol="AAPL"' in answer.text
    assert "<html" not in answer.text
    assert "csrf_token" not in answer.text
    assert "Nothing is found for “qqqq”." in (await browser.get("/search?symbol=qqqq")).text


async def test_nothing_is_asked_where_nothing_is_typed(browser: Any, services: Any) -> None:
    await browser.register()
    browser.headers = HTMX
    assert (await browser.get("/search?symbol=%20")).text.strip() == ""
    assert services.quotes.calls["SearchInstruments"] == 0


async def test_what_is_typed_is_shown_as_text(browser: Any) -> None:
    await browser.register()
    for path in ("/search?q=%3Cb%3Eqq", "/search?symbol=%3Cb%3Eqq"):
        text = (await browser.get(path)).text
        assert "&lt;b&gt;qq" in text
        assert "<b>qq" not in text


async def test_search_says_so_where_the_market_is_down(anyone: Any, services: Any) -> None:
    await anyone.register()
    await services.stop("quote")
    answer = await anyone.get("/search?q=appl")
    assert answer.status == 200
    if anyone.is_program:
        assert answer.content["reason"]["reason"] == "UNAVAILABLE"
    else:
        assert "Search is unavailable" in answer.text


async def test_search_is_for_who_is_signed_in(anyone: Any) -> None:
    answer = await anyone.get("/search?q=appl")
    assert answer.status == (401 if anyone.is_program else 303)
