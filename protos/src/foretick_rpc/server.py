"""A gRPC server with health, reflection, rules around every call, and an orderly end."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from grpc.aio import Server, server
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from foretick_rpc.errors import StartupError
from foretick_rpc.interceptors import CallRules

_log = logging.getLogger("foretick.server")


@dataclass(frozen=True)
class RpcService:
    """One service of the contracts: its full name, and what adds its servicer to a server."""

    name: str
    add: Callable[[Server], None]


class RpcServer:
    """Serves while it is entered; on leaving stops taking calls, drains, and closes."""

    def __init__(
        self,
        *services: RpcService,
        listen: str,
        service_token: str,
        domain: str,
        drain_seconds: float = 10,
    ) -> None:
        """`listen` is host:port, port 0 for any free one; `domain` names the service in errors."""
        self._listen = listen
        self._drain_seconds = drain_seconds
        self._names = [service.name for service in services]
        self._server = server(
            interceptors=[CallRules(service_token=service_token, domain=domain)],
            options=[
                # Two processes on one port would each get half of the calls unnoticed.
                ("grpc.so_reuseport", 0),
                # Clients find new replicas when their connections end.
                ("grpc.max_connection_age_ms", 300_000),
                ("grpc.max_connection_age_grace_ms", 30_000),
                # On a busy machine pings come late, and the next then seems to come too early.
                ("grpc.http2.max_ping_strikes", 0),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for service in services:
            service.add(self._server)
        listed = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(listed, self._server)
        self.port = 0

    async def __aenter__(self) -> Self:
        try:
            self.port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise StartupError(
                f"cannot listen on {self._listen}: the address is taken or not of this machine"
            ) from error
        await self._report(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()
        await self._report(health_pb2.HealthCheckResponse.SERVING)
        _log.info("serving on port %d", self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._report(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.stop(self._drain_seconds)

    async def _report(self, status: int) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)
