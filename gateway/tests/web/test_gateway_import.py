"""Importing in two steps, and exporting."""

import html
import re
from typing import Any

import pytest
from aiohttp import FormData

from fake_lists import account_id

EMAIL = "a@example.org"
FIRST = account_id(EMAIL)
PREVIEW, COMMIT = f"/lists/{FIRST}/import", f"/lists/{FIRST}/import/commit"
TEXT = "symbol;note\r\nAAPL;=apples\r\nmsft;\r\n\r\nNONE;x\r\na b;\r\nKO;cola\r\nXOM;\r\n"


@pytest.fixture
async def owner(anyone: Any, services: Any) -> Any:
    """Somebody who follows XOM; the prices of KO are yet to be fetched."""
    await anyone.register()
    services.accounts.followed[EMAIL] = ["XOM"]
    services.quotes.pending["KO"] = 10
    return anyone


def follows(services: Any) -> list[str]:
    return list(services.accounts.followed[EMAIL])


def cells(page: str) -> list[list[str]]:
    """The text of the cells of each row."""
    rows = re.findall(r"<tr>(<td.*?)</tr>", page, re.DOTALL)
    return [
        [html.unescape(re.sub(r"<.*?>", "", each)) for each in re.findall(r"<td.*?</td>", row)]
        for row in rows
    ]


async def upload(person: Any, path: str, content: bytes) -> Any:
    form = FormData(default_to_multipart=True)
    form.add_field("csrf_token", person.token)
    form.add_field("file", content, filename="mine.csv", content_type="text/csv")
    return await person.client.post(path, data=form, headers=person.headers, allow_redirects=False)


async def test_a_preview_says_it_all_and_stores_nothing(owner: Any, services: Any) -> None:
    services.quotes.calls.clear()
    answer = await owner.post(PREVIEW, text=TEXT)
    assert answer.status == 200
    assert services.quotes.calls["BatchGetQuotes"] == 1
    assert follows(services) == ["XOM"]
    assert services.accounts.calls["ImportSubscriptions"] == 0
    if owner.is_program:
        assert answer.content["bad"] == [
            {"line": 5, "text": "NONE", "message": "NONE is not traded on this market."},
            {"line": 6, "text": "a b, ", "message": "This is not a symbol."},
        ]
        lines = answer.content["lines"]
        assert [(each["line"], each["symbol"], each["name"]) for each in lines] == [
            (2, "AAPL", "Apple Inc."),
            (3, "MSFT", "Microsoft Corporation"),
            (7, "KO", None),
            (8, "XOM", "Exxon Mobil"),
        ]
        assert [each["pending"] for each in lines] == [False, False, True, False]
        assert [each["alreadyThere"] for each in lines] == [False, False, False, True]
    else:
        assert "2 lines can't be imported" in html.unescape(answer.text)
        assert "3 symbols can be imported" in answer.text
        assert cells(answer.text) == [
            ["5", "NONE", "NONE is not traded on this market."],
            ["6", "a b, ", "This is not a symbol."],
            ["2", "AAPL", "Apple Inc.", "=apples", "new"],
            ["3", "MSFT", "Microsoft Corporation", "", "new"],
            ["7", "KO", "", "cola", "its prices are being fetched"],
            ["8", "XOM", "Exxon Mobil", "", "in the list already"],
        ]


async def test_what_was_shown_is_what_is_imported(owner: Any, services: Any) -> None:
    answer = await owner.post(PREVIEW, text=TEXT)
    if owner.is_program:
        text = answer.content["text"]
    else:
        found = re.search(r'name="text" value="([^"]*)"', answer.text)
        assert found
        text = html.unescape(found[1])
    done = await owner.post(COMMIT, text=text)
    assert done.status == 200
    assert follows(services) == ["XOM", "AAPL", "MSFT", "KO"]
    assert services.accounts.notes[EMAIL, FIRST, "AAPL"] == "=apples"
    if owner.is_program:
        assert done.content["added"] == ["AAPL", "MSFT", "KO"]
        assert done.content["refused"] == done.content["bad"] == []
    else:
        assert "3 symbols were added." in done.text
    again = await owner.post(COMMIT, text=text)
    assert follows(services) == ["XOM", "AAPL", "MSFT", "KO"]
    if owner.is_program:
        assert again.content["alreadyThere"] == ["AAPL", "MSFT", "KO"]


async def test_what_is_sent_is_checked_again(owner: Any, services: Any) -> None:
    services.accounts.limit = 2
    done = await owner.post(COMMIT, text=TEXT)
    assert follows(services) == ["XOM", "AAPL"]
    if owner.is_program:
        assert [each["symbol"] for each in done.content["refused"]] == ["MSFT", "KO"]
        assert [each["line"] for each in done.content["bad"]] == [5, 6]
    else:
        for words in (
            "1 symbol was added.",
            "1 was in the list already.",
            "The list is full.",
            "NONE",
        ):
            assert words in done.text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_a_file_is_read_as_well(owner: Any, services: Any, encoding: str) -> None:
    response = await upload(owner, PREVIEW, "symbol,note\nAAPL,苹果\n".encode(encoding))
    text = await response.text()
    assert response.status == 200
    assert "苹果" in text
    assert "AAPL" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xe9\xe8", "UTF-8"), (b"\n\n", "no symbol in it"), (b"A\n" * 2001, "2000 lines")],
)
async def test_what_is_no_list_is_400(owner: Any, content: bytes, words: str) -> None:
    response = await upload(owner, PREVIEW, content)
    assert response.status == 400
    assert words in await response.text()


async def test_what_grows_too_large_to_be_sent_twice_is_400(owner: Any) -> None:
    response = await upload(owner, PREVIEW, ("AAPL," + "苹" * 25_000).encode("utf-16"))
    assert response.status == 400
    assert "too large" in await response.text()
    assert (await upload(owner, PREVIEW, b"A" * 70_000)).status == 413


async def test_as_much_as_is_allowed_comes_through_both_steps(owner: Any, services: Any) -> None:
    services.accounts.limit = 1000
    services.quotes.pending.update({f"S{n}": 9 for n in range(500)})
    text = "\n".join(f"S{n},{'苹' * 30}" for n in range(500))
    response = await upload(owner, PREVIEW, text.encode())
    assert response.status == 200
    page = await response.text()
    found = re.search(r'name="text" value="([^"]*)"', page)
    again = (
        (await response.json())["text"]
        if owner.is_program
        else html.unescape(found[1] if found else "")
    )
    response = await upload(owner, COMMIT, again.encode())
    assert response.status == 200
    assert len(follows(services)) == 501


async def test_without_prices_nothing_is_checked_and_nothing_stored(
    owner: Any, services: Any
) -> None:
    await services.stop("quote")
    for path in (PREVIEW, COMMIT):
        answer = await owner.post(path, text="AAPL")
        assert answer.status == 503
        assert "quote-svc" in answer.text
    assert follows(services) == ["XOM"]


async def test_a_symbol_that_the_source_does_not_answer_for_is_named(
    owner: Any, services: Any
) -> None:
    services.quotes.failing["AAPL"] = "SOURCE_RATE_LIMITED"
    answer = await owner.post(PREVIEW, text="MSFT\nAAPL")
    assert "Later." in answer.text
    await owner.post(COMMIT, text="MSFT\nAAPL")
    assert follows(services) == ["XOM", "MSFT"]


async def test_an_export_is_a_file_that_can_be_imported(owner: Any, services: Any) -> None:
    services.accounts.followed[EMAIL] = ["AAPL", "KO"]
    services.accounts.names[EMAIL] = {FIRST: "自选 'A/B'"}
    services.accounts.notes[EMAIL, FIRST, "KO"] = '=HYPERLINK("x")\n苹果'
    answer = await owner.get(f"/lists/{FIRST}/export.csv")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename=watchlist.csv; filename*=UTF-8''%E8%87%AA")
    assert "/" not in disposition
    assert answer.text.replace("\r\n", "\n") == (
        'symbol,name,note\nAAPL,Apple Inc.,\nKO,,"\'=HYPERLINK(""x"")\n苹果"\n'
    )
    services.accounts.followed[EMAIL] = []
    services.accounts.notes.clear()
    await owner.post(COMMIT, text=answer.text)
    assert follows(services) == ["AAPL", "KO"]
    assert services.accounts.notes[EMAIL, FIRST, "KO"] == '=HYPERLINK("x")\n苹果'


async def test_an_export_needs_no_prices(owner: Any, services: Any) -> None:
    await services.stop("quote")
    answer = await owner.get(f"/lists/{FIRST}/export.csv")
    assert answer.text.split() == ["symbol,name,note", "XOM,,"]
    services.accounts.followed[EMAIL] = []
    assert (await owner.get(f"/lists/{FIRST}/export.csv")).text.split() == ["symbol,name,note"]
