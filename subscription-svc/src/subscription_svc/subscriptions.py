"""Who follows which symbols."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, func, select

from foretick_rpc.database import insert
from foretick_rpc.symbols import parse_symbol
from subscription_svc import events, schema
from subscription_svc.account_rows import lock_account
from subscription_svc.admission import Admission
from subscription_svc.events import AccountEvent, EventKind
from subscription_svc.refusals import (
    AccountNotFoundError,
    FieldInvalidError,
    NotSubscribedError,
    SignInInvalidError,
    TooManySubscriptionsError,
)
from subscription_svc.sign_ins import Caller, Clock, SignInKey

MAX_SUBSCRIPTIONS = 500  # an account
MAX_KEYS = 200  # a batch

_TABLE = schema.subscriptions
T = TypeVar("T")


@dataclass(frozen=True)
class Subscription:
    """One symbol that an account follows."""

    symbol: str
    create_time: datetime


@dataclass(frozen=True)
class SubscriptionList:
    """The answer for one key: a list, or the reason why there is none."""

    key: SignInKey
    caller: Caller | None = None
    subscriptions: tuple[Subscription, ...] = ()
    error_reason: str = ""


def _symbol(text: str) -> str:
    try:
        return parse_symbol(text)
    except ValueError as error:
        raise FieldInvalidError("symbol", str(error)) from error


def add(
    connection: Connection, account_id: str, symbol: str, now: datetime
) -> tuple[Subscription, bool]:
    """Makes the row unless it is there; True where it was made.

    Raises TooManySubscriptionsError, which must roll the transaction back.
    """
    lock_account(connection, account_id)  # one change of a list after the other
    made = connection.execute(
        insert(connection, _TABLE)
        .values(account_id=account_id, symbol=symbol, create_time=now)
        .on_conflict_do_nothing()
        .returning(_TABLE.c.create_time)
    ).scalar_one_or_none()
    if made is None:
        since = connection.execute(
            select(_TABLE.c.create_time).where(
                _TABLE.c.account_id == account_id, _TABLE.c.symbol == symbol
            )
        ).scalar_one()
        return Subscription(symbol, since), False
    followed = connection.execute(
        select(func.count()).select_from(_TABLE).where(_TABLE.c.account_id == account_id)
    ).scalar_one()
    if followed > MAX_SUBSCRIPTIONS:
        raise TooManySubscriptionsError(MAX_SUBSCRIPTIONS)
    return Subscription(symbol, made), True


def remove(connection: Connection, account_id: str, symbol: str) -> None:
    """Deletes the row. Raises NotSubscribedError."""
    lock_account(connection, account_id)
    deleted = connection.execute(
        _TABLE.delete().where(_TABLE.c.account_id == account_id, _TABLE.c.symbol == symbol)
    )
    if deleted.rowcount == 0:
        raise NotSubscribedError(symbol)


def list_all(
    connection: Connection, account_ids: Collection[str]
) -> dict[str, tuple[Subscription, ...]]:
    """What each of the accounts follows, oldest first, in one statement."""
    rows = connection.execute(
        select(_TABLE)
        .where(_TABLE.c.account_id.in_(account_ids))
        .order_by(_TABLE.c.create_time, _TABLE.c.symbol)
    )
    lists: defaultdict[str, list[Subscription]] = defaultdict(list)
    for row in rows:
        lists[row.account_id].append(Subscription(row.symbol, row.create_time))
    return {account_id: tuple(lists[account_id]) for account_id in account_ids}


class Subscriptions:
    """What SubscriptionService does."""

    def __init__(self, admission: Admission, now: Clock) -> None:
        self._admission = admission
        self._now = now

    async def add(self, key: SignInKey, symbol: str) -> tuple[Subscription, bool]:
        """Follows a symbol; False where the account did already.

        Raises SignInInvalidError, FieldInvalidError, TooManySubscriptionsError.
        """

        def work(connection: Connection, caller: Caller) -> tuple[Subscription, bool]:
            now = self._now()
            added, created = add(connection, caller.account.account_id, _symbol(symbol), now)
            if created:
                events.append(connection, [_changed(caller)], now)
            return added, created

        return await self._write(key, work)

    async def remove(self, key: SignInKey, symbol: str) -> None:
        """Stops following. Raises SignInInvalidError, FieldInvalidError, NotSubscribedError."""

        def work(connection: Connection, caller: Caller) -> None:
            remove(connection, caller.account.account_id, _symbol(symbol))
            events.append(connection, [_changed(caller)], self._now())

        await self._write(key, work)

    async def batch_list(self, keys: Sequence[SignInKey]) -> list[SubscriptionList]:
        """One answer for each key, in order; two statements in all. Raises FieldInvalidError."""
        if not 1 <= len(keys) <= MAX_KEYS:
            raise FieldInvalidError(
                "keys", f"1 to {MAX_KEYS} sign-ins can be asked for at once, not {len(keys)}."
            )
        callers, lists = await self._admission.read_many(
            keys,
            lambda connection, callers: list_all(
                connection, {caller.account.account_id for caller in callers}
            ),
        )
        return [
            SubscriptionList(key, caller, lists[caller.account.account_id])
            if (caller := callers.get(key))
            else SubscriptionList(key, error_reason=SignInInvalidError.reason)
            for key in keys
        ]

    async def _write(self, key: SignInKey, work: Callable[[Connection, Caller], T]) -> T:
        try:
            return await self._admission.write(key, work)
        except AccountNotFoundError:  # deleted since the sign-in was checked
            raise SignInInvalidError from None


def _changed(caller: Caller) -> AccountEvent:
    return AccountEvent(EventKind.SUBSCRIPTIONS_CHANGED, caller.account.account_id)
