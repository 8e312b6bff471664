"""What people may write: names of lists, and notes."""

import unicodedata

from subscription_svc.refusals import FieldInvalidError

MAX_NAME = 60
MAX_NOTE = 500
# A code point composes from at most four, and NFKC takes one apart into at most 18.
_MAX_RAW = 4
_CONTROLS = {"Cc", "Zl", "Zp"}  # Unicode's categories: controls, and separators of lines


def parse_name(text: str) -> str:
    """A list's name in its one spelling (NFKC). Raises FieldInvalidError("name")."""
    name = unicodedata.normalize("NFKC", text[: _MAX_RAW * MAX_NAME + 1]).strip()
    if not 1 <= len(name) <= MAX_NAME or len(text) > _MAX_RAW * MAX_NAME:
        raise FieldInvalidError("name", f"The name of a list has 1 to {MAX_NAME} characters.")
    if not any(letter.isprintable() and not letter.isspace() for letter in name):
        raise FieldInvalidError("name", "The name of a list needs a character that can be seen.")
    _require_no_controls("name", name)
    return name


def name_key(name: str) -> str:
    """By what two names are the same: case-folded, which can take apart what was composed."""
    return unicodedata.normalize("NFKC", name.casefold())


def parse_note(text: str) -> str:
    """A note (NFC, newlines as \\n). Raises FieldInvalidError("note")."""
    lines = text[: _MAX_RAW * MAX_NOTE + 1].replace("\r\n", "\n").replace("\r", "\n")
    note = unicodedata.normalize("NFC", lines).strip()
    if len(note) > MAX_NOTE or len(text) > _MAX_RAW * MAX_NOTE:
        raise FieldInvalidError("note", f"A note has at most {MAX_NOTE} characters.")
    _require_no_controls("note", note.replace("\n", ""))
    return note


def _require_no_controls(field: str, text: str) -> None:
    for letter in text:
        if unicodedata.category(letter) in _CONTROLS:
            raise FieldInvalidError(
                field, f"The {field} has a control character, U+{ord(letter):04X}."
            )
