"""Whatever is typed into the forms of accounts: no fault, and nothing stored that was refused."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from stack import PASSWORD, Stack, Visitor

# Each registers somebody, which hashes a password: a twentieth of what fakes are sent.
INPUTS = int(os.environ.get("FORETICK_FUZZ_INPUTS", "500")) // 20
NUMBERS = count(1)
FIELDS = {
    "/register": ("email", "password", "invitation"),
    "/login": ("email", "password", "next"),
    "/forgot": ("email",),
    "/reset-password": ("token", "new_password"),
    "/account/email": ("email", "password"),
    "/account/password": ("password", "new_password"),
    "/account/devices/%s/revoke": ("symbol",),
    "/account/delete": ("password",),
    "/admin/invitations": ("email",),
    "/admin/accounts/%s/disable": ("email",),
    "/admin/invitations/%s/withdraw": ("email",),
    "/subscriptions/%s/delete": ("symbol",),
    "/lists": ("name",),
    "/lists/%s/rename": ("name",),
    "/lists/order": ("lists",),
    "/undo": ("undo",),
}
BEFORE_SIGN_IN = ("/register", "/login", "/forgot", "/reset-password")
ODD = ("\x00", "a\x00@x.org", "İ@x.org", "ａ＠x.org", "a@xn--zzz", "а@x.org", "%00", "\u202e", "\n")
TEXTS = st.one_of(
    st.sampled_from((*ODD, PASSWORD, "é" * 10, "\U0001f511" * 200, "A" * 20_000)),
    st.text(max_size=60),
    st.emails(),
)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    started = Stack(tmp_path, GATEWAY_TRUSTED_PROXIES="127.0.0.1")
    started.start("subscription-svc")
    started.start("gateway")
    await asyncio.to_thread(started.wait_until_serving)
    yield started
    started.stop("gateway")
    started.stop("subscription-svc")
    for name in ("gateway", "subscription-svc"):
        assert "Traceback" not in started.log(name), started.log(name)


@pytest.fixture
async def administrator(stack: Stack, visitors: Callable[[Stack], Visitor]) -> Visitor:
    """Whoever registers first."""
    visitor = visitors(stack)
    await visitor.register("administrator@example.org")
    return visitor


async def kept(visitor: Visitor) -> object:
    """All that is kept of whoever is signed in, but for the log, where refusals belong."""
    token = json.loads((await visitor.get("/account"))[1])["csrf_token"]
    status, text, _ = await visitor.post("/account/export", {"csrf_token": token})
    assert status == 200, text
    document = json.loads(text)
    return {
        name: document[name] for name in ("account", "watchlists", "subscriptions", "invitations")
    }


@settings(
    max_examples=INPUTS,
    deadline=None,
    database=None,
    derandomize=INPUTS < 100,
    suppress_health_check=list(HealthCheck),
)
@given(path=st.sampled_from(sorted(FIELDS)), texts=st.lists(TEXTS, min_size=4, max_size=4))
async def test_forms_take_any_text(
    stack: Stack,
    administrator: Visitor,
    visitors: Callable[[Stack], Visitor],
    path: str,
    texts: list[str],
) -> None:
    # Somebody new each time, from an address of their own, so that no guess counts for the next.
    number = next(NUMBERS)
    visitor = visitors(stack)
    visitor._http.headers["X-Forwarded-For"] = (
        f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    )
    await visitor.register(f"visitor{number}@example.org")
    if path.startswith("/admin"):
        visitor = administrator
    before = await kept(visitor)
    fields = dict(zip(FIELDS[path], texts, strict=False))
    # A change is refused for its password before anything else is looked at.
    if path.startswith("/account") and "\x00" not in texts[3]:
        fields["password"] = PASSWORD
    asking = visitor
    if path in BEFORE_SIGN_IN:
        asking = visitors(stack)
        asking._http.headers.update(visitor._http.headers)
        fields["csrf_token"] = await asking.token("/login")
    else:
        fields["csrf_token"] = await visitor.token("/account")
    place = path.replace("%s", "".join(f"%{each:02X}" for each in texts[2].encode()) or "x")
    status, text, _ = await asking.post(place, fields)
    event(f"{path} {status}")
    assert status < 500, f"{place} answered {status}: {text}"
    if status >= 400:
        assert await kept(visitor) == before
