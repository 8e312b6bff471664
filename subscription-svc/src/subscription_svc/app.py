"""The composition root: everything that the service is made of, put together here alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from argon2 import PasswordHasher

from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.database import open_database
from foretick_rpc.server import RpcServer, RpcService
from subscription_svc.accounts import Accounts
from subscription_svc.passwords import Passwords
from subscription_svc.servicer import AccountServicer, SubscriptionServicer
from subscription_svc.settings import SubscriptionSettings
from subscription_svc.sign_ins import Clock
from subscription_svc.subscriptions import Subscriptions


def services(accounts: Accounts, subscriptions: Subscriptions) -> list[RpcService]:
    """The gRPC services of this process."""
    return [
        RpcService(
            "foretick.subscription.v1.AccountService",
            partial(pb_grpc.add_AccountServiceServicer_to_server, AccountServicer(accounts)),
        ),
        RpcService(
            "foretick.subscription.v1.SubscriptionService",
            partial(
                pb_grpc.add_SubscriptionServiceServicer_to_server,
                SubscriptionServicer(subscriptions),
            ),
        ),
    ]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def running(
    settings: SubscriptionSettings,
    *,
    hasher: PasswordHasher | None = None,
    now: Clock = _utc_now,
) -> AsyncIterator[RpcServer]:
    """The service, from the opened database to the last answer.

    Args:
        settings: where to listen and what to open.
        hasher: argon2id; the library's recommended parameters where none is given.
        now: wall time, aware.
    """
    async with (
        open_database(settings.database, "subscription_svc") as database,
        await asyncio.to_thread(Passwords, hasher or PasswordHasher()) as passwords,
    ):
        server = RpcServer(
            *services(Accounts(database, passwords, now), Subscriptions(database, now)),
            listen=settings.listen,
            service_token=settings.service_token.get_secret_value(),
            domain="subscription.foretick",
        )
        async with server:
            yield server
