"""The statements about an account's lists. Writers hold them, so changes take turns."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from subscription_svc.account_rows import lock_accounts
from subscription_svc.list_texts import name_key
from subscription_svc.refusals import (
    AccountNotFoundError,
    FieldInvalidError,
    LastWatchlistError,
    TooManyWatchlistsError,
    WatchlistExistsError,
    WatchlistNameTakenError,
    WatchlistNotFoundError,
)
from subscription_svc.schema import subscriptions, watchlists

MAX_WATCHLISTS = 20  # an account
MAX_POSITION = 1_000_000  # that can be asked for
FIRST_NAME = "Watchlist"

_TABLE = watchlists.c


@dataclass(frozen=True)
class Watchlist:
    """A named list of an account; those of smaller positions come first."""

    list_id: str
    name: str
    position: int


def first_watchlist(account_id: str) -> Watchlist:
    """The list of an account that has made none. Its id is known before its row is there."""
    return Watchlist(account_id, FIRST_NAME, 0)


@dataclass(frozen=True)
class Held:
    """The lists of an account, which nobody else changes until the end of the transaction.

    `count` says how many subscriptions were in all of them at its beginning, `ends` where each
    list ended.
    """

    account_id: str
    lists: Sequence[Watchlist]
    count: int
    ends: Mapping[str, int]

    def get(self, list_id: str) -> Watchlist:
        """The list of an id, the first for an empty one. Raises WatchlistNotFoundError."""
        if not list_id:
            return self.lists[0]
        for each in self.lists:
            if each.list_id == list_id:
                return each
        raise WatchlistNotFoundError


_COUNT = (
    select(func.count()).where(subscriptions.c.account_id == _TABLE.account_id).scalar_subquery()
)
_END = (
    select(func.coalesce(func.max(subscriptions.c.position) + 1, 0))
    .where(
        subscriptions.c.account_id == _TABLE.account_id, subscriptions.c.list_id == _TABLE.list_id
    )
    .scalar_subquery()
)
_LISTS = (
    select(_TABLE.account_id, _COUNT, _END, _TABLE.list_id, _TABLE.name, _TABLE.position)
    .where(_TABLE.account_id.in_(bindparam("accounts", expanding=True)))
    .order_by(_TABLE.position, _TABLE.list_id)
)


def hold(connection: Connection, account_id: str) -> Held:
    """As `hold_all`. Raises AccountNotFoundError."""
    held = hold_all(connection, [account_id]).get(account_id)
    if held is None:
        raise AccountNotFoundError
    return held


def hold_all(connection: Connection, account_ids: Collection[str]) -> dict[str, Held]:
    """Locks those of the accounts that there are, and makes the first list where there is none."""
    there = lock_accounts(connection, account_ids)
    held = {each: Held(each, [], 0, {}) for each in there}
    for account_id, count, end, *row in connection.execute(_LISTS, {"accounts": list(there)}):
        known = held[account_id]
        watchlist = Watchlist(*row)
        held[account_id] = Held(
            account_id, [*known.lists, watchlist], count, {**known.ends, watchlist.list_id: end}
        )
    for account_id, known in held.items():
        if not known.lists:
            first = first_watchlist(account_id)
            _insert(connection, account_id, first)
            held[account_id] = Held(account_id, [first], 0, {first.list_id: 0})
    return held


def create(
    connection: Connection, held: Held, name: str, list_id: str, position: int | None
) -> tuple[Watchlist, bool]:
    """Makes a list; False where it was there already.

    Raises WatchlistExistsError, WatchlistNameTakenError, TooManyWatchlistsError.
    """
    check_position(position)
    for each in held.lists:
        if each.list_id == list_id:
            if each.name != name:
                raise WatchlistExistsError
            return each, False
    _require_free(held, name)
    if len(held.lists) >= MAX_WATCHLISTS:
        raise TooManyWatchlistsError(MAX_WATCHLISTS)
    if position is None:
        position = held.lists[-1].position + 1
    elif any(each.position == position for each in held.lists):
        connection.execute(
            watchlists.update()
            .where(_TABLE.account_id == held.account_id, _TABLE.position >= position)
            .values(position=_TABLE.position + 1)
        )
    made = Watchlist(list_id or uuid.uuid4().hex, name, position)
    _insert(connection, held.account_id, made)
    return made, True


def rename(
    connection: Connection, held: Held, watchlist: Watchlist, name: str
) -> tuple[Watchlist, bool]:
    """Gives a list another name; False where it has it. Raises WatchlistNameTakenError."""
    if watchlist.name == name:
        return watchlist, False
    _require_free(held, name, but=watchlist)
    connection.execute(
        watchlists.update()
        .where(_TABLE.account_id == held.account_id, _TABLE.list_id == watchlist.list_id)
        .values(name=name, name_key=name_key(name))
    )
    return replace(watchlist, name=name), True


def delete(connection: Connection, held: Held, watchlist: Watchlist) -> None:
    """Deletes a list, and what is in it with it. Raises LastWatchlistError."""
    if len(held.lists) == 1:
        raise LastWatchlistError
    connection.execute(
        watchlists.delete().where(
            _TABLE.account_id == held.account_id, _TABLE.list_id == watchlist.list_id
        )
    )


def reorder(connection: Connection, held: Held, list_ids: Sequence[str]) -> list[Watchlist]:
    """Puts lists in another order; all of them, as they are now.

    Raises FieldInvalidError where one is named twice, WatchlistNotFoundError.
    """
    by_id = {each.list_id: each for each in held.lists}
    if not by_id.keys() >= set(list_ids):
        raise WatchlistNotFoundError
    order = in_order("list_ids", list_ids, list(by_id))
    moved = update_positions(
        {each.list_id: each.position for each in held.lists}, order, account=held.account_id
    )
    if moved:
        connection.execute(_MOVE, moved)
    return [replace(by_id[list_id], position=n) for n, list_id in enumerate(order)]


def in_order(field: str, wanted: Sequence[str], present: Sequence[str]) -> list[str]:
    """What is present in the wanted order, and then what is not wanted anywhere.

    Raises FieldInvalidError where something is wanted twice.
    """
    named = set(wanted)
    if len(named) < len(wanted):
        raise FieldInvalidError(field, "Each can be named once only.")
    return [*wanted, *(each for each in present if each not in named)]


def update_positions(
    positions: dict[str, int], order: Sequence[str], **more: Any
) -> list[dict[str, Any]]:
    """Parameters for those whose position is another one in `order`."""
    return [
        {"named": each, "to": n, **more} for n, each in enumerate(order) if positions[each] != n
    ]


def check_position(position: int | None) -> None:
    """Raises FieldInvalidError("position")."""
    if position is not None and not 0 <= position <= MAX_POSITION:
        raise FieldInvalidError("position", f"A position is from 0 to {MAX_POSITION}.")


_MOVE = (
    watchlists.update()
    .where(_TABLE.account_id == bindparam("account"), _TABLE.list_id == bindparam("named"))
    .values(position=bindparam("to"))
)


def _require_free(held: Held, name: str, but: Watchlist | None = None) -> None:
    key = name_key(name)
    if any(name_key(each.name) == key for each in held.lists if each != but):
        raise WatchlistNameTakenError(name)


def _insert(connection: Connection, account_id: str, made: Watchlist) -> None:
    connection.execute(
        watchlists.insert().values(
            account_id=account_id,
            list_id=made.list_id,
            name=made.name,
            name_key=name_key(made.name),
            position=made.position,
        )
    )
