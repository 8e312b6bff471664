"""What all calls to the services have in common."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2
from gateway.model import SignInKey
from gateway.problems import request_error

T = TypeVar("T")
R = TypeVar("R")

READ_SECONDS = 2.0
# A watch ends then, and begins anew.
WATCH_SECONDS = 900.0


async def answered(service: str, call: Awaitable[T]) -> T:
    """Wait for a call of ``service``; raises `RequestError` where it fails."""
    try:
        return await call
    except AioRpcError as error:
        raise request_error(service, error) from error


async def watched(
    service: str, call: AsyncIterable[T], convert: Callable[[T], R]
) -> AsyncIterator[R]:
    """Convert each message of a stream; raises `RequestError` where it breaks."""
    try:
        async for message in call:
            yield convert(message)
    except AioRpcError as error:
        raise request_error(service, error) from error


def key_message(key: SignInKey) -> subscription_pb2.SignInKey:
    """Convert the key of a sign-in."""
    return subscription_pb2.SignInKey(account_id=key.account_id, sign_in_id=key.sign_in_id)
