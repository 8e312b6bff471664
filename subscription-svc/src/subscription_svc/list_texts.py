"""Names of lists."""

import unicodedata

from foretick_rpc.notes import CONTROLS
from subscription_svc.refusals import FieldInvalidError

MAX_NAME = 60
_MAX_RAW = 4 * MAX_NAME  # at most four code points compose into one


def parse_name(text: str) -> str:
    """A list's name in its one spelling (NFKC). Raises FieldInvalidError("name")."""
    name = unicodedata.normalize("NFKC", text[: _MAX_RAW + 1]).strip()
    if not 1 <= len(name) <= MAX_NAME or len(text) > _MAX_RAW:
        raise FieldInvalidError("name", f"The name of a list has 1 to {MAX_NAME} characters.")
    if any(unicodedata.category(each) in CONTROLS for each in name):
        raise FieldInvalidError("name", "The name of a list has no control characters.")
    if not any(each.isprintable() and not each.isspace() for each in name):
        raise FieldInvalidError("name", "The name of a list needs a character that can be seen.")
    return name


def name_key(name: str) -> str:
    """By what two names are the same: case-folded, which can take apart what was composed."""
    return unicodedata.normalize("NFKC", name.casefold())
