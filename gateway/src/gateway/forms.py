"""Reading forms: urlencoded or multipart, small, and text that every page can show again."""

import zlib

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.problems import RequestError

MAX_BODY_BYTES = 64 * 1024
MAX_QUERY_BYTES = 1024
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

# What aiohttp and Python's codecs raise for bodies and charsets that are broken.
_UNREADABLE = (
    ValueError,
    LookupError,
    RuntimeError,
    zlib.error,
    HttpProcessingError,
    web.RequestPayloadError,
)


def query_text(request: web.Request, name: str) -> str:
    """Return a parameter of the address; empty where it is missing, too long or no text."""
    value = request.query.get(name, "")
    try:
        return value if len(value.encode()) <= MAX_QUERY_BYTES else ""
    except UnicodeEncodeError:
        return ""


class Form:
    """The fields of one form."""

    def __init__(self, fields: dict[str, str | web.FileField]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """Return the field, empty where it is missing; raises `RequestError` 400 for no text."""
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise RequestError(400, "FIELD_MALFORMED", f"{name} must be text, not a file.", name)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            message = f"{name} has characters that are none."
            raise RequestError(400, "FIELD_MALFORMED", message, name) from error
        return value

    def upload(self, name: str) -> bytes:
        """Return the content of a file, empty where none was chosen."""
        value = self._fields.get(name, "")
        return value.file.read() if isinstance(value, web.FileField) else b""


async def read_form(request: web.Request) -> Form:
    """Read the request's form, the first value of each field; it may be called again.

    Raises `RequestError` 415 for another content type and 400 for what can't be read;
    aiohttp raises 413 for a body above ``MAX_BODY_BYTES``.
    """
    if request.content_type not in FORM_TYPES and request.body_exists:
        message = f"Send a form as {' or '.join(FORM_TYPES)}, not {request.content_type[:80]}."
        raise RequestError(415, "UNSUPPORTED_MEDIA_TYPE", message)
    try:
        posted = await request.post()
    except _UNREADABLE as error:
        raise RequestError(400, "FORM_MALFORMED", "The form can't be read.") from error
    fields: dict[str, str | web.FileField] = {}
    for name, value in posted.items():
        if isinstance(value, str | web.FileField):
            fields.setdefault(name, value)
    return Form(fields)
