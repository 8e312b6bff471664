"""Errors with a reason to branch on, and their form on the wire.

A servicer raises `AppError`; the server turns it into a `google.rpc.Status` that carries
`google.rpc.ErrorInfo`; `app_error` turns what a caller got back into an `AppError`.
"""

from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from grpc.aio import AioRpcError

STATUS_DETAILS_KEY = "grpc-status-details-bin"


class StartupError(Exception):
    """Why a service cannot start, in a sentence for whoever starts it."""


class DatabaseUnavailableError(Exception):
    """The database cannot be reached; it may be in a moment."""


class AppError(Exception):
    """An answer that a caller can act on.

    `reason` is an upper-case word to branch on; `message` is a sentence for people;
    `metadata` names particulars, such as the `field` that was refused.
    """

    def __init__(self, code: StatusCode, reason: str, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = metadata


def invalid_argument(field: str, message: str) -> AppError:
    """The answer to a bad value: names the field, and says what is allowed."""
    return AppError(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", message, field=field)


def status_details(error: AppError, domain: str) -> bytes:
    """Encode the error as the trailer that carries a `google.rpc.Status`."""
    detail = Any()
    detail.Pack(ErrorInfo(reason=error.reason, domain=domain, metadata=error.metadata))
    code: int = error.code.value[0]
    encoded: bytes = Status(code=code, message=error.message, details=[detail]).SerializeToString()
    return encoded


def app_error(error: AioRpcError) -> AppError:
    """Decode what a call failed with; without details the reason is the status code's name."""
    for key, trailer in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(trailer, bytes):
            for detail in Status.FromString(trailer).details:
                info = ErrorInfo()
                if detail.Unpack(info):
                    message = error.details() or ""
                    return AppError(error.code(), info.reason, message, **info.metadata)
    return AppError(error.code(), error.code().name, error.details() or "")
