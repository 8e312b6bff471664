"""How pages look in one browser: light or dark, and the colour of what rises."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

# By the field of the form: the plain cookie that keeps it, and what it can be, the default first.
LOOKS = {
    "theme": ("foretick_theme", ("auto", "light", "dark")),
    "rise": ("foretick_rise", ("green", "red")),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was chosen: `theme` is "auto", "light" or "dark", `rise` is "green" or "red"."""

    theme: str
    rise: str


def look_of(cookies: Mapping[str, str]) -> Look:
    """Read the look from a request's cookies; what is none of the choices is the default."""
    return _look(*(cookies.get(cookie, "") for cookie, _ in LOOKS.values()))


@lru_cache(maxsize=64)
def _look(*values: str) -> Look:
    chosen = {}
    for (field, (_, choices)), value in zip(LOOKS.items(), values, strict=True):
        chosen[field] = value if value in choices else choices[0]
    return Look(**chosen)
