"""The rules around every call that a server answers: who may call, and how it fails."""

# The generic types of gRPC exist for the type checker only.
from __future__ import annotations

import hmac
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from grpc import HandlerCallDetails, RpcMethodHandler, StatusCode
from grpc.aio import AbortError, ServerInterceptor, ServicerContext

from foretick_rpc.errors import (
    STATUS_DETAILS_KEY,
    AppError,
    DatabaseUnavailableError,
    status_details,
)
from foretick_rpc.logs import request_id

_log = logging.getLogger("foretick.rpc")
_HEALTH = "/grpc.health.v1.Health/"
_SLOW_SECONDS = 1.0
_SAMPLE_EVERY = 200

# The messages of a call are known to its servicer only.
Handler: TypeAlias = "RpcMethodHandler[Any, Any]"
Context: TypeAlias = "ServicerContext[Any, Any]"


@dataclass(frozen=True)
class _Call:
    method: str
    request_id: str
    allowed: bool
    streams: bool


class CallRules(ServerInterceptor):
    """Checks the service token, sets the request id, maps errors and logs a sample of calls.

    Health checks are exempt, so that probes need no token and fill no log.
    """

    def __init__(self, *, service_token: str, domain: str) -> None:
        self._authorization = f"Bearer {service_token}".encode()
        self._domain = domain
        self._calls = 0

    async def intercept_service(
        self,
        continuation: Callable[[HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the handler of one call; None, for a method that nobody serves, stays None."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_HEALTH):
            return handler
        metadata = dict(handler_call_details.invocation_metadata or ())
        given = str(metadata.get("authorization", "")).encode()
        call = _Call(
            method=method,
            request_id=str(metadata.get("x-request-id", ""))[:64] or uuid.uuid4().hex,
            allowed=hmac.compare_digest(given, self._authorization),
            streams=handler.response_streaming,
        )
        return self._guarded(handler, call)

    def _guarded(self, handler: Any, call: _Call) -> Handler:
        async def one(request: object, context: Context) -> object:
            async with self._guard(context, call):
                return await handler.unary_unary(request, context)

        async def many(request: object, context: Context) -> AsyncIterator[object]:
            async with self._guard(context, call):
                async for response in (handler.unary_stream or handler.stream_stream)(
                    request, context
                ):
                    yield response

        wrap: Any
        behaviour: Any
        if handler.unary_unary:
            wrap, behaviour = grpc.unary_unary_rpc_method_handler, one
        elif handler.unary_stream:
            wrap, behaviour = grpc.unary_stream_rpc_method_handler, many
        else:
            wrap, behaviour = grpc.stream_stream_rpc_method_handler, many
        wrapped: Handler = wrap(
            behaviour, handler.request_deserializer, handler.response_serializer
        )
        return wrapped

    @asynccontextmanager
    async def _guard(self, context: Context, call: _Call) -> AsyncIterator[None]:
        request_id.set(call.request_id)
        started = time.perf_counter()
        try:
            if not call.allowed:
                await self._abort(context, _WRONG_TOKEN)
            yield
        except AbortError:
            raise
        except AppError as error:
            await self._abort(context, error)
        except DatabaseUnavailableError:
            # The database's own log says why, once.
            await self._abort(context, _NO_DATABASE)
        except Exception:  # noqa: BLE001 - logged whole; the caller learns nothing but the id
            _log.exception("%s failed", call.method)
            message = f"internal error, request id {call.request_id}"
            await self._abort(context, AppError(StatusCode.INTERNAL, "INTERNAL", message))
        finally:
            self._note(call, time.perf_counter() - started)

    async def _abort(self, context: Context, error: AppError) -> None:
        details = status_details(error, self._domain)
        await context.abort(error.code, error.message, ((STATUS_DETAILS_KEY, details),))

    def _note(self, call: _Call, seconds: float) -> None:
        self._calls += 1
        # A stream is meant to last.
        is_slow = seconds >= _SLOW_SECONDS and not call.streams
        if is_slow or self._calls % _SAMPLE_EVERY == 1:
            _log.info("%s took %.1f ms (call %d)", call.method, 1000 * seconds, self._calls)


_NO_DATABASE = AppError(
    StatusCode.UNAVAILABLE,
    "DATABASE_UNAVAILABLE",
    "the service's database does not answer; try again in a moment",
)
_WRONG_TOKEN = AppError(
    StatusCode.UNAUTHENTICATED,
    "SERVICE_TOKEN_WRONG",
    "this call needs the metadata 'authorization: Bearer <service token>'",
)
