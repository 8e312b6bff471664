"""The running stack and somebody who visits it."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from compose import docker, probe
from stack import Visitor


@pytest.fixture(scope="session")
def url() -> str:
    """Where the gateway is."""
    return f"http://{docker('compose', 'port', 'gateway', '8080').strip()}"


@pytest.fixture(scope="session")
def symbols() -> list[str]:
    """Some symbols that the market has."""
    found: list[str] = json.loads(probe("quote-svc", "universe"))
    assert found
    return found


@pytest.fixture
async def visitor(url: str) -> AsyncIterator[Visitor]:
    """Somebody with a cookie jar of their own, even where cookies are for TLS only."""
    jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=url)
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=timeout) as http:
        yield Visitor(http, url)
