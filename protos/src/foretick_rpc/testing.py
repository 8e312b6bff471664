"""What tests of services and callers share: real servers on free ports, and channels to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from google.protobuf.descriptor import ServiceDescriptor
from grpc.aio import Channel
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from sqlalchemy import MetaData

from foretick_rpc.client import open_channel
from foretick_rpc.database import Database
from foretick_rpc.server import RpcServer, RpcService

SERVICE_TOKEN = "a-token-for-tests-only"  # noqa: S105 - opens nothing but servers of tests


@asynccontextmanager
async def serving(
    *services: RpcService, domain: str = "test", listen: str = "127.0.0.1:0"
) -> AsyncIterator[RpcServer]:
    """A server of `services` on a free port of loopback."""
    async with RpcServer(
        *services, listen=listen, service_token=SERVICE_TOKEN, domain=domain, drain_seconds=0
    ) as rpc_server:
        yield rpc_server


@asynccontextmanager
async def calling(rpc_server: RpcServer, service: ServiceDescriptor) -> AsyncIterator[Channel]:
    """A channel with the token to `service` of a server on loopback."""
    target = f"127.0.0.1:{rpc_server.port}"
    async with open_channel(target, service_token=SERVICE_TOKEN, service=service) as channel:
        yield channel


def listed_services(target: str, token: str) -> set[str]:
    """The names of the services that reflection lists to a caller who shows `token`.

    Raises grpc.RpcError where it refuses.
    """
    with grpc.insecure_channel(target) as channel:
        ask = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString,
            ServerReflectionResponse.FromString,
        )
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        request = ServerReflectionRequest(list_services="")
        answer = next(iter(ask(iter([request]), metadata=metadata, timeout=5)))
    return {service.name for service in answer.list_services_response.service}


async def schema_differences(database: Database, metadata: MetaData) -> list[object]:
    """How the migrated schema differs from the tables that the code names; empty if it doesn't."""
    return await database.read(
        lambda connection: list(compare_metadata(MigrationContext.configure(connection), metadata))
    )
