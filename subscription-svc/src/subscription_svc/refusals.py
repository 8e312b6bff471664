"""What the service refuses, in its own words; the servicers turn each into a gRPC status."""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar


class RefusalError(Exception):
    """A request that is answered with a reason. `reason` is what callers branch on."""

    reason: ClassVar[str]
    message: ClassVar[str]
    field: str = ""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Particulars, for programs."""
        return {"field": self.field} if self.field else {}


class FieldInvalidError(RefusalError):
    """A field of the request is not what is allowed; the message says what is."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooManyAttemptsError(RefusalError):
    """The account, or where the call comes from, has failed too often."""

    reason = "TOO_MANY_ATTEMPTS"

    def __init__(self, retry_after: timedelta) -> None:
        self._seconds = max(1, math.ceil(retry_after.total_seconds()))
        minutes = math.ceil(self._seconds / 60)
        super().__init__(f"There were too many attempts. Try again in {minutes} min.")

    @property
    def metadata(self) -> Mapping[str, str]:
        """In how many seconds the next attempt is let through."""
        return {"retry_after_seconds": str(self._seconds)}


class EmailTakenError(RefusalError):
    """The address has an account already."""

    reason = "EMAIL_TAKEN"
    field = "email"
    message = "There is already an account with this e-mail address."


class CredentialsWrongError(RefusalError):
    """Address or password is wrong; which of the two is never said."""

    reason = "CREDENTIALS_WRONG"
    message = "The e-mail address or the password is wrong."


class PasswordWrongError(RefusalError):
    """Somebody who is signed in has not given the account's password."""

    reason = "PASSWORD_WRONG"
    field = "password"
    message = "The password is wrong."


class AccountDisabledError(RefusalError):
    """The password is right, but the account is disabled."""

    reason = "ACCOUNT_DISABLED"
    message = "This account is disabled. Ask an administrator."


class SignInInvalidError(RefusalError):
    """The sign-in is unknown, another account's, revoked or expired; which is never said."""

    reason = "SIGN_IN_INVALID"
    message = "You are signed out. Sign in again."


class AdministratorOnlyError(RefusalError):
    """The account is no administrator."""

    reason = "ADMINISTRATOR_ONLY"
    message = "Only an administrator can do this."


class LastAdministratorError(RefusalError):
    """No administrator who can sign in would be left."""

    reason = "LAST_ADMINISTRATOR"
    message = (
        "This is the last administrator. Make another account administrator first: "
        "`python -m subscription_svc administrator EMAIL`."
    )


class RegistrationClosedError(RefusalError):
    """Nobody can register."""

    reason = "REGISTRATION_CLOSED"
    message = "Registration is closed."


class InvitationNeededError(RefusalError):
    """Registration is by invitation, and none was shown."""

    reason = "INVITATION_NEEDED"
    message = "Registration is by invitation. Ask an administrator for one."


class InvitationInvalidError(RefusalError):
    """The invitation was used, has expired, was withdrawn, or is for another address."""

    reason = "INVITATION_INVALID"
    message = "This invitation was used or withdrawn, has expired, or is for another address."


class ResetTokenInvalidError(RefusalError):
    """The link was used, has expired, or never was."""

    reason = "RESET_TOKEN_INVALID"
    message = "This link was used or has expired. Ask for a new one."


class ResetsAreMailedError(RefusalError):
    """Nobody else makes a link for somebody who can have it mailed."""

    reason = "RESETS_ARE_MAILED"
    message = "Letters are set up: whoever has lost a password asks for a link by mail."


class AccountNotFoundError(RefusalError):
    """There is no such account."""

    reason = "ACCOUNT_NOT_FOUND"
    message = "There is no such account."


class DeviceNotFoundError(RefusalError):
    """The account never had such a sign-in."""

    reason = "DEVICE_NOT_FOUND"
    message = "There is no such device."


class NotSubscribedError(RefusalError):
    """The account does not follow the symbol."""

    reason = "NOT_SUBSCRIBED"

    def __init__(self, symbol: str) -> None:
        super().__init__(f"{symbol} is not among the subscriptions.")


class AlreadySubscribedError(RefusalError):
    """The list that a subscription was to be moved to has the symbol too."""

    reason = "ALREADY_SUBSCRIBED"

    def __init__(self, symbol: str, name: str) -> None:
        super().__init__(f"{symbol} is in the list {name} already.")


class WatchlistNotFoundError(RefusalError):
    """The account has no such list."""

    reason = "WATCHLIST_NOT_FOUND"
    message = "There is no such list."


class WatchlistNameTakenError(RefusalError):
    """Another list of the account has the name."""

    reason = "WATCHLIST_NAME_TAKEN"
    field = "name"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is already a list with the name {name}.")


class WatchlistExistsError(RefusalError):
    """A list of the id is there, with another name."""

    reason = "WATCHLIST_EXISTS"
    field = "list_id"
    message = "There is already a list of this id, with another name."


class LastWatchlistError(RefusalError):
    """The account has no other list."""

    reason = "LAST_WATCHLIST"
    message = "This is the only list. Make another one first."


class TooManyWatchlistsError(RefusalError):
    """The account has as many lists as it may."""

    reason = "TOO_MANY_WATCHLISTS"

    def __init__(self, allowed: int) -> None:
        super().__init__(f"An account can have at most {allowed} lists. Delete one first.")


class TooManySubscriptionsError(RefusalError):
    """The account follows as many symbols as it may."""

    reason = "TOO_MANY_SUBSCRIPTIONS"

    def __init__(self, allowed: int) -> None:
        super().__init__(f"An account can follow at most {allowed} symbols. Remove one first.")
