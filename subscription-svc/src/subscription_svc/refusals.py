"""What the service refuses, in its own words; the servicer turns each into a gRPC status."""

from typing import ClassVar


class RefusalError(Exception):
    """A request that is answered with a reason. `reason` is what callers branch on."""

    reason: ClassVar[str]
    field: str = ""


class FieldInvalidError(RefusalError):
    """A field of the request is not what is allowed; the message says what is."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class EmailTakenError(RefusalError):
    """The address has an account already."""

    reason = "EMAIL_TAKEN"
    field = "email"

    def __init__(self) -> None:
        super().__init__("There is already an account with this e-mail address.")


class CredentialsWrongError(RefusalError):
    """Address or password is wrong; which of the two is never said."""

    reason = "CREDENTIALS_WRONG"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.")


class SignInInvalidError(RefusalError):
    """The sign-in is unknown, another account's, revoked or expired; which is never said."""

    reason = "SIGN_IN_INVALID"

    def __init__(self) -> None:
        super().__init__("You are signed out. Sign in again.")


class NotSubscribedError(RefusalError):
    """The account does not follow the symbol."""

    reason = "NOT_SUBSCRIBED"

    def __init__(self, symbol: str) -> None:
        super().__init__(f"{symbol} is not among the subscriptions.")


class TooManySubscriptionsError(RefusalError):
    """The account follows as many symbols as it may."""

    reason = "TOO_MANY_SUBSCRIPTIONS"

    def __init__(self, allowed: int) -> None:
        super().__init__(f"An account can follow at most {allowed} symbols. Remove one first.")
