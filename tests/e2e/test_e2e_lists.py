"""Lists through all processes: import, export, remove, undo."""

import csv
import html
import io
import re
from collections.abc import Callable

from stack import Stack, Visitor

TEXT = "symbol;note\r\nKO;=cola\r\nmsft;\r\nZZZZ;\r\nnot a symbol;\r\nXOM;Öl und 石油\r\n"


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return html.unescape(found[1])


async def test_import_export_remove_undo(
    csv_stack: Stack, visitors: Callable[[Stack], Visitor]
) -> None:
    visitor = visitors(csv_stack)
    await visitor.register("lise@example.org")
    token = await visitor.token("/lists")

    async def send(path: str, **fields: str) -> tuple[int, str, str]:
        return await visitor.post(path, {"csrf_token": token, **fields}, json=False)

    async def rows(list_id: str) -> list[tuple[str, str]]:
        status, page = await visitor.get(f"/lists/{list_id}/export.csv")
        assert status == 200, page
        read = csv.DictReader(io.StringIO(page))
        return [(row["symbol"], row["note"]) for row in read]

    status, text, location = await send("/lists", name="Öl & Cola")
    assert status == 303, text
    list_id = location.removeprefix("/subscribeList?list=")

    status, page, _ = await send(f"/lists/{list_id}/import", text=TEXT)
    assert status == 200, page
    assert "3 symbols can be imported" in page
    assert [line[0] for line in re.findall(r'<td class="number">(\d+)</td>(.*)', page)] == [
        "4",
        "5",
        "2",
        "3",
        "6",
    ]
    assert await rows(list_id) == []

    status, page, _ = await send(f"/lists/{list_id}/import/commit", text=hidden(page, "text"))
    assert status == 200, page
    assert "3 symbols were added." in page
    kept = [("KO", "'=cola"), ("MSFT", ""), ("XOM", "Öl und 石油")]
    assert await rows(list_id) == kept
    before = await visitor.page(f"/lists/{list_id}")

    status, text, location = await send("/subscriptions/MSFT/delete", list=list_id)
    assert status == 303, text
    assert await rows(list_id) == [kept[0], kept[2]]
    page = await visitor.page(location)
    assert "MSFT was removed." in page
    assert (await send("/undo", undo=hidden(page, "undo")))[0] == 303
    assert await rows(list_id) == kept
    assert await visitor.page(f"/lists/{list_id}") == before

    status, page, _ = await send(f"/lists/{list_id}/delete")
    assert status == 200, page
    assert (await visitor.get(f"/lists/{list_id}"))[0] == 404
    assert (await send("/undo", undo=hidden(page, "undo")))[0] == 303
    assert await rows(list_id) == kept
    assert await visitor.page(f"/lists/{list_id}") == before
