"""Bars as one compressed blob that shows by itself whether it is whole."""

import hashlib
import struct
import zlib
from dataclasses import fields
from typing import Any

import numpy as np

from quote_svc.market import Bars, Floats, Ints

_FORMAT = 1
# Magic, format, number of sessions; then the digest, then the compressed columns.
_HEAD = struct.Struct("<4sBI")
_MAGIC = b"FTKB"
_DIGEST_BYTES = 16
_COLUMNS = tuple(column.name for column in fields(Bars))
_INTEGERS = frozenset({"session_days", "close_seconds"})
_WIDTH = 8


class BlobDamaged(ValueError):  # noqa: N818 - the state that it is in
    """The bytes are not what was written."""


def encoded(bars: Bars) -> bytes:
    """The columns one after the other, little-endian, their bytes by significance, in zlib."""
    head = _HEAD.pack(_MAGIC, _FORMAT, len(bars))
    body = b"".join(_shuffled(getattr(bars, name)) for name in _COLUMNS)
    return head + _digest(head, body) + zlib.compress(body, level=6)


def decoded(blob: bytes) -> Bars:
    """The bars of a blob; raises BlobDamaged."""
    head, digest = blob[: _HEAD.size], blob[_HEAD.size : _HEAD.size + _DIGEST_BYTES]
    try:
        magic, layout, sessions = _HEAD.unpack(head)
        body = zlib.decompress(blob[_HEAD.size + _DIGEST_BYTES :])
    except (struct.error, zlib.error) as error:
        raise BlobDamaged(str(error)) from error
    if (magic, layout) != (_MAGIC, _FORMAT) or _digest(head, body) != digest:
        raise BlobDamaged("the checksum does not fit")
    if len(body) != sessions * _WIDTH * len(_COLUMNS):
        raise BlobDamaged("the columns have another length")
    size = sessions * _WIDTH
    parts = (body[start : start + size] for start in range(0, size * len(_COLUMNS), size or 1))
    return Bars(*map(_column, _COLUMNS, parts if size else [b""] * len(_COLUMNS)))


def _digest(head: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(head + body, digest_size=_DIGEST_BYTES).digest()


def _shuffled(column: Floats | Ints) -> bytes:
    # All first bytes, then all second ones: neighbours resemble each other and pack better.
    little = np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<"), copy=False)
    return little.view(np.uint8).reshape(-1, _WIDTH).T.tobytes()


def _column(name: str, part: bytes) -> Any:
    dtype = np.dtype("<i8") if name in _INTEGERS else np.dtype("<f8")
    rows = np.frombuffer(part, np.uint8).reshape(_WIDTH, -1).T
    return np.ascontiguousarray(rows).view(dtype).reshape(-1)
