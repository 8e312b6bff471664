"""Who follows which symbols."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from foretick_rpc.database import Database, insert
from foretick_rpc.symbols import parse_symbol
from subscription_svc import schema, sign_ins
from subscription_svc.refusals import (
    FieldInvalidError,
    NotSubscribedError,
    SignInInvalidError,
    TooManySubscriptionsError,
)
from subscription_svc.sign_ins import Caller, Clock, SignInKey

MAX_SUBSCRIPTIONS = 500  # an account
MAX_KEYS = 200  # a batch

_TABLE = schema.subscriptions


@dataclass(frozen=True)
class Subscription:
    """One symbol that an account follows."""

    symbol: str
    create_time: datetime


@dataclass(frozen=True)
class SubscriptionList:
    """The answer for one key: a list, or the reason why there is none."""

    key: SignInKey
    email: str = ""
    subscriptions: tuple[Subscription, ...] = ()
    error_reason: str = ""


def _symbol(text: str) -> str:
    try:
        return parse_symbol(text)
    except ValueError as error:
        raise FieldInvalidError("symbol", str(error)) from error


def _lock(connection: Connection, account_id: str) -> None:
    """Let one transaction after the other change an account's list, whichever replica it is of.

    SQLite, where writes take turns anyway, ignores it. Whoever only refers to the account, as a
    new sign-in does, isn't held up: hence `key_share`.
    """
    account = schema.accounts.c.account_id
    connection.execute(select(account).where(account == account_id).with_for_update(key_share=True))


def add(
    connection: Connection, account_id: str, symbol: str, now: datetime
) -> tuple[Subscription, bool]:
    """Makes the row unless it is there; True where it was made.

    Raises TooManySubscriptionsError, which must roll the transaction back.
    """
    _lock(connection, account_id)
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
    _lock(connection, account_id)
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
    """What SubscriptionService does. Every call checks on whose behalf it is made."""

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self._now = now

    async def add(self, key: SignInKey, symbol: str) -> tuple[Subscription, bool]:
        """Follows a symbol; False where the account did already.

        Raises SignInInvalidError, FieldInvalidError, TooManySubscriptionsError.
        """

        def work(connection: Connection) -> tuple[Subscription, bool]:
            now = self._now()
            caller = sign_ins.require(connection, key, now)
            return add(connection, caller.account_id, _symbol(symbol), now)

        return await self._database.write(work)

    async def remove(self, key: SignInKey, symbol: str) -> None:
        """Stops following. Raises SignInInvalidError, FieldInvalidError, NotSubscribedError."""

        def work(connection: Connection) -> None:
            caller = sign_ins.require(connection, key, self._now())
            remove(connection, caller.account_id, _symbol(symbol))

        await self._database.write(work)

    async def batch_list(self, keys: Sequence[SignInKey]) -> list[SubscriptionList]:
        """One answer for each key, in order; two statements in all. Raises FieldInvalidError."""
        if not 1 <= len(keys) <= MAX_KEYS:
            raise FieldInvalidError(
                "keys", f"1 to {MAX_KEYS} sign-ins can be asked for at once, not {len(keys)}."
            )
        now = self._now()

        def work(
            connection: Connection,
        ) -> tuple[dict[SignInKey, Caller], dict[str, tuple[Subscription, ...]]]:
            callers = sign_ins.check(connection, keys, now)
            account_ids = {caller.account_id for caller in callers.values()}
            return callers, list_all(connection, account_ids)

        callers, lists = await self._database.read(work)
        if used := sign_ins.due(callers.values(), now):
            await self._database.write(
                lambda connection: sign_ins.record_use(connection, used, now)
            )
        return [
            SubscriptionList(key, caller.email, lists[caller.account_id])
            if (caller := callers.get(key))
            else SubscriptionList(key, error_reason=SignInInvalidError.reason)
            for key in keys
        ]
