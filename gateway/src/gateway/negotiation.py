"""Which of HTML and JSON an Accept header asks for."""

import re
from functools import lru_cache

_Q_VALUE = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


@lru_cache(maxsize=256)
def prefers_json(accept: str) -> bool:
    """Tell whether JSON serves ``accept`` better than HTML (RFC 9110, section 12.5.1).

    Each type gets the q-value of the most specific range that matches it. Where both are equal,
    the one that is named more exactly wins, so ``application/json, */*`` is JSON; what is still
    equal, like ``*/*`` or no header at all, is HTML.
    """
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    json_quality = _quality(ranges, "application", "json")
    return json_quality[0] > 0 and json_quality > _quality(ranges, "text", "html")


def _media_range(part: str) -> tuple[str, str, float]:
    """Split one media range into type, subtype and q-value; an unreadable q counts as 0."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    kind, _, subtype = name.partition("/")
    quality = 1.0
    for parameter in parameters:
        key, _, value = (piece.strip() for piece in parameter.partition("="))
        if key == "q":
            quality = float(value) if _Q_VALUE.fullmatch(value) else 0.0
    return kind, subtype, quality


def _quality(ranges: list[tuple[str, str, float]], kind: str, subtype: str) -> tuple[float, int]:
    """Return q-value and exactness (2 named, 1 by type, 0 by ``*/*``) of one type."""
    best = (-1, 0.0)
    for range_kind, range_subtype, quality in ranges:
        if (range_kind, range_subtype) == (kind, subtype):
            best = max(best, (2, quality))
        elif (range_kind, range_subtype) == (kind, "*"):
            best = max(best, (1, quality))
        elif (range_kind, range_subtype) == ("*", "*"):
            best = max(best, (0, quality))
    exactness, quality = best
    return quality, exactness
