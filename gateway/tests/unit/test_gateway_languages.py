import re
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from babel.messages.pofile import read_po

import words
from gateway import wording
from gateway.languages import languages, preferred, speaking, spoken


@pytest.mark.parametrize(
    ("chosen", "accepted", "code"),
    [
        ("", "", "en"),
        ("", "de", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("", "zh-TW", "zh-Hans"),
        ("", "en-US,en;q=0.5,zh;q=0.3", "en"),
        ("", "de, zh;q=0.2, en;q=0.1", "zh-Hans"),
        ("", "zh;q=0, en;q=0.1", "en"),
        ("zh-Hans", "en", "zh-Hans"),
        ("en", "zh", "en"),
        ("../../etc", "zh", "zh-Hans"),
        ("", "zh;q=nonsense, ,;;=," * 50, "en"),
    ],
)
def test_a_choice_counts_before_what_the_browser_says(
    chosen: str, accepted: str, code: str
) -> None:
    assert preferred(chosen, accepted).code == code


def test_dates_are_written_in_the_language_that_is_spoken() -> None:
    assert spoken().code == "en"
    with speaking(languages()["zh-Hans"]):
        assert wording.day("2020-01-02") == "2020年1月2日 周四"
        assert wording.instant(datetime(2019, 12, 31, 21, 0, tzinfo=UTC)) == (
            "2019年12月31日 21:00 UTC"
        )
        assert wording.price(1234.5) == "1,234.50"
    assert wording.day("2020-01-02") == "Thu 2 Jan 2020"


def test_all_that_pages_say_has_been_translated() -> None:
    expected = {message.id for message in words.said() if message.id}
    for path in words.catalogues():
        with path.open("rb") as file:
            catalogue = read_po(file)
        translated = {message.id for message in catalogue if message.id and message.string}
        assert translated == expected, "run `make words` and translate what is new"
        for message in catalogue:
            for text in forms(message.string) if message.id else ():
                assert places(text) == places(forms(message.id)[-1]), message.id


def forms(text: str | Iterable[str] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or ())


def places(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sd]|%%", text))
