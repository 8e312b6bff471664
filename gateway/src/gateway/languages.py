"""The languages that pages speak: catalogues of words, and how numbers and dates are written."""

import gettext
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGE_COOKIE = "foretick_language"  # holds a code; no secret, and of no use to anybody else
_TAG = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,40})?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*"
)


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language: ``code`` as HTML names it, patterns of dates as CLDR writes them."""

    code: str
    name: str
    locale: Locale
    day_pattern: str
    date_pattern: str
    instant_pattern: str
    words: gettext.NullTranslations = field(default_factory=gettext.NullTranslations)


def _catalogue(code: str) -> gettext.NullTranslations:
    """Read a language's words; they are compiled here, so that no step is there to be forgotten."""
    text = files("gateway").joinpath("locale", code, "LC_MESSAGES", "messages.po").read_bytes()
    compiled = BytesIO()
    write_mo(compiled, read_po(BytesIO(text)))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@cache
def languages() -> Mapping[str, Language]:
    """All languages by their code; the first is what messages are written in."""
    english = Language(
        code="en",
        name="English",
        locale=Locale("en", "GB"),
        day_pattern="EEE d MMM y",
        date_pattern="d MMM y",
        instant_pattern="d MMM y, HH:mm 'UTC'",
    )
    chinese = Language(
        code="zh-Hans",
        name="简体中文",
        locale=Locale("zh", "CN", script="Hans"),
        day_pattern="y年M月d日 EEE",
        date_pattern="y年M月d日",
        instant_pattern="y年M月d日 HH:mm 'UTC'",
        words=_catalogue("zh_Hans"),
    )
    return {each.code: each for each in (english, chinese)}


_spoken: ContextVar[Language] = ContextVar("language")


def spoken() -> Language:
    """The language of the request that is being answered; English outside of any."""
    return _spoken.get(None) or next(iter(languages().values()))


def speak(language: Language) -> None:
    """Answer the request at hand in this language."""
    _spoken.set(language)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Write what is written inside of the block in this language."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def _(message: str) -> str:
    """Return the message in the language that is spoken."""
    return spoken().words.gettext(message)


def ngettext(singular: str, plural: str, count: int) -> str:
    """Return the form for so many, in the language that is spoken."""
    return spoken().words.ngettext(singular, plural, count)


def N_(message: str) -> str:  # noqa: N802 - the name that extraction looks for
    """Mark a message that is translated where it is shown."""
    return message


@lru_cache(maxsize=256)
def preferred(chosen: str, accepted: str) -> Language:
    """Return the language that somebody chose, else the best of an Accept-Language header."""
    known = languages()
    if chosen in known:
        return known[chosen]
    wanted: list[tuple[float, str]] = []
    for part in accepted[:500].split(","):
        match = _TAG.fullmatch(part)
        if match:
            wanted.append((float(match[2] or 1), match[1].lower()))
    for quality, primary in sorted(wanted, key=lambda each: -each[0]):
        for language in known.values():
            if quality > 0 and primary == language.locale.language:
                return language
    return next(iter(known.values()))
