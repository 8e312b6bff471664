import json
import time
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.app import create_app
from gateway.key_files import session_keys
from gateway.settings import GatewaySettings

SIGN_IN, FLOW = "foretick_sign_in", "foretick_flow"


def cookie(answer: Any, name: str) -> Any:
    assert isinstance(answer.cookies, SimpleCookie)
    return answer.cookies[name]


async def test_html_leads_to_the_page_asked_for(browser: Any) -> None:
    registered = await browser.register()
    assert (registered.status, registered.headers["Location"]) == (303, "/subscribeList")
    out = await browser.post("/logout")
    assert (out.status, out.headers["Location"]) == (303, "/login")
    assert (await browser.get("/subscribeList")).status == 303
    form = await browser.open("/login?next=/subscribeList?page=2")
    assert 'name="next" value="/subscribeList?page=2"' in form.text
    answer = await browser.post(
        "/login", email="a@example.org", password="a long enough one", next="/subscribeList?page=2"
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/subscribeList?page=2")
    assert (await browser.get("/login")).headers["Location"] == "/subscribeList"
    assert (await browser.get("/")).headers["Location"] == "/subscribeList"


async def test_programs_register_and_sign_in_by_json(program: Any) -> None:
    registered = await program.register()
    assert registered.status == 201
    assert registered.content["email"] == "a@example.org"
    program.token = registered.token
    assert (await program.post("/logout")).content == {"signedOut": True}
    assert (await program.get("/subscribeList")).status == 401
    await program.open("/login")
    answer = await program.post("/login", email="a@example.org", password="a long enough one")
    assert answer.status == 200
    program.token = answer.token
    assert (await program.post("/subscriptions", symbol="AAPL")).status == 201


async def test_the_sign_in_cookie_is_closed_to_scripts_and_other_sites(browser: Any) -> None:
    made = cookie(await browser.register(), SIGN_IN)
    assert made["httponly"]
    assert made["samesite"] == "Lax"
    assert made["path"] == "/"
    assert not made["secure"]
    assert not made["max-age"]
    assert "a@example.org" not in made.value


async def test_cookies_are_secure_and_hsts_is_sent_where_the_settings_say_so(
    settings: GatewaySettings, aiohttp_client: Any
) -> None:
    secure = settings.model_copy(update={"secure_cookies": True})
    client: TestClient[web.Request, web.Application] = await aiohttp_client(create_app(secure))
    response = await client.get("/login")
    assert response.cookies[f"__Host-{FLOW}"]["secure"]
    assert response.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_the_flow_cookie_is_short_lived_and_kept_while_forms_are_open(browser: Any) -> None:
    first = cookie(await browser.open("/login"), FLOW)
    assert first["httponly"]
    assert first["samesite"] == "Lax"
    assert int(first["max-age"]) == 3600
    token = browser.token
    second = cookie(await browser.open("/register"), FLOW)
    assert (second.value, browser.token) == (first.value, token)


async def test_each_sign_in_has_an_id_of_its_own_and_ends_the_former_one(
    program: Any, services: Any
) -> None:
    first = await program.register()
    (first_id,) = services.accounts.sign_ins
    await program.open("/login")
    second = await program.post("/login", email="a@example.org", password="a long enough one")
    (second_id,) = services.accounts.sign_ins
    assert first_id != second_id
    assert cookie(first, SIGN_IN).value != cookie(second, SIGN_IN).value
    program.token = first.token
    assert (await program.post("/subscriptions", symbol="AAPL")).status == 403
    program.token = second.token
    assert (await program.post("/subscriptions", symbol="AAPL")).status == 201


async def test_a_sign_in_that_the_service_has_ended_is_forgotten(
    anyone: Any, services: Any
) -> None:
    await anyone.register()
    services.accounts.sign_ins.clear()
    answer = await anyone.get("/account/devices")
    if anyone.is_program:
        assert (answer.status, answer.error["reason"]) == (401, "SIGN_IN_REQUIRED")
    else:
        leads_to = "/login?next=%2Faccount%2Fdevices"
        assert (answer.status, answer.headers["Location"]) == (303, leads_to)
    assert cookie(answer, SIGN_IN).value == ""
    assert (await anyone.get("/login")).status == 200


async def test_an_ended_sign_in_is_noticed_by_every_form(program: Any, services: Any) -> None:
    await program.register()
    services.accounts.sign_ins.clear()
    answer = await program.post("/subscriptions", symbol="AAPL")
    assert (answer.status, answer.error["reason"]) == (401, "SIGN_IN_REQUIRED")


async def test_the_session_is_written_only_when_it_changes(browser: Any) -> None:
    await browser.register()
    assert SIGN_IN not in (await browser.get("/subscribeList")).cookies


async def test_sign_ins_survive_a_restart(
    settings: GatewaySettings, aiohttp_client: Any, tmp_path: Path, program: Any
) -> None:
    made = cookie(await program.register(), SIGN_IN)
    again: TestClient[web.Request, web.Application] = await aiohttp_client(create_app(settings))
    response = await again.get(
        "/subscribeList",
        headers={"Accept": "application/json", "Cookie": f"{SIGN_IN}={made.value}"},
    )
    assert response.status == 200
    assert (await response.json())["csrf_token"] == program.token


async def test_signing_out_while_the_service_is_down_forgets_the_cookie_at_least(
    program: Any, services: Any
) -> None:
    await program.register()
    await services.stop("subscription")
    answer = await program.post("/logout")
    assert answer.status == 503
    assert "This browser is signed out" in answer.error["message"]
    assert cookie(answer, SIGN_IN).value == ""


async def test_the_request_id_reaches_the_services(program: Any, services: Any) -> None:
    await program.register()
    services.accounts.request_ids.clear()
    answer = await program.get("/account/devices")
    assert services.accounts.request_ids == {answer.headers["X-Request-ID"]}


async def test_nothing_of_the_former_cookie_survives_a_sign_in(
    program: Any, settings: GatewaySettings
) -> None:
    keys = session_keys(settings.data_dir)
    former = {"created": int(time.time()), "session": {"identity": "x:y", "planted": "by others"}}
    planted = keys.encrypt(json.dumps(former).encode()).decode()
    program.client.session.cookie_jar.update_cookies({SIGN_IN: planted})
    made = cookie(await program.register(), SIGN_IN)
    content = json.loads(keys.decrypt(made.value))
    assert list(content["session"]) == ["identity"]
    assert content["session"]["identity"] != "x:y"


@pytest.mark.parametrize("identity", ["", "account", "a:b:c", "a:", ":b", "ä:b", 7, None, ["a"]])
async def test_a_malformed_identity_is_anonymous(
    program: Any, settings: GatewaySettings, services: Any, identity: object
) -> None:
    content = {"created": int(time.time()), "session": {"identity": identity}}
    token = session_keys(settings.data_dir).encrypt(json.dumps(content).encode()).decode()
    program.client.session.cookie_jar.update_cookies({SIGN_IN: token})
    answer = await program.get("/subscribeList")
    assert (answer.status, answer.error["reason"]) == (401, "SIGN_IN_REQUIRED")
    assert not services.accounts.calls
