"""What a request can fail with, and which HTTP status that is."""

from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick_rpc.errors import app_error

_MESSAGE_LIMIT = 500

HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.CANCELLED: 503,  # what a service that is stopping says
    StatusCode.DEADLINE_EXCEEDED: 504,
}


class RequestError(Exception):
    """A request that is answered with an error: status, reason to branch on, sentence for people.

    ``field`` names the form field at fault, where there is one; ``retry_after`` is in seconds.
    """

    def __init__(self, status: int, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.field = field
        self.retry_after: int | None = None
        self.suggestions: list[dict[str, str]] = []


class SignedOutError(RequestError):
    """The request needs a sign-in, and has none that holds."""

    def __init__(self) -> None:
        super().__init__(401, "SIGN_IN_REQUIRED", "Sign in first.")


def request_error(service: str, rpc_error: AioRpcError) -> RequestError:
    """Return what a call to ``service`` that failed means for the request that made it."""
    error = app_error(rpc_error)
    status = HTTP_STATUS.get(error.code, 500)
    if error.reason == "SIGN_IN_INVALID":
        return SignedOutError()
    if status == 503:
        return RequestError(503, "UNAVAILABLE", f"{service} can't be reached at the moment.")
    if status == 504:
        return late_error(service)
    # A refused service token is the operator's mistake; signing in again would not mend it.
    if status == 500 or error.reason == "SERVICE_TOKEN_WRONG":
        return internal_error(service)
    message = error.message[:_MESSAGE_LIMIT]
    refused = RequestError(status, error.reason, message, error.metadata.get("field"))
    seconds = error.metadata.get("retry_after_seconds", "")
    refused.retry_after = int(seconds) if seconds.isdecimal() else None
    return refused


def late_error(service: str) -> RequestError:
    """Return the error for a call to ``service`` that took too long."""
    return RequestError(504, "DEADLINE_EXCEEDED", f"{service} did not answer in time.")


def internal_error(service: str) -> RequestError:
    """Return the error for a fault inside ``service``, of which people learn no detail."""
    return RequestError(500, "INTERNAL", f"Something went wrong in {service}.")
