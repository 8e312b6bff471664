"""Channels to other services: token, request id, deadline, retries of reads, quick reconnects."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from grpc.aio import (
    Channel,
    ClientCallDetails,
    Metadata,
    UnaryStreamCall,
    UnaryStreamClientInterceptor,
    UnaryUnaryCall,
    UnaryUnaryClientInterceptor,
    insecure_channel,
)

from foretick_rpc.logs import NO_REQUEST, request_id

Q = TypeVar("Q")
R = TypeVar("R")

DEFAULT_DEADLINE_SECONDS = 5.0


def open_channel(target: str, *, service_token: str, service: ServiceDescriptor) -> Channel:
    """Open a channel to `target` for the calls of `service`.

    Calls that name no timeout get one of 5 seconds, streams excepted. Methods that the contract
    marks with an idempotency level are tried up to four times while the service is UNAVAILABLE or
    stopping.
    Where a name stands for several addresses, calls take turns over those that answer.
    """
    caller = _Caller(service_token)
    return insecure_channel(
        target,
        interceptors=[_UnaryInterceptor(caller), _StreamInterceptor(caller)],
        options=[
            ("grpc.service_config", json.dumps(_service_config(service))),
            # A service that returns is used again within about a second.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # Replicas that are replaced have new addresses: ask for them as often as one is lost.
            ("grpc.dns_min_time_between_resolutions_ms", 500),
            # A stream is quiet for hours, and shall be known to be there all the same.
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.ping_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
            # Proxy variables are meant for price sources, not for calls between the services.
            ("grpc.enable_http_proxy", 0),
        ],
    )


def _service_config(service: ServiceDescriptor) -> dict[str, object]:
    repeatable = [
        {"service": service.full_name, "method": method.name}
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    ]
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.4s",
        "backoffMultiplier": 2,
        # A server that is stopping cancels what reaches it too late.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if repeatable:
        config["methodConfig"] = [{"name": repeatable, "retryPolicy": retry}]
    return config


class _Caller:
    """What every call carries."""

    def __init__(self, service_token: str) -> None:
        self._authorization = f"Bearer {service_token}"

    def details(self, call: ClientCallDetails, deadline: float | None) -> ClientCallDetails:
        metadata = Metadata(*(call.metadata or ()))
        metadata.add("authorization", self._authorization)
        if (current := request_id.get()) != NO_REQUEST:
            metadata.add("x-request-id", current)
        timeout = deadline if call.timeout is None else call.timeout
        return ClientCallDetails(
            call.method, timeout, metadata, call.credentials, call.wait_for_ready
        )


class _UnaryInterceptor(UnaryUnaryClientInterceptor):
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def intercept_unary_unary(
        self,
        continuation: Callable[[ClientCallDetails, Q], Awaitable[UnaryUnaryCall[Q, R]]],
        client_call_details: ClientCallDetails,
        request: Q,
    ) -> R | UnaryUnaryCall[Q, R]:
        """Add what every call carries, and a deadline where none is named."""
        details = self._caller.details(client_call_details, DEFAULT_DEADLINE_SECONDS)
        return await continuation(details, request)


class _StreamInterceptor(UnaryStreamClientInterceptor):
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def intercept_unary_stream(
        self,
        continuation: Callable[[ClientCallDetails, Q], Awaitable[UnaryStreamCall[Q, R]]],
        client_call_details: ClientCallDetails,
        request: Q,
    ) -> AsyncIterator[R] | UnaryStreamCall[Q, R]:
        """Add what every call carries; a stream has no deadline but the one it names."""
        return await continuation(self._caller.details(client_call_details, None), request)
