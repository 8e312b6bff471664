"""What is kept for a time only."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from foretick_rpc.database import Database
from foretick_rpc.errors import DatabaseUnavailableError
from subscription_svc.schema import (
    account_events,
    audit_events,
    invitations,
    password_resets,
    sign_ins,
)
from subscription_svc.sign_ins import Clock

AUDIT_KEPT = timedelta(days=365)
MAX_AUDIT_EVENTS = 4000  # an account: what its export, and the message that carries it, can hold
NOBODYS_KEPT = timedelta(days=1)  # failures at addresses without an account
ENDED_KEPT = timedelta(days=7)  # sign-ins that were revoked or have expired
EVENTS_KEPT = timedelta(days=1)  # for watchers that were cut off
EVERY = timedelta(hours=1)


def prune(connection: Connection, now: datetime) -> None:
    """Deletes what has been kept for long enough."""
    audit, ended = audit_events.c, now - ENDED_KEPT
    newest_first = func.row_number().over(
        partition_by=audit.account_id, order_by=audit.event_id.desc()
    )
    numbered = (
        select(audit.event_id, newest_first.label("number"))
        .where(audit.account_id.is_not(None))
        .subquery()
    )
    too_many = select(numbered.c.event_id).where(numbered.c.number > MAX_AUDIT_EVENTS)
    for table, which in (
        (audit_events, audit.event_time <= now - AUDIT_KEPT),
        (audit_events, audit.account_id.is_(None) & (audit.event_time <= now - NOBODYS_KEPT)),
        (audit_events, audit.event_id.in_(too_many)),
        (sign_ins, (sign_ins.c.revoke_time <= ended) | (sign_ins.c.expire_time <= ended)),
        (password_resets, password_resets.c.expire_time <= now),
        (invitations, invitations.c.expire_time <= now),
        (account_events, account_events.c.event_time <= now - EVENTS_KEPT),
    ):
        connection.execute(table.delete().where(which))


async def prune_hourly(
    database: Database, now: Clock, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Prunes at once and every hour, until cancelled. Each replica does; it is harmless."""
    while True:
        # The database's own log says that it is away; the next hour comes.
        with suppress(DatabaseUnavailableError):
            await database.write(lambda connection: prune(connection, now()))
        await sleep(EVERY.total_seconds())
