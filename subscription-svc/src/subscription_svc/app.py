"""The composition root: everything that the service is made of, put together here alone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from argon2 import PasswordHasher

from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.database import Database, open_database
from foretick_rpc.server import RpcServer, RpcService
from subscription_svc.account_servicer import AccountServicer
from subscription_svc.accounts import Accounts
from subscription_svc.administration import Administration
from subscription_svc.administration_servicer import AdministrationServicer
from subscription_svc.admission import Admission
from subscription_svc.events import AccountWatching
from subscription_svc.mail import Mailer
from subscription_svc.ownership import Ownership
from subscription_svc.passwords import Passwords
from subscription_svc.pruning import prune_hourly
from subscription_svc.resets import Resets
from subscription_svc.settings import SubscriptionSettings
from subscription_svc.sign_ins import Clock
from subscription_svc.subscription_servicer import SubscriptionServicer
from subscription_svc.subscriptions import Subscriptions
from subscription_svc.verifying import Verifier

_log = logging.getLogger("foretick.subscription")


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """Work until cancelled. What goes wrong is logged, and ends nobody's sign-in."""
    task = asyncio.current_task()
    while task is None or not task.cancelling():
        try:
            await work()
        except Exception:  # noqa: BLE001 - logged whole, and begun anew
            _log.exception("work in the background failed; it begins anew in a second")
            await asyncio.sleep(1)


class _Parts:
    """The service's parts, wired."""

    def __init__(
        self, settings: SubscriptionSettings, database: Database, passwords: Passwords, now: Clock
    ) -> None:
        mode, public_url = settings.registration, settings.public_url
        self.admission = Admission(database, now)
        self.watching = AccountWatching(database)
        self.mailer = Mailer(settings.smtp_server, settings.mail_from)
        verifier = Verifier(database, self.admission, passwords, now)
        self.account_servicer = AccountServicer(
            Accounts(database, passwords, verifier, mode, now),
            Ownership(self.admission, passwords, verifier, self.mailer, now),
            Resets(database, passwords, self.mailer, public_url, now),
            self.watching,
            mails=self.mailer.is_set_up,
        )
        self.administration_servicer = AdministrationServicer(
            Administration(self.admission, self.mailer, mode, public_url, now)
        )
        self.subscription_servicer = SubscriptionServicer(Subscriptions(self.admission, now))

    def services(self) -> list[RpcService]:
        """The gRPC services of this process."""
        return [
            RpcService(
                "foretick.subscription.v1.AccountService",
                partial(pb_grpc.add_AccountServiceServicer_to_server, self.account_servicer),
            ),
            RpcService(
                "foretick.subscription.v1.AdministrationService",
                partial(
                    pb_grpc.add_AdministrationServiceServicer_to_server,
                    self.administration_servicer,
                ),
            ),
            RpcService(
                "foretick.subscription.v1.SubscriptionService",
                partial(
                    pb_grpc.add_SubscriptionServiceServicer_to_server, self.subscription_servicer
                ),
            ),
        ]


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
        parts = _Parts(settings, database, passwords, now)
        tasks = [
            asyncio.create_task(_kept_up(work))
            for work in (
                parts.admission.run,
                parts.watching.run,
                parts.mailer.run,
                partial(prune_hourly, database, now),
            )
        ]
        server = RpcServer(
            *parts.services(),
            listen=settings.listen,
            service_token=settings.service_token.get_secret_value(),
            domain="subscription.foretick",
        )
        try:
            async with server:
                try:
                    yield server
                finally:
                    parts.watching.end()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
