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


@dataclass(frozen=True)
class EmailAddress:
    """A valid address: as it was given, and the key by which two spellings are the same."""

    given: str
    key: str


def parse_email(text: str) -> EmailAddress:
    """Checks the syntax only. Raises FieldInvalidError("email") that says what is wrong."""
    given = text.strip()
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
    # Case folding can take letters apart that NFC had put together.
    return EmailAddress(given, unicodedata.normalize("NFC", normalised.casefold()))


def normalise_password(password: str) -> str:
    """The password as it is hashed: NFKC, which is the same from every keyboard and system.

    Input that is too long is cut (before normalising, which takes quadratic time on some input)
    to something that is still too long, so it can't match what `check_new_password` let through.
    """
    return unicodedata.normalize("NFKC", password[: _MAX_RAW_PASSWORD + 1])


def check_new_password(password: str, email: EmailAddress) -> str:
    """The normalised password. Raises FieldInvalidError("password") that says what is allowed."""
    normalised = normalise_password(password)
    if not MIN_PASSWORD <= len(normalised) <= MAX_PASSWORD:
        raise FieldInvalidError(
            "password",
            f"The password must be {MIN_PASSWORD} to {MAX_PASSWORD} characters long.",
        )
    if normalised.casefold() in {email.key, email.given.casefold()}:
        raise FieldInvalidError("password", "The password must not be the e-mail address.")
    return normalised
