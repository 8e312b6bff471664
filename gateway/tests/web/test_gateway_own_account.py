"""The pages of one's account: what they change, show and refuse."""

import asyncio
import json
from typing import Any

import pytest
from grpc import StatusCode

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.errors import AppError

PASSWORD, NEW = "a long enough one", "another long one"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def sign_in_cookie(person: Any) -> Any:
    jar = person.client.session.cookie_jar
    return next((each for each in jar if each.key == "foretick_sign_in"), None)


async def sign_in(person: Any, password: str = PASSWORD, **fields: str) -> Any:
    await person.open("/login")
    answer = await person.post("/login", email="a@example.org", password=password, **fields)
    if answer.status in (200, 303):
        await person.open("/account")
    return answer


async def test_the_account_page_shows_it(anyone: Any) -> None:
    await anyone.register()
    answer = await anyone.get("/account")
    assert answer.status == 200
    if anyone.is_program:
        assert answer.content["email"] == "a@example.org"
        assert answer.content["administrator"] is True
        assert answer.content["created"] == "2019-12-01T08:30:00Z"
    else:
        assert "a@example.org" in answer.text
        assert 'href="/admin"' in answer.text
        assert 'href="/account" aria-current="page"' in answer.text


@pytest.mark.parametrize("path", ["/account", "/account/devices", "/account/log", "/admin"])
async def test_pages_of_an_account_need_a_sign_in(anyone: Any, services: Any, path: str) -> None:
    answer = await anyone.get(path)
    if anyone.is_program:
        assert (answer.status, answer.error["reason"]) == (401, "SIGN_IN_REQUIRED")
    else:
        assert answer.headers["Location"] == f"/login?next={path.replace('/', '%2F')}"
    await anyone.register()
    services.accounts.sign_ins.clear()
    await services.accounts.tell(pb.ACCOUNT_EVENT_KIND_SIGN_IN_REVOKED, "a@example.org")
    async with asyncio.timeout(10):
        while (answer := await anyone.get(path)).status == 200:
            pass  # not heard yet
    assert answer.status == (401 if anyone.is_program else 303)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/account/password", {"password": PASSWORD, "new_password": NEW}),
        ("/account/email", {"password": PASSWORD, "email": "new@example.org"}),
    ],
)
async def test_a_change_gives_this_browser_a_new_sign_in(
    anyone: Any, services: Any, path: str, fields: dict[str, str]
) -> None:
    await anyone.register()
    before, old_token = sign_in_cookie(anyone).value, anyone.token
    (old_id,) = services.accounts.sign_ins
    answer = await anyone.post(path, **fields)
    (new_id,) = services.accounts.sign_ins
    assert old_id != new_id
    assert sign_in_cookie(anyone).value != before
    if anyone.is_program:
        assert answer.status == 200
        assert answer.token != old_token
    else:
        assert answer.status == 303
        page = await anyone.get(answer.headers["Location"])
        assert 'role="status"' in page.text
        assert "all other devices are signed out" in page.text
    # Forms that were open in the old sign-in are void.
    assert (await anyone.post("/subscriptions", symbol="AAPL")).status == 403


async def test_a_changed_password_is_the_one_that_counts(anyone: Any) -> None:
    await anyone.register()
    await anyone.post("/account/password", password=PASSWORD, new_password=NEW)
    anyone.client.session.cookie_jar.clear()
    assert (await sign_in(anyone)).status == 401
    assert (await sign_in(anyone, NEW)).status in (200, 303)


@pytest.mark.parametrize(
    ("path", "fields", "status", "field"),
    [
        ("/account/password", {"password": "wrong", "new_password": NEW}, 403, "password"),
        ("/account/password", {"password": PASSWORD, "new_password": "x"}, 400, "new_password"),
        ("/account/email", {"password": "wrong", "email": "b@example.org"}, 403, "password"),
        ("/account/email", {"password": PASSWORD, "email": "nothing"}, 400, "email"),
        ("/account/email", {"password": PASSWORD, "email": "taken@example.org"}, 409, "email"),
        ("/account/delete", {"password": "wrong"}, 403, "password"),
    ],
)
async def test_what_is_refused_changes_nothing_and_is_said_beside_its_field(  # noqa: PLR0917
    anyone: Any, services: Any, path: str, fields: dict[str, str], status: int, field: str
) -> None:
    await anyone.register()
    services.accounts.passwords["taken@example.org"] = NEW
    before = (dict(services.accounts.passwords), set(services.accounts.sign_ins))
    answer = await anyone.post(path, **fields)
    assert answer.status == status
    if anyone.is_program:
        assert answer.error["field"] == field
    else:
        form = path.rpartition("/")[2].replace("delete", "")
        name = f"{form}-{field}" if form else field
        assert f'aria-describedby="{name}-error' in answer.text
        assert f'id="{name}-error"' in answer.text
        assert answer.text.count('aria-invalid="true"') == 1
        assert "<title>Error: " in answer.text
        assert PASSWORD not in answer.text
        if field == "email":
            assert f'value="{fields["email"]}"' in answer.text
    assert (dict(services.accounts.passwords), set(services.accounts.sign_ins)) == before


async def test_devices_are_listed_with_their_use(anyone: Any, services: Any) -> None:
    await anyone.register()
    anyone.client.session.cookie_jar.clear()
    anyone.headers = {**anyone.headers, "User-Agent": FIREFOX}
    await sign_in(anyone)
    (older, newer) = services.accounts.sign_ins
    answer = await anyone.get("/account/devices")
    if "application/json" in anyone.headers["Accept"]:
        devices = answer.content["devices"]
        assert [each["current"] for each in devices] == [False, True]
        assert devices[1]["userAgent"] == FIREFOX
        assert devices[1]["address"] == "127.0.0.1"
        assert devices[1]["lastUsed"] == "2019-12-01T09:30:00Z"
    else:
        assert "Firefox on Linux" in answer.text
        assert "1 Dec 2019, 09:30 UTC" in answer.text
        assert answer.text.count("this one") == 1
        assert answer.text.count('class="quiet" aria-label="Sign out ') == 1
    for secret in (older, newer):
        assert secret not in answer.text


async def test_all_others_are_signed_out_at_once(anyone: Any, services: Any) -> None:
    await anyone.register()
    for _ in range(2):
        anyone.client.session.cookie_jar.clear()
        await sign_in(anyone)
    answer = await anyone.post("/account/devices/revoke-others")
    assert len(services.accounts.sign_ins) == 1
    if anyone.is_program:
        assert answer.content == {"revoked": 2}
    else:
        page = await anyone.get(answer.headers["Location"])
        assert "All other devices are signed out." in page.text
        assert "revoke-others" not in page.text


async def test_a_device_of_somebody_else_is_404_like_one_that_never_was(
    anyone: Any, services: Any
) -> None:
    await anyone.register("b@example.org")
    theirs = services.accounts.begin("b@example.org", pb.Client())["sign_in"].device_id
    anyone.client.session.cookie_jar.clear()
    await anyone.register()
    before = set(services.accounts.sign_ins)
    answers = [
        await anyone.post(f"/account/devices/{device_id}/revoke")
        for device_id in (theirs, "0" * 64, "x", "%00", "%FF", "\N{SNOWMAN}")
    ]
    for answer in answers:
        assert answer.status == 404
        if anyone.is_program:
            assert answer.error["reason"] == "DEVICE_NOT_FOUND"
    assert set(services.accounts.sign_ins) == before


async def test_the_log_is_shown_page_by_page(anyone: Any, services: Any) -> None:
    await anyone.register()
    services.accounts.log += [("a@example.org", pb.AUDIT_KIND_PASSWORD_WRONG, pb.Client())] * 60
    services.accounts.log.append(("b@example.org", pb.AUDIT_KIND_INVITED, pb.Client()))
    first = await anyone.get("/account/log")
    if anyone.is_program:
        assert len(first.content["events"]) == 50
        assert first.content["events"][0]["kind"] == "password_wrong"
        second = await anyone.get(f"/account/log?page={first.content['nextPage']}")
        assert [each["kind"] for each in second.content["events"]][-1] == "signed_in"
        assert second.content["nextPage"] is None
    else:
        assert first.text.count("Wrong password for a change") == 50
        assert "Somebody invited" not in first.text
        assert 'href="/account/log?page=50"' in first.text
        second = await anyone.get("/account/log?page=50")
        assert "Signed in" in second.text
        assert "Older" not in second.text


async def test_the_export_is_one_json_file(anyone: Any) -> None:
    await anyone.register()
    await anyone.post("/subscriptions", symbol="AAPL")
    answer = await anyone.post("/account/export")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    disposition = answer.headers["Content-Disposition"]
    assert disposition == 'attachment; filename="foretick-account.json"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert json.loads(answer.text)["subscriptions"] == ["AAPL"]


async def test_deleting_takes_the_cookie_and_the_account(anyone: Any, services: Any) -> None:
    await anyone.register()
    page = await anyone.open("/account/delete")
    assert anyone.is_program or "a@example.org" in page.text
    answer = await anyone.post("/account/delete", password=PASSWORD)
    assert services.accounts.passwords == {}
    assert sign_in_cookie(anyone) is None
    if anyone.is_program:
        assert answer.content == {"deleted": True}
    else:
        page = await anyone.get(answer.headers["Location"])
        assert "The account is deleted" in page.text
    assert (await sign_in(anyone)).status == 401


@pytest.mark.parametrize("remember", ["", "yes"])
async def test_a_sign_in_outlives_the_window_only_if_asked_to(
    anyone: Any, services: Any, remember: str
) -> None:
    await anyone.register()
    anyone.client.session.cookie_jar.clear()
    answer = await sign_in(anyone, **({"remember": remember} if remember else {}))
    assert bool(services.accounts.remembered) is bool(remember)
    max_age = answer.cookies["foretick_sign_in"]["max-age"]
    assert bool(max_age) is bool(remember)
    await anyone.post("/account/password", password=PASSWORD, new_password=NEW)
    assert bool(services.accounts.remembered & set(services.accounts.sign_ins)) is bool(remember)


async def test_known_and_unknown_addresses_get_the_same_bytes(anyone: Any, services: Any) -> None:
    await anyone.register("known@example.org")
    anyone.client.session.cookie_jar.clear()
    answers: dict[str, set[tuple[int, str]]] = {"/forgot": set(), "/login": set()}
    for path, seen in answers.items():
        await anyone.open(path)
        for email in ("known@example.org", "never@example.org"):
            answer = await anyone.post(path, email=email, password="wrong")
            text = answer.text.replace(answer.headers["X-Request-ID"], "").replace(email, "")
            seen.add((answer.status, text))
        assert len(seen) == 1, path
    assert list(services.accounts.reset_tokens.values()) == ["known@example.org"]


async def test_a_link_sets_a_new_password_once(anyone: Any, services: Any) -> None:
    await anyone.register()
    await anyone.open("/forgot")
    answer = await anyone.post("/forgot", email="a@example.org")
    assert answer.status == 200
    ((link_token, _),) = services.accounts.reset_tokens.items()
    page = await anyone.open(f"/reset-password?token={link_token}")
    assert page.headers["Referrer-Policy"] == "same-origin"
    short = await anyone.post("/reset-password", token=link_token, new_password="x")
    assert short.status == 400
    if anyone.is_program:
        assert short.error["field"] == "new_password"
    else:
        assert f'name="token" value="{link_token}"' in short.text
        assert 'aria-describedby="new_password-error new_password-hint"' in short.text
    set_ = await anyone.post("/reset-password", token=link_token, new_password=NEW)
    assert services.accounts.passwords == {"a@example.org": NEW}
    assert services.accounts.sign_ins == {}
    assert sign_in_cookie(anyone) is None
    if anyone.is_program:
        assert set_.content == {"email": "a@example.org"}
    else:
        assert "Sign in with it." in (await anyone.get(set_.headers["Location"])).text
    again = await anyone.post("/reset-password", token=link_token, new_password=PASSWORD)
    assert again.status == 404
    assert services.accounts.passwords == {"a@example.org": NEW}
    assert (await sign_in(anyone, NEW)).status in (200, 303)


async def test_without_mail_the_page_says_whom_to_ask(anyone: Any, services: Any) -> None:
    services.accounts.mails = False
    answer = await anyone.get("/forgot")
    if anyone.is_program:
        assert answer.content["mails"] is False
    else:
        assert "sends no mail" in answer.text
        assert "<form" not in answer.text.partition("<main")[2]


async def test_too_many_attempts_say_when_to_come_back(anyone: Any, services: Any) -> None:
    await anyone.register()
    for path, fields in (
        ("/account/password", {"password": "x", "new_password": NEW}),
        ("/account/delete", {"password": "x"}),
    ):
        services.accounts.fail_next = AppError(
            StatusCode.RESOURCE_EXHAUSTED,
            "TOO_MANY_ATTEMPTS",
            "Too many attempts. Try again in 3 min.",
            retry_after_seconds="180",
        )
        answer = await anyone.post(path, **fields)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "180")
        if anyone.is_program:
            assert answer.error["reason"] == "TOO_MANY_ATTEMPTS"
        else:
            assert "Too many attempts. Try again in 3 min." in answer.text
