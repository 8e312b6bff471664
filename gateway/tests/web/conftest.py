"""Somebody in front of the gateway, with a browser or a program."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from secrets_in_logs import note

Client = TestClient[web.Request, web.Application]
PASSWORD = "a long enough one"
JSON = {"Accept": "application/json"}


class Person:
    """Somebody with a browser or a program, as ``accept`` says."""

    def __init__(self, client: Client, accept: str) -> None:
        self.client = client
        self.headers = {"Accept": accept}
        self.token = ""

    @property
    def is_program(self) -> bool:
        return self.headers == JSON

    async def get(self, path: str) -> "Answer":
        response = await self.client.get(path, headers=self.headers, allow_redirects=False)
        return await Answer.read(response)

    async def post(self, path: str, **fields: str) -> "Answer":
        """Send a form with the last token seen, unless another is given."""
        for name in fields.keys() & {"password", "new_password"}:
            note(fields[name])
        form = {"csrf_token": self.token, **fields}
        response = await self.client.post(
            path, data=form, headers=self.headers, allow_redirects=False
        )
        return await Answer.read(response)

    async def open(self, path: str) -> "Answer":
        """Get a page and take its token."""
        answer = await self.get(path)
        self.token = answer.token
        return answer

    async def register(self, email: str = "a@example.org", password: str = PASSWORD) -> "Answer":
        await self.open("/register")
        answer = await self.post("/register", email=email, password=password)
        if answer.status in (201, 303):
            await self.open("/subscribeList")
        return answer


@dataclass
class Answer:
    """A response that has been read."""

    status: int
    headers: Any
    cookies: Any
    text: str
    content: Any

    @classmethod
    async def read(cls, response: Any) -> "Answer":
        for cookie in response.cookies.values():
            note(cookie.value)
        is_json = response.content_type == "application/json"
        text = await response.text()
        content = await response.json() if is_json else None
        return cls(response.status, response.headers, response.cookies, text, content)

    @property
    def token(self) -> str:
        if self.content is not None:
            return str(self.content["csrf_token"])
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.text)
        assert found, self.text
        return found[1]

    @property
    def error(self) -> Any:
        return self.content["error"]


@pytest.fixture
def browser(client: Client) -> Person:
    return Person(client, "text/html,application/xhtml+xml,*/*;q=0.8")


@pytest.fixture
def program(client: Client) -> Person:
    return Person(client, "application/json")


@pytest.fixture(params=["text/html,*/*;q=0.8", "application/json"], ids=["html", "json"])
def anyone(request: pytest.FixtureRequest, client: Client) -> Person:
    return Person(client, request.param)
