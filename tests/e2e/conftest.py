"""Stacks and visitors for the tests of the whole product."""

from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest

from stack import Stack, Visitor, write_bars


@pytest.fixture
async def visitors() -> AsyncIterator[Callable[[Stack], Visitor]]:
    """Makes visitors with a cookie jar each."""
    sessions: list[aiohttp.ClientSession] = []

    def visit(stack: Stack) -> Visitor:
        http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=15)
        )
        sessions.append(http)
        return Visitor(http, stack.url)

    yield visit
    for http in sessions:
        await http.close()


@pytest.fixture(scope="module")
def csv_closes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The last close of each symbol of the csv market."""
    folder = tmp_path_factory.getbasetemp() / "bars"
    folder.mkdir(exist_ok=True)
    return write_bars(folder / "prices.csv.gz")


@pytest.fixture(scope="module")
def csv_stack(
    tmp_path_factory: pytest.TempPathFactory, csv_closes: dict[str, float]
) -> Iterator[Stack]:
    """The product on bars of New York that end with 2019."""
    path = tmp_path_factory.getbasetemp() / "bars" / "prices.csv.gz"
    folder = tmp_path_factory.mktemp("csv")
    with Stack(folder, QUOTE_MARKET="csv", QUOTE_CSV_PATH=str(path)) as stack:
        yield stack
