"""Named lists: making, choosing, ordering, noting, moving, undoing; for people and programs."""

import html
import random
import re
from typing import Any

import pytest

from fake_lists import account_id, other_id

EMAIL = "a@example.org"
FIRST, SECOND = account_id(EMAIL), other_id(2)


@pytest.fixture
async def owner(anyone: Any, services: Any) -> Any:
    """Somebody with the lists Watchlist (AAPL, MSFT, XOM) and Second (BRK.B)."""
    services.accounts.followed[EMAIL] = ["AAPL", "MSFT", "XOM"]
    services.accounts.make_list(EMAIL, SECOND, "Second", "BRK.B")
    await anyone.register()
    return anyone


def assert_done(person: Any, answer: Any, location: str) -> None:
    if person.is_program:
        assert answer.status == 200, answer.text
    else:
        assert (answer.status, answer.headers["Location"]) == (303, location), answer.text


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return html.unescape(found[1])


async def test_one_list_is_shown_and_all_are_offered(owner: Any) -> None:
    for path, shown, others in (
        ("/subscribeList", ["AAPL", "MSFT", "XOM"], ["BRK.B"]),
        (f"/subscribeList?list={SECOND}", ["BRK.B"], ["AAPL", "MSFT", "XOM"]),
    ):
        answer = await owner.get(path)
        if owner.is_program:
            assert [row["symbol"] for row in answer.content["subs"]] == shown
            assert answer.content["list"] == (FIRST if shown[0] == "AAPL" else SECOND)
            assert answer.content["lists"] == [
                {"id": FIRST, "name": "Watchlist"},
                {"id": SECOND, "name": "Second"},
            ]
        else:
            assert all(f"<b>{each}</b>" in answer.text for each in shown)
            assert not any(f"<b>{each}</b>" in answer.text for each in others)
            current = re.findall(r'list=(\w+)" aria-current="page"', answer.text)
            assert current == [FIRST if shown[0] == "AAPL" else SECOND]
            assert f"/subscribeList?list={SECOND}" in answer.text


async def test_adding_is_to_the_list_that_is_shown(owner: Any, services: Any) -> None:
    answer = await owner.post("/subscriptions", symbol="AAPL", list=SECOND)
    if owner.is_program:
        assert (answer.status, answer.content) == (201, {"symbol": "AAPL", "created": True})
    else:
        assert answer.headers["Location"] == f"/subscribeList?list={SECOND}"
    assert services.accounts.more[EMAIL][SECOND] == ["BRK.B", "AAPL"]
    assert (await owner.post("/subscriptions", symbol="NONE", list=SECOND)).status == 404
    assert (await owner.post("/subscriptions", symbol="AAPL", list=other_id(9))).status == 404


@pytest.mark.parametrize(
    "path", ["/subscribeList?list=%s", "/lists/%s", "/lists/%s/import", "/lists/%s/export.csv"]
)
@pytest.mark.parametrize("list_id", [other_id(9), "nothing", "%00"])
async def test_a_list_of_nobody_or_somebody_else_is_404(
    owner: Any, services: Any, path: str, list_id: str
) -> None:
    services.accounts.make_list("b@example.org", other_id(9), "Theirs", "KO")
    answer = await owner.get(path % list_id)
    assert answer.status == 404
    assert "There is no such list." in answer.text


async def test_making_renaming_and_deleting(owner: Any, services: Any) -> None:
    made = await owner.post("/lists", name="Tech")
    list_id = list(services.accounts.names[EMAIL])[-1]
    if owner.is_program:
        assert (made.status, made.content) == (201, {"id": list_id, "name": "Tech"})
    else:
        assert made.headers["Location"] == f"/subscribeList?list={list_id}"
    assert_done(owner, await owner.post(f"/lists/{list_id}/rename", name="Technology"), "/lists")
    assert services.accounts.names[EMAIL][list_id] == "Technology"
    page = await owner.get("/lists")
    if owner.is_program:
        assert page.content["lists"][0] == {"id": FIRST, "name": "Watchlist", "count": 3}
    else:
        assert "<bdi>Technology</bdi>" in page.text
        assert "1 symbol ·" in page.text
    deleted = await owner.post(f"/lists/{list_id}/delete")
    assert deleted.status == 200
    assert list(services.accounts.names[EMAIL]) == [FIRST, SECOND]


async def test_a_bad_name_is_refused_beside_its_field(owner: Any, services: Any) -> None:
    for path, name, status, words in (
        ("/lists", "", 400, "1 to 60 characters"),
        ("/lists", "Second", 409, "already a list with the name Second"),
        (f"/lists/{FIRST}/rename", "Second", 409, "already a list"),
        (f"/lists/{FIRST}/rename", "<b>" * 30, 400, "1 to 60 characters"),
    ):
        answer = await owner.post(path, name=name)
        assert answer.status == status
        assert words in html.unescape(answer.text)
        if owner.is_program:
            assert answer.error["field"] == "name"
        else:
            assert answer.text.count('aria-invalid="true"') == 1
            assert "<b><b>" not in answer.text
    assert list(services.accounts.names[EMAIL].values()) == ["Watchlist", "Second"]


async def test_a_deleted_list_comes_back_in_its_place(owner: Any, services: Any) -> None:
    services.accounts.notes[EMAIL, FIRST, "MSFT"] = "a note"
    deleted = await owner.post(f"/lists/{FIRST}/delete")
    assert list(services.accounts.names[EMAIL]) == [SECOND]
    if owner.is_program:
        assert deleted.content["removed"] == ["AAPL", "MSFT", "XOM"]
        sealed = deleted.content["undo"]
    else:
        assert "The list Watchlist is deleted" in deleted.text
        sealed = hidden(deleted.text, "undo")
    services.accounts.notes.clear()
    undone = await owner.post("/undo", undo=sealed)
    assert_done(owner, undone, f"/subscribeList?list={FIRST}")
    assert list(services.accounts.names[EMAIL].items()) == [
        (FIRST, "Watchlist"),
        (SECOND, "Second"),
    ]
    assert services.accounts.followed[EMAIL] == ["AAPL", "MSFT", "XOM"]
    assert services.accounts.notes[EMAIL, FIRST, "MSFT"] == "a note"
    assert_done(owner, await owner.post("/undo", undo=sealed), f"/subscribeList?list={FIRST}")


async def test_the_last_list_stays(owner: Any, services: Any) -> None:
    await owner.post(f"/lists/{SECOND}/delete")
    answer = await owner.post(f"/lists/{FIRST}/delete")
    assert answer.status == 400
    assert "the only list" in answer.text
    assert services.accounts.followed[EMAIL] == ["AAPL", "MSFT", "XOM"]


@pytest.mark.parametrize("list_id", [FIRST, ""])
async def test_what_was_removed_comes_back_as_it_was(
    owner: Any, services: Any, list_id: str
) -> None:
    services.accounts.notes[EMAIL, FIRST, "MSFT"] = "a note & <more>"
    removed = await owner.post("/subscriptions/MSFT/delete", list=list_id)
    assert services.accounts.followed[EMAIL] == ["AAPL", "XOM"]
    if owner.is_program:
        assert removed.content["removed"] is True
        sealed = removed.content["undo"]
    else:
        assert removed.status == 303
        page = await owner.get(removed.headers["Location"])
        assert "MSFT was removed." in page.text
        assert 'action="/undo"' in page.text
        sealed = hidden(page.text, "undo")
    services.accounts.notes.clear()
    assert_done(owner, await owner.post("/undo", undo=sealed), f"/subscribeList?list={FIRST}")
    assert services.accounts.followed[EMAIL] == ["AAPL", "MSFT", "XOM"]
    assert services.accounts.notes[EMAIL, FIRST, "MSFT"] == "a note & <more>"


async def test_a_note_too_long_for_an_address_comes_back_too(browser: Any, services: Any) -> None:
    await browser.register()
    services.accounts.followed[EMAIL] = ["AAPL"]
    note = "".join(chr(0x4E00 + 7919 * n % 20000) for n in range(500))
    services.accounts.notes[EMAIL, FIRST, "AAPL"] = note
    removed = await browser.post("/subscriptions/AAPL/delete", list=FIRST)
    assert removed.status == 200
    services.accounts.notes.clear()
    assert (await browser.post("/undo", undo=hidden(removed.text, "undo"))).status == 303
    assert services.accounts.notes[EMAIL, FIRST, "AAPL"] == note


async def test_a_list_too_large_for_a_form_is_shown_to_be_kept(browser: Any, services: Any) -> None:
    await browser.register()
    services.accounts.make_list(EMAIL, SECOND, "Second", *(f"S{n}" for n in range(150)))
    letters = random.Random(7)  # noqa: S311 - text that can't be compressed
    for n in range(150):
        note = "".join(chr(letters.randrange(0x4E00, 0x9F00)) for _ in range(400))
        services.accounts.notes[EMAIL, SECOND, f"S{n}"] = note
    page = (await browser.post(f"/lists/{SECOND}/delete")).text
    assert 'name="undo"' not in page
    text = html.unescape(page.split("<textarea")[1].split(">", 1)[1].split("</textarea>")[0])
    assert text.split()[1].startswith("S0,,")
    assert text.count("\n") >= 150


@pytest.mark.parametrize("sealed", ["", "nonsense", "é", "gAAAAA" * 100])
async def test_what_was_not_offered_is_not_done(owner: Any, services: Any, sealed: str) -> None:
    services.accounts.calls.clear()
    answer = await owner.post("/undo", undo=sealed)
    assert answer.status == 400
    assert "be undone any longer" in html.unescape(answer.text)
    page = await owner.get(f"/subscribeList?undo={sealed}")
    assert page.status == 200
    assert "was removed" not in page.text
    assert set(services.accounts.calls) == {"BatchListSubscriptions"}


@pytest.mark.parametrize(
    ("symbol", "to", "order"),
    [
        ("XOM", "up", ["AAPL", "XOM", "MSFT"]),
        ("XOM", "top", ["XOM", "AAPL", "MSFT"]),
        ("AAPL", "down", ["MSFT", "AAPL", "XOM"]),
        ("AAPL", "up", ["AAPL", "MSFT", "XOM"]),
        ("XOM", "down", ["AAPL", "MSFT", "XOM"]),
    ],
)
async def test_steps_in_a_list(
    owner: Any, services: Any, symbol: str, to: str, order: list[str]
) -> None:
    answer = await owner.post(f"/lists/{FIRST}/subscriptions/{symbol}/move", to=to)
    assert_done(owner, answer, f"/lists/{FIRST}")
    assert services.accounts.followed[EMAIL] == order
    if owner.is_program:
        assert answer.content == {"list": FIRST, "symbols": order}


async def test_steps_that_lead_nowhere(owner: Any, services: Any) -> None:
    for path, to, status in (
        (f"/lists/{FIRST}/subscriptions/KO/move", "up", 404),
        (f"/lists/{FIRST}/subscriptions/AAPL/move", "sideways", 400),
        (f"/lists/{other_id(9)}/subscriptions/AAPL/move", "up", 404),
        (f"/lists/{other_id(9)}/move", "up", 404),
    ):
        assert (await owner.post(path, to=to)).status == status
    assert services.accounts.followed[EMAIL] == ["AAPL", "MSFT", "XOM"]


async def test_a_whole_order(owner: Any, services: Any) -> None:
    answer = await owner.post(f"/lists/{FIRST}/order", symbols="XOM AAPL")
    assert_done(owner, answer, f"/lists/{FIRST}")
    assert services.accounts.followed[EMAIL] == ["XOM", "AAPL", "MSFT"]
    assert (await owner.post(f"/lists/{FIRST}/order", symbols="XOM KO")).status == 404
    answer = await owner.post("/lists/order", lists=f"{SECOND} {FIRST}")
    assert_done(owner, answer, "/lists")
    assert list(services.accounts.names[EMAIL]) == [SECOND, FIRST]
    assert_done(owner, await owner.post(f"/lists/{FIRST}/move", to="top"), "/lists")
    assert list(services.accounts.names[EMAIL]) == [FIRST, SECOND]


async def test_notes(owner: Any, services: Any) -> None:
    path = f"/lists/{FIRST}/subscriptions/AAPL/note"
    assert_done(owner, await owner.post(path, note="<i>one</i>\ntwo"), f"/lists/{FIRST}")
    if owner.is_program:
        page = await owner.get("/subscribeList")
        assert [row["note"] for row in page.content["subs"]] == ["<i>one</i>\ntwo", "", ""]
        assert (await owner.get(f"/lists/{FIRST}")).content["subs"][0]["note"].endswith("two")
    else:
        for page in (await owner.get("/subscribeList"), await owner.get(f"/lists/{FIRST}")):
            assert "&lt;i&gt;one&lt;/i&gt; two" in " ".join(page.text.split())
    refused = await owner.post(path, note="x" * 501)
    assert refused.status == 400
    if not owner.is_program:
        assert "x" * 501 in refused.text  # what was typed isn't lost
        assert refused.text.count('aria-invalid="true"') == 1
    assert services.accounts.notes[EMAIL, FIRST, "AAPL"] == "<i>one</i>\ntwo"
    assert (await owner.post(f"/lists/{FIRST}/subscriptions/KO/note", note="x")).status == 404


async def test_moving_to_another_list(owner: Any, services: Any) -> None:
    path = f"/lists/{FIRST}/subscriptions/AAPL/list"
    answer = await owner.post(path, to_list=SECOND, next="/subscribeList")
    assert_done(owner, answer, "/subscribeList")
    assert services.accounts.followed[EMAIL] == ["MSFT", "XOM"]
    assert services.accounts.more[EMAIL][SECOND] == ["BRK.B", "AAPL"]
    assert (await owner.post(f"/lists/{FIRST}/subscriptions/XOM/list")).status == 400
    for target in (other_id(9), "x"):
        answer = await owner.post(f"/lists/{FIRST}/subscriptions/XOM/list", to_list=target)
        assert answer.status == 404


async def test_nothing_leads_to_another_site(browser: Any, services: Any) -> None:
    await browser.register()
    services.accounts.followed[EMAIL] = ["AAPL"]
    answer = await browser.post(
        f"/lists/{FIRST}/subscriptions/AAPL/note", note="x", next="//evil.example"
    )
    assert answer.headers["Location"] == "/subscribeList"


@pytest.mark.parametrize(
    "path",
    [
        "/lists",
        "/lists/order",
        f"/lists/{FIRST}/rename",
        f"/lists/{FIRST}/delete",
        f"/lists/{FIRST}/move",
        f"/lists/{FIRST}/order",
        f"/lists/{FIRST}/import",
        f"/lists/{FIRST}/import/commit",
        f"/lists/{FIRST}/subscriptions/AAPL/list",
        f"/lists/{FIRST}/subscriptions/AAPL/move",
        f"/lists/{FIRST}/subscriptions/AAPL/note",
        "/undo",
    ],
)
async def test_each_form_needs_its_token_and_a_sign_in(
    owner: Any, services: Any, path: str
) -> None:
    services.accounts.calls.clear()
    good, owner.token = owner.token, "wrong"
    fields = {"name": "X", "to": "top", "note": "x", "to_list": SECOND, "text": "KO"}
    assert (await owner.post(path, **fields)).status == 403
    assert not services.accounts.calls
    owner.token = good
    owner.client.session.cookie_jar.clear()
    assert (await owner.post(path, **fields)).status == (401 if owner.is_program else 303)
    assert not services.accounts.calls
