"""What a browser has to load for a page."""

import gzip
import re
from typing import Any

FIRST_PAGE_BYTES = 60_000


async def sent(browser: Any, page: str) -> dict[str, int]:
    """Compressed sizes of a page and of the styles, scripts and icon that it names."""
    sizes = {"page": len(gzip.compress(page.encode(), 6))}
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', page):
        response = await browser.client.get(address, headers={"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"
        sizes[address] = int(response.headers["Content-Length"])
    return sizes


async def test_a_first_page_is_light(browser: Any, services: Any) -> None:
    for number in range(20):
        symbol = f"SYM{number:02}"
        services.quotes.prices[symbol] = services.predictions.closes[symbol] = 100.0 + number
    await browser.register()
    for number in range(20):
        await browser.post("/subscriptions", symbol=f"SYM{number:02}")
    watchlist = (await browser.get("/subscribeList")).text
    assert watchlist.count('<tr role="row" id=') == 20
    sizes = await sent(browser, watchlist)
    print(sum(sizes.values()), sizes)  # what `pytest -s` shows
    assert any("htmx" in address for address in sizes)
    assert any("app.css" in address for address in sizes)
    assert sum(sizes.values()) <= FIRST_PAGE_BYTES, sizes


async def test_the_charts_are_loaded_by_no_page_that_draws_none(browser: Any) -> None:
    login = (await browser.get("/login")).text
    await browser.register()
    for page in (login, (await browser.get("/subscribeList")).text):
        assert "charts.js" not in page
