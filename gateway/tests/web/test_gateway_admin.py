"""Who administers, and who registers by leave of them."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from fake_lists import account_id
from foretick.subscription.v1 import subscription_pb2 as pb
from gateway.access import AccessPolicy, Permission, require_sign_in
from gateway.model import Account
from gateway.problems import SignedOutError

FORMS = (
    "/admin/invitations",
    "/admin/accounts/x/disable",
    "/admin/accounts/x/reset-link",
    "/admin/invitations/x/withdraw",
)


async def test_administration_is_for_administrators(anyone: Any, services: Any) -> None:
    services.accounts.passwords["first@example.org"] = "of the administrator"
    await anyone.register()
    services.accounts.calls.clear()
    answers = [await anyone.get("/admin"), *[await anyone.post(path) for path in FORMS]]
    for answer in answers:
        assert answer.status == 403
        assert "for administrators" in answer.text
    assert set(services.accounts.calls) == {"BatchListSubscriptions"}
    assert 'href="/admin"' not in (await anyone.get("/account")).text


async def test_an_administrator_disables_and_enables(anyone: Any, services: Any) -> None:
    await anyone.register()
    services.accounts.passwords["<b>@example.org"] = "of somebody else"
    theirs = account_id("<b>@example.org")
    for change, state in (("disable", "disabled"), ("enable", "active")):
        answer = await anyone.post(f"/admin/accounts/{theirs}/{change}")
        assert services.accounts.disabled == ({"<b>@example.org"} if change == "disable" else set())
        if anyone.is_program:
            assert bool(answer.content["disabled"]) is (change == "disable")
        else:
            page = await anyone.get(answer.headers["Location"])
            assert "&lt;b&gt;@example.org" in page.text
            assert state in page.text.partition("&lt;b&gt;")[2]


@pytest.mark.parametrize(("other", "status"), [(False, 400), (True, 404)])
async def test_what_an_administrator_cannot_do_is_said(
    anyone: Any, services: Any, other: bool, status: int
) -> None:
    await anyone.register()
    whom = "0" * 32 if other else account_id("a@example.org")
    answer = await anyone.post(f"/admin/accounts/{whom}/disable")
    assert answer.status == status
    assert ("There is no such account." if other else "Nobody would be left.") in answer.text
    assert services.accounts.disabled == set()


@pytest.mark.parametrize("email", ["", "friend@example.org"])
async def test_an_invitation_makes_one_account(anyone: Any, services: Any, email: str) -> None:
    await anyone.register()
    services.accounts.mode = pb.REGISTRATION_MODE_INVITATION
    answer = await anyone.post("/admin/invitations", email=email)
    assert answer.status == 201
    (token,) = services.accounts.invitations
    host = f"http://127.0.0.1:{anyone.client.port}"
    link = f"{host}/register?invitation={token}"
    if anyone.is_program:
        assert answer.content == {"link": link, "mailed": bool(email)}
    else:
        assert f'value="{link}"' in answer.text
        assert 'href="/admin" aria-current="page"' in answer.text
    # It is told this once.
    assert token not in (await anyone.get("/admin")).text
    anyone.client.session.cookie_jar.clear()
    page = await anyone.open(f"/register?invitation={token}")
    if anyone.is_program:
        assert page.content["registration"] == {"mode": "invitation", "allowed": True}
    else:
        assert f'value="{token}"' in page.text
        assert f'name="email" type="email" autocomplete="username" value="{email}"' in page.text
    form = {"email": "friend@example.org", "password": "a long enough one", "invitation": token}
    assert (await anyone.post("/register", **form)).status in (201, 303)
    assert services.accounts.invitations == {}


async def test_where_no_letters_are_sent_an_administrator_hands_links_over(
    anyone: Any, services: Any
) -> None:
    services.accounts.mails = False
    await anyone.register()
    services.accounts.passwords["b@example.org"] = "of somebody else"
    services.accounts.followed["b@example.org"] = []
    path = f"/admin/accounts/{account_id('b@example.org')}/reset-link"
    own = f"/admin/accounts/{account_id('a@example.org')}/reset-link"
    if not anyone.is_program:
        page = (await anyone.get("/admin")).text
        assert f'action="{path}"' in page
        assert own not in page
    assert (await anyone.post(path, csrf_token="forged")).status == 403
    assert services.accounts.reset_tokens == {}
    answer = await anyone.post(path)
    assert answer.status == 201
    (token,) = services.accounts.reset_tokens
    link = f"http://127.0.0.1:{anyone.client.port}/reset-password?token={token}"
    assert (answer.content == {"link": link}) if anyone.is_program else (link in answer.text)
    # It is told this once.
    assert token not in (await anyone.get("/admin")).text
    anyone.client.session.cookie_jar.clear()
    await anyone.open(f"/reset-password?token={token}")
    answer = await anyone.post("/reset-password", token=token, new_password="quite another one")
    assert answer.status in (200, 303)
    assert services.accounts.passwords["b@example.org"] == "quite another one"


async def test_where_letters_are_sent_nobody_makes_links_for_others(
    anyone: Any, services: Any
) -> None:
    await anyone.register()
    services.accounts.passwords["b@example.org"] = "of somebody else"
    assert "/reset-link" not in (await anyone.get("/admin")).text
    answer = await anyone.post(f"/admin/accounts/{account_id('b@example.org')}/reset-link")
    assert answer.status == 400
    assert "Letters are set up." in answer.text
    assert services.accounts.reset_tokens == {}


async def test_an_invitation_is_withdrawn(anyone: Any, services: Any) -> None:
    await anyone.register()
    await anyone.post("/admin/invitations", email="friend@example.org")
    (token,) = services.accounts.invitations
    invitation_id = services.accounts._invitation(token).invitation_id
    assert invitation_id in (await anyone.get("/admin")).text
    answer = await anyone.post(f"/admin/invitations/{invitation_id}/withdraw")
    assert answer.status in (200, 303)
    assert services.accounts.invitations == {}


async def test_a_bad_address_of_an_invitation_is_said_beside_its_field(
    anyone: Any, services: Any
) -> None:
    await anyone.register()
    answer = await anyone.post("/admin/invitations", email="nothing")
    assert answer.status == 400
    if anyone.is_program:
        assert answer.error["field"] == "email"
    else:
        assert 'aria-describedby="email-error email-hint"' in answer.text
        assert 'value="nothing"' in answer.text
    assert services.accounts.invitations == {}


@pytest.mark.parametrize("invitation", ["", "never-made"])
async def test_without_an_invitation_there_is_no_registering(
    anyone: Any, services: Any, invitation: str
) -> None:
    services.accounts.passwords["first@example.org"] = "of the administrator"
    services.accounts.mode = pb.REGISTRATION_MODE_INVITATION
    page = await anyone.get(f"/register?invitation={invitation}")
    if anyone.is_program:
        assert page.content["registration"] == {"mode": "invitation", "allowed": False}
    else:
        assert "Whoever has an invitation can register." in page.text
        assert 'action="/register"' not in page.text
        assert ("this one is used" in page.text) is bool(invitation)
    await anyone.open("/login")
    form = {"email": "b@example.org", "password": "a long enough one", "invitation": invitation}
    answer = await anyone.post("/register", **form)
    assert answer.status == (404 if invitation else 403)
    if anyone.is_program:
        assert answer.error["field"] == "invitation"
    else:
        assert 'id="invitation-error"' in answer.text
    assert list(services.accounts.passwords) == ["first@example.org"]


async def test_the_first_account_is_told_that_it_administers(browser: Any, services: Any) -> None:
    assert "the administrator" in (await browser.get("/register")).text
    services.accounts.passwords["first@example.org"] = "of the administrator"
    assert "the administrator" not in (await browser.get("/register")).text


@pytest.mark.parametrize(
    ("identity", "account", "permission", "is_permitted"),
    [
        ("me:1", None, Permission.OWN, True),
        (None, None, Permission.OWN, False),
        ("malformed", None, Permission.OWN, False),
        ("me:1", None, "own", False),
        ("me:1", None, Permission.ADMINISTER, False),
        ("me:1", Account("me", "", None, True, None), Permission.ADMINISTER, True),
        ("me:1", Account("me", "", None, False, None), Permission.ADMINISTER, False),
        ("me:1", Account("you", "", None, True, None), Permission.ADMINISTER, False),
        (None, Account("me", "", None, True, None), Permission.ADMINISTER, False),
    ],
)
async def test_the_policy(
    identity: str | None, account: Account | None, permission: Any, is_permitted: bool
) -> None:
    assert await AccessPolicy().permits(identity, permission, account) is is_permitted


async def test_where_no_policy_is_in_place_nobody_is_signed_in() -> None:
    with pytest.raises(SignedOutError):
        await require_sign_in(make_mocked_request("GET", "/", app=web.Application()))
