"""Pages of a list, and the opaque tokens that lead from one to the next."""

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class PageTokenInvalid(ValueError):  # noqa: N818 - what it says of the token
    """The token is not one that was given out for this list."""


def page(items: Sequence[T], size: int, token: str, listing: str) -> tuple[Sequence[T], str]:
    """One page of `items` and the token of the next, empty after the last.

    `listing` says what was asked for; a token leads on in that listing only. Raises
    PageTokenInvalid for any other.
    """
    begin = _offset(token, listing) if token else 0
    end = begin + size
    return items[begin:end], _token(end, listing) if end < len(items) else ""


def _token(offset: int, listing: str) -> str:
    text = f"{offset}.{zlib.crc32(listing.encode())}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _offset(token: str, listing: str) -> int:
    try:
        offset = int(base64.urlsafe_b64decode(token.encode()).split(b".")[0])
    except (ValueError, binascii.Error) as error:
        raise PageTokenInvalid from error
    if offset < 1 or token != _token(offset, listing):
        raise PageTokenInvalid
    return offset
