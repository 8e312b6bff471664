"""Every refusal has its status and a message that names the field, and stores nothing."""

from typing import Any

import pytest
from aiohttp import FormData
from grpc import StatusCode

from foretick_rpc.errors import AppError
from gateway import views_watchlist


def assert_refused(  # noqa: PLR0917 - a line of a table: what is expected, in the order of a page
    person: Any, answer: Any, status: int, reason: str, field: str | None, words: str
) -> None:
    assert answer.status == status
    assert answer.headers["X-Request-ID"]
    if person.is_program:
        assert answer.error["reason"] == reason
        assert answer.error.get("field") == field
        assert words in answer.error["message"]
        assert answer.error["requestId"] == answer.headers["X-Request-ID"]
    else:
        assert answer.headers["Content-Type"].startswith("text/html")
        assert words in answer.text


def follows(services: Any) -> list[str]:
    return list(services.accounts.followed["a@example.org"])


async def test_an_unknown_symbol_is_404_and_asks_what_was_meant(anyone: Any, services: Any) -> None:
    await anyone.register()
    answer = await anyone.post("/subscriptions", symbol="AAPPL")
    assert_refused(
        anyone, answer, 404, "SYMBOL_NOT_FOUND", "symbol", "AAPPL is not traded on this market."
    )
    if anyone.is_program:
        assert answer.error["suggestions"] == [{"symbol": "AAPL", "name": "Apple Inc."}]
    else:
        assert 'aria-describedby="symbol-error"' in answer.text
        assert 'value="AAPPL"' in answer.text
        assert 'name="symbol" value="AAPL"' in answer.text
    assert follows(services) == []


@pytest.mark.parametrize("symbol", ["", "A B", "A" * 10_000, "<b>", "\x00 \x1b\u202e"])
async def test_a_malformed_or_huge_symbol_is_400(anyone: Any, services: Any, symbol: str) -> None:
    await anyone.register()
    answer = await anyone.post("/subscriptions", symbol=symbol)
    assert_refused(
        anyone, answer, 400, "SYMBOL_MALFORMED", "symbol", "symbol must have 1 to 32 characters"
    )
    assert len(answer.text) < 20_000
    assert follows(services) == []


async def test_a_broken_line_of_the_source_is_named(anyone: Any, services: Any) -> None:
    await anyone.register()
    services.quotes.broken["XOM"] = "prices.csv, line 17, column close: no number"
    answer = await anyone.post("/subscriptions", symbol="XOM")
    assert_refused(
        anyone, answer, 400, "PRICES_INVALID", "symbol", "prices.csv, line 17, column close"
    )
    assert follows(services) == []


async def test_a_full_list_is_400(anyone: Any, services: Any) -> None:
    await anyone.register()
    services.accounts.limit = 0
    answer = await anyone.post("/subscriptions", symbol="AAPL")
    assert_refused(anyone, answer, 400, "TOO_MANY_SUBSCRIPTIONS", "symbol", "The list is full.")


async def test_removing_what_is_not_followed_is_404(anyone: Any) -> None:
    await anyone.register()
    answer = await anyone.post("/subscriptions/AAPL/delete")
    assert_refused(anyone, answer, 404, "NOT_SUBSCRIBED", "symbol", "AAPL is not followed.")


@pytest.mark.parametrize("email", ["a@example.org", "nobody@example.org"])
async def test_a_wrong_password_and_an_unknown_address_are_the_same_401(
    anyone: Any, services: Any, email: str
) -> None:
    services.accounts.passwords["a@example.org"] = "another password"
    await anyone.open("/login")
    answer = await anyone.post("/login", email=email, password="wrong")
    assert_refused(
        anyone, answer, 401, "CREDENTIALS_WRONG", "password", "address or the password is wrong"
    )
    assert services.accounts.sign_ins == {}
    if not anyone.is_program:
        assert 'aria-describedby="password-error"' in answer.text
        assert f'value="{email}"' in answer.text
        assert "wrong" not in answer.text.split('name="password"')[1].split(">")[0]


async def test_an_address_that_is_taken_is_409(anyone: Any, services: Any) -> None:
    services.accounts.passwords["a@example.org"] = "another password"
    answer = await anyone.register()
    assert_refused(anyone, answer, 409, "EMAIL_TAKEN", "email", "has an account already")
    assert services.accounts.passwords == {"a@example.org": "another password"}


@pytest.mark.parametrize(
    ("email", "password", "field"),
    [("nothing", "a long enough one", "email"), ("a@example.org", "short", "password")],
)
async def test_bad_fields_of_a_registration_are_400_beside_the_field(
    anyone: Any, services: Any, email: str, password: str, field: str
) -> None:
    answer = await anyone.register(email, password)
    assert_refused(anyone, answer, 400, "INVALID_ARGUMENT", field, f"{field} must have")
    if not anyone.is_program:
        assert f'id="{field}-error"' in answer.text
    assert services.accounts.passwords == {}


@pytest.mark.parametrize("token", ["", "wrong", "é\x00", "A" * 5000])
@pytest.mark.parametrize(
    "path", ["/login", "/register", "/logout", "/subscriptions", "/subscriptions/AAPL/delete"]
)
async def test_a_missing_or_wrong_token_is_403(
    anyone: Any, services: Any, path: str, token: str
) -> None:
    await anyone.register()
    services.accounts.calls.clear()
    anyone.token = token
    answer = await anyone.post(
        path, symbol="AAPL", email="b@example.org", password="a long enough one"
    )
    assert_refused(anyone, answer, 403, "CSRF_TOKEN_WRONG", "csrf_token", "csrf_token is missing")
    assert not services.accounts.calls
    assert follows(services) == []


async def test_a_token_of_another_flow_or_sign_in_is_403(anyone: Any) -> None:
    await anyone.open("/login")
    anyone.client.session.cookie_jar.clear()
    first_token = anyone.token
    await anyone.open("/login")
    assert anyone.token != first_token
    anyone.token = first_token
    answer = await anyone.post("/login", email="a@example.org", password="x")
    assert answer.status == 403


async def test_no_body_at_all_is_a_missing_token(program: Any) -> None:
    await program.register()
    response = await program.client.post("/logout", headers=program.headers)
    assert response.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[bad"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_forms_of_other_sites_are_403_even_with_the_token(
    anyone: Any, services: Any, headers: dict[str, str]
) -> None:
    await anyone.register()
    anyone.headers = {**anyone.headers, **headers}
    answer = await anyone.post("/subscriptions", symbol="AAPL")
    assert answer.status == 403
    assert "another site" in answer.text
    assert follows(services) == []


async def test_a_form_of_this_site_passes(browser: Any, client: Any) -> None:
    await browser.register()
    browser.headers["Origin"] = f"http://{client.host}:{client.port}"
    browser.headers["Sec-Fetch-Site"] = "same-origin"
    assert (await browser.post("/subscriptions", symbol="AAPL")).status == 303


async def test_a_large_body_is_413(anyone: Any, services: Any) -> None:
    await anyone.register()
    answer = await anyone.post("/subscriptions", symbol="A" * 70_000)
    assert_refused(anyone, answer, 413, "BODY_TOO_LARGE", None, "at most 64 kB")
    form = FormData(default_to_multipart=True)
    form.add_field("csrf_token", anyone.token)
    form.add_field("symbol", "A" * 70_000)
    response = await anyone.client.post("/subscriptions", data=form, headers=anyone.headers)
    assert response.status == 413
    assert follows(services) == []


async def test_other_content_types_are_415(anyone: Any) -> None:
    await anyone.register()
    response = await anyone.client.post(
        "/subscriptions", json={"symbol": "AAPL"}, headers=anyone.headers
    )
    assert response.status == 415
    text = await response.text()
    assert "application/x-www-form-urlencoded" in text
    assert "not application/json" in text


async def test_multipart_forms_are_read_but_files_are_no_text(program: Any, services: Any) -> None:
    await program.register()
    for symbol, status in (("AAPL", 201), (b"MSFT", 400)):
        form = FormData(default_to_multipart=True)
        form.add_field("csrf_token", program.token)
        name = "symbol.txt" if isinstance(symbol, bytes) else None
        form.add_field("symbol", symbol, filename=name)
        response = await program.client.post("/subscriptions", data=form, headers=program.headers)
        assert response.status == status
    assert follows(services) == ["AAPL"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=nonsense", b"symbol=A"),
        ("application/x-www-form-urlencoded; charset=rot13", b"symbol=A"),
        ("application/x-www-form-urlencoded; charset=unicode_escape", b"symbol=\\ud800"),
        ("application/x-www-form-urlencoded", b"symbol=\xff\xfe"),
        ("multipart/form-data", b"symbol"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("multipart/form-data; boundary=x", b"\xff\xff"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=a\r\n"
            b"Content-Transfer-Encoding: nonsense\r\n\r\nb\r\n--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=a\r\n"
            b"Content-Encoding: gzip\r\n\r\nb\r\n--x--\r\n",
        ),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nb\r\n--x--\r\n"),
    ],
)
async def test_a_form_that_cannot_be_read_is_a_refusal_and_no_fault(
    program: Any, content_type: str, body: bytes
) -> None:
    await program.register()
    response = await program.client.post(
        "/subscriptions", data=body, headers={**program.headers, "Content-Type": content_type}
    )
    assert response.status in (400, 403), await response.text()


async def test_a_body_that_is_not_compressed_as_it_says_is_a_refusal(program: Any) -> None:
    await program.register()
    headers = {
        **program.headers,
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Encoding": "gzip",
    }
    response = await program.client.post("/subscriptions", data=b"symbol=AAPL", headers=headers)
    assert response.status == 400


async def test_signed_out(anyone: Any) -> None:
    answer = await anyone.get("/subscribeList?a=1")
    if anyone.is_program:
        assert_refused(anyone, answer, 401, "SIGN_IN_REQUIRED", None, "Sign in first.")
    else:
        assert answer.status == 303
        assert answer.headers["Location"] == "/login?next=%2FsubscribeList%3Fa%3D1"
    for path in ("/subscriptions", "/subscriptions/AAPL/delete", "/logout"):
        answer = await anyone.post(path, symbol="AAPL")
        assert answer.status == (401 if anyone.is_program else 303)


async def test_unknown_addresses_and_methods(anyone: Any) -> None:
    assert_refused(anyone, await anyone.get("/nowhere"), 404, "NOT_FOUND", None, "no such page")
    assert_refused(anyone, await anyone.post("/nowhere"), 404, "NOT_FOUND", None, "no such page")
    answer = await anyone.get("/logout")
    assert_refused(anyone, answer, 405, "METHOD_NOT_ALLOWED", None, "does not take requests")
    assert answer.headers["Allow"] == "POST"
    assert (await anyone.get("/static/../app.py")).status == 404


async def test_too_many_requests_come_with_a_time(anyone: Any, services: Any) -> None:
    await anyone.open("/login")
    services.accounts.fail_next = AppError(
        StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_ATTEMPTS", "Too many attempts."
    )
    answer = await anyone.post("/login", email="a@example.org", password="x")
    assert_refused(anyone, answer, 429, "TOO_MANY_ATTEMPTS", None, "Too many attempts.")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (StatusCode.INTERNAL, "INTERNAL", 500),
        (StatusCode.UNKNOWN, "SECRET_DETAIL", 500),
        (StatusCode.UNAUTHENTICATED, "SERVICE_TOKEN_WRONG", 500),
        (StatusCode.UNAVAILABLE, "UNAVAILABLE", 503),
        (StatusCode.CANCELLED, "UNAVAILABLE", 503),
        (StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", 504),
    ],
)
async def test_faults_of_a_service_show_no_detail(
    anyone: Any, services: Any, code: StatusCode, reason: str, status: int
) -> None:
    await anyone.open("/login")
    services.accounts.fail_next = AppError(code, reason, "a secret detail")
    answer = await anyone.post("/login", email="a@example.org", password="x")
    assert answer.status == status
    assert "secret" not in answer.text.lower()
    assert "subscription-svc" in answer.text


async def test_a_symbol_whose_history_is_fetched_first_is_waited_for(
    program: Any, services: Any
) -> None:
    await program.register()
    services.quotes.pending["AAPL"] = 3
    answer = await program.post("/subscriptions", symbol="AAPL")
    assert (answer.status, answer.content) == (201, {"symbol": "AAPL", "created": True})
    assert services.quotes.calls["BatchGetQuotes"] == 4


async def test_a_history_that_does_not_come_in_time_stores_nothing(
    anyone: Any, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_watchlist, "ADDING_SECONDS", 0.0)
    await anyone.register()
    services.quotes.pending["AAPL"] = 1000
    answer = await anyone.post("/subscriptions", symbol="AAPL")
    assert answer.status == 503
    assert "Nothing was stored." in answer.text
    assert services.accounts.calls["AddSubscription"] == 0


@pytest.mark.parametrize("reason", ["SOURCE_RATE_LIMITED", "SOURCE_UNREACHABLE", "SOURCE_NONSENSE"])
async def test_a_source_that_fails_stores_nothing(anyone: Any, services: Any, reason: str) -> None:
    await anyone.register()
    services.quotes.failing["NEWCO"] = reason
    answer = await anyone.post("/subscriptions", symbol="NEWCO")
    assert answer.status == 503
    assert "Nothing was stored." in answer.text
    assert services.accounts.calls["AddSubscription"] == 0
