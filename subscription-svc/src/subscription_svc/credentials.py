"""What an e-mail address and a password may look like."""

import unicodedata
from dataclasses import dataclass

import email_validator

from subscription_svc.refusals import FieldInvalidError

MAX_EMAIL = 254
MIN_PASSWORD = 10
MAX_PASSWORD = 200
# At most four code points compose into one, so whatever is longer is too long when normalised.
_MAX_RAW_PASSWORD = 4 * MAX_PASSWORD

# Self-hosters have addresses under .local, .test, .localhost and .onion. The list is the
# library's documented setting; what stays can't be anybody's address anywhere.
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = ["arpa", "invalid"]


# Letters of other scripts that nobody can tell from Latin ones in most fonts, case-folded.
_LOOK_LIKE_LATIN = frozenset("аеіјорсѕухһԁԛԝαινορυχ")
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "GEORGIAN")


@dataclass(frozen=True)
class EmailAddress:
    """A valid address: as it was given, and the key by which two spellings are the same."""

    given: str
    key: str


def parse_email(text: str) -> EmailAddress:
    """Checks the syntax only. Raises FieldInvalidError("email") that says what is wrong."""
    given = unicodedata.normalize("NFC", text[: 2 * MAX_EMAIL].strip())
    if not given:
        raise FieldInvalidError("email", "An e-mail address is needed, like ann@example.org.")
    if len(given) > MAX_EMAIL:
        raise FieldInvalidError(
            "email", f"The e-mail address is too long: at most {MAX_EMAIL} characters are allowed."
        )
    try:
        normalised = email_validator.validate_email(given, check_deliverability=False).normalized
    except email_validator.EmailNotValidError as error:
        raise FieldInvalidError(
            "email", f"This is not an e-mail address like ann@example.org: {error}"
        ) from None
    key = _email_key(normalised)
    if _looks_like_another(key.rpartition("@")[0]):
        raise FieldInvalidError(
            "email",
            "The part before the @ has letters that look like those of another alphabet. "
            "Write it in one alphabet.",
        )
    return EmailAddress(given, key)


def attempted_key(text: str) -> str:
    """The key of an address that somebody tries to sign in with, also where none can have it."""
    try:
        return parse_email(text).key
    except FieldInvalidError:
        return _email_key(text[:MAX_EMAIL].strip())


def _email_key(address: str) -> str:
    """One spelling for width, case and composition: folding can take apart what was composed."""
    for _ in range(2):
        address = unicodedata.normalize("NFKC", address).casefold()
    return unicodedata.normalize("NFKC", address)


def _looks_like_another(local_part: str) -> bool:
    """Whether alphabets that look alike are mixed, or all letters could be Latin and none is.

    Domains need no such care: those that mislead are for their registries to refuse.
    """
    letters = [letter for letter in local_part if letter.isalpha()]
    names = [unicodedata.name(letter, "") for letter in letters]
    scripts = {script for script in _SCRIPTS for name in names if name.startswith(script)}
    return len(scripts) > 1 or (bool(letters) and _LOOK_LIKE_LATIN.issuperset(letters))


def normalise_password(password: str) -> str:
    """The password as it is hashed: NFKC, which is the same from every keyboard and system.

    Input that is too long is cut (before normalising, which takes quadratic time on some input)
    to something that is still too long, so it can't match what `check_new_password` let through.
    """
    return unicodedata.normalize("NFKC", password[: _MAX_RAW_PASSWORD + 1])


def check_new_password(password: str, *emails: str, field: str = "password") -> str:
    """The normalised password, which must be none of `emails`.

    Raises FieldInvalidError(field) that says what is allowed.
    """
    normalised = normalise_password(password)
    if not MIN_PASSWORD <= len(normalised) <= MAX_PASSWORD:
        raise FieldInvalidError(
            field,
            f"The password must be {MIN_PASSWORD} to {MAX_PASSWORD} characters long.",
        )
    if any(unicodedata.category(character) == "Cc" for character in normalised):
        raise FieldInvalidError(field, "The password must not contain control characters.")
    if normalised.casefold() in {email.casefold() for email in emails}:
        raise FieldInvalidError(field, "The password must not be the e-mail address.")
    return normalised
