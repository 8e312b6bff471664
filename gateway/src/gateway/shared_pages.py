"""Pages that are the same for many: rendered and compressed once, and made each person's own."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from markupsafe import escape

from gateway.assets import TAKES_GZIP
from gateway.keeping import PAGES
from gateway.languages import spoken
from gateway.model import Account
from gateway.pages import frame, part

# Private characters that no text of ours has; they stand for what a page says to one person alone.
_EMAIL, _TOKEN = "\ue000email\ue000", "\ue000token\ue000"
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_RAW_DEFLATE = -15


@dataclass(frozen=True, slots=True)
class SharedPage:
    """The beginning of a page, with places for a person, and the rest, also compressed."""

    beginning: str
    rest: bytes
    packed_rest: bytes


def shared_page(  # noqa: PLR0913 - all by name
    request: web.Request,
    template: str,
    *,
    made_of: tuple[object, ...],
    context: Callable[[], dict[str, Any]],
    account: Account | None,
    csrf_token: str | None,
    kind: str = "",
) -> web.Response:
    """Answer with a page that is rendered once for all who see the same.

    It is rendered anew where something in ``made_of`` is another object, or another text; then
    ``context`` is called. Address and token are put in for each person; who sees another ``kind``
    of the page has another one.
    """
    around = frame(request)
    administers = account is not None and account.administrator
    key = (
        template,
        request.path_qs,
        spoken().code,
        around["look"],
        account is None,
        administers,
        kind,
    )

    def render() -> SharedPage:
        if account is not None:
            person = replace(account, account_id="", email=_EMAIL)
            around.update(email=_EMAIL, account=person, csrf_token=_TOKEN)
        return _split(str(part(request, template, **around, **context())))

    page = request.app[PAGES].get(key, made_of, render)
    beginning = page.beginning
    if account is not None:
        beginning = beginning.replace(_EMAIL, str(escape(account.email)))
        beginning = beginning.replace(_TOKEN, csrf_token or "")
    response = web.Response(content_type="text/html", charset="utf-8")
    if TAKES_GZIP.search(request.headers.get("Accept-Encoding", "")):
        response.headers["Content-Encoding"] = "gzip"
        response.body = gzip_joined(beginning.encode(), page)
    else:
        response.body = beginning.encode() + page.rest
    return response


def _split(text: str) -> SharedPage:
    ends = (text.rfind(mark) + len(mark) for mark in (_EMAIL, _TOKEN) if mark in text)
    place = max(ends, default=0)
    rest = text[place:].encode()
    packer = zlib.compressobj(wbits=_RAW_DEFLATE)
    return SharedPage(text[:place], rest, packer.compress(rest) + packer.flush())


def gzip_joined(beginning: bytes, page: SharedPage) -> bytes:
    """Compress a beginning and join it to a page's rest, as one member of gzip (RFC 1952).

    After a full flush nothing refers back, so the rest can be compressed beforehand.
    """
    packer = zlib.compressobj(wbits=_RAW_DEFLATE)
    packed = packer.compress(beginning) + packer.flush(zlib.Z_FULL_FLUSH)
    check = zlib.crc32(page.rest, zlib.crc32(beginning))
    size = (len(beginning) + len(page.rest)) & 0xFFFFFFFF
    return b"".join((_GZIP_HEADER, packed, page.packed_rest, struct.pack("<II", check, size)))
