"""Every page in a language that marks its words: whatever stands outside of the marks is data."""

import gettext
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from babel import Locale

import words
from gateway import languages as module
from gateway.languages import LANGUAGE_COOKIE, Language

PAGES = (
    "/login",
    "/register",
    "/forgot",
    "/reset-password?token=none",
    "/nowhere",
    "/subscribeList",
    "/search?q=App",
    "/lists",
    "/account",
    "/account/devices",
    "/account/log",
    "/account/delete",
    "/admin",
    "/symbols/AAPL",
    "/symbols/NOSUCH",
    "/track-record",
    "/track-record?basis=backtest",
    "/track-record/words",
    "/ledger/1",
)
# Names, codes and units, which are the same in every language.
DATA = {
    *("Foretick", "English", "简体中文", "Marked", "JSON", "CSV", "UTC", "USD", "XNAS"),
    *("AAPL", "MSFT", "XOM", "BRK.B", "GSPC", "NOSUCH", "Apple", "Inc", "Watchlist"),
    *("a@example.org", "Python", "TradingView", "Lightweight", "Charts"),
}
SHOWN = ("aria-label", "title", "placeholder", "alt", "data-label")
MARKED = re.compile(r"⟦[^⟦⟧]*⟧")


class Marked(gettext.NullTranslations):
    """Marks what a catalogue would have to translate."""

    def __init__(self) -> None:
        super().__init__()
        self._known = {
            text
            for message in words.said()
            for text in (message.id if isinstance(message.id, tuple) else (message.id,))
        }

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧" if message in self._known else message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


class Texts(HTMLParser):
    """All that is shown or read out, but the sentences in code."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within.append(tag)
        self.texts += [value for name, value in attrs if name in SHOWN and value]

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style", "code"} & set(self._within):
            self.texts.append(data)


def unmarked(page: str) -> list[str]:
    """Words outside of all marks; what stands inside of one may have marks itself."""
    parser = Texts()
    parser.feed(page)
    text = " ".join(parser.texts)
    while MARKED.search(text):
        text = MARKED.sub(" ", text)
    return [word for word in re.findall(r"[^\W\d_][\w@.'-]*[^\W_]", text) if word not in DATA]


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Language]:
    english, *others = module.languages().values()
    language = Language(
        code="x-marked",
        name="Marked",
        locale=Locale("en", "GB"),
        day_pattern="y-MM-dd",
        date_pattern="y-MM-dd",
        instant_pattern="y-MM-dd HH:mm",
        words=Marked(),
    )
    known = {each.code: each for each in (english, language, *others)}
    monkeypatch.setattr(module, "languages", lambda: known)
    module.preferred.cache_clear()
    yield language
    module.preferred.cache_clear()


async def test_whatever_a_page_says_can_be_translated(browser: Any, marked: Language) -> None:
    await browser.register()
    await browser.post("/subscriptions", symbol="AAPL")
    browser.client.session.cookie_jar.update_cookies({LANGUAGE_COOKIE: marked.code})
    left = {}
    for path in PAGES:
        answer = await browser.get(path)
        if answer.status != 303:
            assert "⟦" in answer.text, path
            left[path] = unmarked(answer.text)
    bad = {path: found for path, found in left.items() if found}
    assert not bad, "\n".join(f"{path}: {found}" for path, found in bad.items())


def test_what_is_not_marked_is_found(marked: Language) -> None:
    assert replace(marked).words.gettext("Sign in first.") == "⟦Sign in first.⟧"
    page = '<p title="Held back">⟦One ⟦two⟧ three⟧ AAPL <b>left out</b></p><code>x y</code>'
    assert unmarked(page) == ["Held", "back", "left", "out"]
