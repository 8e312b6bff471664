"""Whatever is sent to whichever address: an answer, no fault, and nothing stored if refused."""

import copy
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from aiohttp import ClientSession, DummyCookieJar
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from yarl import URL

from fake_lists import account_id, other_id
from foretick.subscription.v1 import subscription_pb2 as pb
from gateway.app import create_app, running
from gateway.csrf import CsrfTokens
from gateway.key_files import csrf_key, session_keys
from gateway.settings import GatewaySettings

INPUTS = int(os.environ.get("FORETICK_FUZZ_INPUTS", "250"))
EMAIL, OTHER, PASSWORD = "a@example.org", "b@example.org", "a long enough one"
FLOW = "0" * 32
# Names and values that mean something somewhere, among all that mean nothing.
NAMES = (
    *("email", "password", "new_password", "token", "invitation", "remember", "next", "symbol"),
    *("csrf_token", "page", "done", "", "name", "note", "text", "file", "to", "to_list"),
    *("list", "lists", "symbols", "undo"),
)
LIST, SECOND = account_id(EMAIL), other_id(2)
TELLING = (
    *(EMAIL, OTHER, PASSWORD, "another long one", "AAPL", "yes", "/account", "//x", "a@b"),
    *(
        LIST,
        LIST,
        SECOND,
        f"{SECOND} {LIST}",
        "Tech",
        "top",
        "down",
        "AAPL XOM",
        "symbol,note\nXOM,x",
    ),
)
ODD = (
    "\x00",
    "\u202e",
    "\ud800",
    "İ@x.org",
    "ａ@x.org",
    "\n",
    "%00",
    "%",
    "<script>",
    "A" * 70_000,
)
TEXTS = st.one_of(
    st.sampled_from(TELLING),
    st.sampled_from(ODD),
    st.text(st.characters(exclude_categories=()), max_size=300),
)
FORM = "application/x-www-form-urlencoded"
TYPES = st.one_of(
    st.sampled_from(
        (FORM, f"{FORM}; charset=utf-16", "multipart/form-data; boundary=x", "application/json")
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
ACCEPTS = ("text/html", "application/json", "*/*;q=nonsense", "")


@dataclass(frozen=True)
class Input:
    """One request: a place of the route table, and what is sent there."""

    place: int
    parts: tuple[str, str]
    query: dict[str, str]
    fields: dict[str, str]
    body: bytes | None
    content_type: str
    accept: str
    signed_in: bool
    token: bool


def escaped(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


def encoded(fields: dict[str, str]) -> str:
    return "&".join(f"{escaped(name)}={escaped(value)}" for name, value in fields.items())


INPUT = st.builds(
    Input,
    place=st.integers(0, 1000),
    parts=st.tuples(TEXTS, TEXTS),
    query=st.dictionaries(st.sampled_from(NAMES) | TEXTS, TEXTS, max_size=2),
    fields=st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=6),
    body=st.none() | st.none() | st.binary(max_size=300),
    content_type=st.just(FORM) | TYPES,
    accept=st.sampled_from(ACCEPTS),
    signed_in=st.sampled_from((True, True, False)),
    token=st.sampled_from((True, True, True, False)),
)


class Sender:
    """Sends inputs with the cookies of an account that is there anew each time."""

    def __init__(self, http: ClientSession, port: int, accounts: Any, own: GatewaySettings) -> None:
        self.http = http
        self.site = f"http://127.0.0.1:{port}"
        self.accounts = accounts
        self.keys = session_keys(own.data_dir)
        self.tokens = CsrfTokens(csrf_key(own.data_dir))
        self.routes = [
            (route.method, route.resource.canonical)
            for route in create_app(own).router.routes()
            if route.method in {"GET", "POST"} and route.resource
        ]

    def begin(self) -> str:
        """Everything as it was; the id of a fresh sign-in of the administrator."""
        self.accounts.passwords = {EMAIL: PASSWORD, OTHER: PASSWORD}
        self.accounts.followed = {EMAIL: ["AAPL", "XOM"], OTHER: ["MSFT"]}
        self.accounts.names.clear()
        self.accounts.notes.clear()
        self.accounts.make_list(EMAIL, SECOND, "Second", "KO")
        self.accounts.disabled.clear()
        self.accounts.invitations = {"good": ""}
        self.accounts.reset_tokens = {"good": EMAIL}
        self.accounts.sign_ins.clear()
        self.accounts.log.clear()
        self.accounts.begin(OTHER, pb.Client())
        return str(self.accounts.begin(EMAIL, pb.Client())["sign_in"].key.sign_in_id)

    def stored(self) -> Any:
        held = self.accounts
        return copy.deepcopy(
            (
                *(held.passwords, held.followed, held.names, held.more, held.notes),
                *(held.disabled, held.invitations, held.sign_ins),
            )
        )

    async def send(self, given_: Input) -> tuple[str, int, str]:
        """What was asked for, the status, and the text."""
        sign_in_id = self.begin()
        method, path = self.routes[given_.place % len(self.routes)]
        for part in given_.parts:
            before, _, rest = path.partition("{")
            path = before + escaped(part) + rest.partition("}")[2] if rest else path
        fields = dict(given_.fields)
        cookies = f"foretick_flow={FLOW}"
        if given_.signed_in:
            cookies += f"; foretick_sign_in={self._cookie(sign_in_id)}"
        if given_.token:
            before_sign_in = path in {"/login", "/register", "/forgot", "/reset-password"}
            tokens = self.tokens
            fields["csrf_token"] = (
                tokens.of_flow(FLOW) if before_sign_in else tokens.of_sign_in(sign_in_id)
            )
        url = URL(
            self.site + path + (f"?{encoded(given_.query)}" if given_.query else ""), encoded=True
        )
        headers = {"Accept": given_.accept, "Cookie": cookies, "Content-Type": given_.content_type}
        body = encoded(fields).encode() if given_.body is None else given_.body
        response = await self.http.request(
            method,
            url,
            headers=headers,
            data=body if method == "POST" else None,
            allow_redirects=False,
        )
        if response.content_type == "text/event-stream":
            response.close()  # it goes on for as long as somebody listens
            return f"{method} {url}", response.status, ""
        return f"{method} {url}", response.status, await response.text()

    def _cookie(self, sign_in_id: str) -> str:
        identity = next(
            f"{self.accounts.account(email).account_id}:{each}"
            for each, email in self.accounts.sign_ins.items()
            if each == sign_in_id
        )
        content = {"created": int(time.time()), "session": {"identity": identity}}
        return self.keys.encrypt(json.dumps(content).encode()).decode()


@pytest.fixture
async def sender(services: Any, settings: GatewaySettings) -> AsyncIterator[Sender]:
    own = settings.model_copy(update={"port": 0})
    async with running(own) as port, ClientSession(cookie_jar=DummyCookieJar()) as http:
        yield Sender(http, port, services.accounts, own)


@settings(
    max_examples=INPUTS,
    deadline=None,
    database=None,
    derandomize=INPUTS < 1000,
    suppress_health_check=list(HealthCheck),
)
@given(sent=INPUT)
async def test_any_input_has_an_answer(
    sender: Sender, caplog: pytest.LogCaptureFixture, sent: Input
) -> None:
    caplog.clear()
    sender.begin()
    before = sender.stored()
    asked, status, text = await sender.send(sent)
    event(str(status))
    assert 200 <= status < 500, f"{asked} answered {status}: {text}"
    assert "Traceback" not in text
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR], caplog.text
    if status >= 400:
        after = sender.stored()
        assert after[:-1] == before[:-1], asked
        assert len(after[-1]) == len(before[-1]), asked
