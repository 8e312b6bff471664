"""What a note beside a symbol may be, the same in every service."""

import unicodedata

MAX_NOTE = 500
_MAX_RAW = 4 * MAX_NOTE  # at most four code points compose into one
CONTROLS = frozenset({"Cc", "Zl", "Zp"})  # Unicode's categories: controls, separators of lines


def parse_note(text: str) -> str:
    """The note in its one spelling: NFC, newlines as \\n, no space around it.

    Raises ValueError, in a sentence for people, where it cannot be one.
    """
    lines = text[: _MAX_RAW + 1].replace("\r\n", "\n").replace("\r", "\n")
    note = unicodedata.normalize("NFC", lines).strip()
    if len(note) > MAX_NOTE or len(text) > _MAX_RAW:
        raise ValueError(f"A note has at most {MAX_NOTE} characters.")
    if any(unicodedata.category(each) in CONTROLS for each in note.replace("\n", "")):
        raise ValueError("A note has no control characters but line breaks.")
    return note
