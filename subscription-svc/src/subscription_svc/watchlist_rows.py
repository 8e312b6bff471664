"""The statements about an account's lists. Writers hold them, so changes take turns."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from foretick_rpc.database import insert
from subscription_svc.account_rows import lock_account
from subscription_svc.list_texts import name_key
from subscription_svc.refusals import (
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


class Held:
    """The lists of an account, which nobody else changes until the end of the transaction.

    `count` says how many subscriptions were in all of them at its beginning.
    """

    def __init__(self, account_id: str, lists: Sequence[Watchlist], count: int) -> None:
        self.account_id = account_id
        self.lists = lists
        self.count = count

    def get(self, list_id: str) -> Watchlist:
        """The list of an id, the first for an empty one. Raises WatchlistNotFoundError."""
        if not list_id:
            return self.lists[0]
        for each in self.lists:
            if each.list_id == list_id:
                return each
        raise WatchlistNotFoundError


_COUNT = (
    select(func.count())
    .select_from(subscriptions)
    .where(subscriptions.c.account_id == bindparam("account_id"))
    .scalar_subquery()
)
_LISTS = (
    select(_TABLE.list_id, _TABLE.name, _TABLE.position, _COUNT)
    .where(_TABLE.account_id == bindparam("account_id"))
    .order_by(_TABLE.position, _TABLE.list_id)
)


def hold(connection: Connection, account_id: str) -> Held:
    """Locks the account, and makes its first list where there is none.

    Raises AccountNotFoundError.
    """
    lock_account(connection, account_id)
    rows = connection.execute(_LISTS, {"account_id": account_id}).all()
    if not rows:
        first = first_watchlist(account_id)
        _insert(connection, account_id, first)
        return Held(account_id, [first], 0)
    return Held(account_id, [Watchlist(*row[:3]) for row in rows], rows[0][3])


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
        insert(connection, watchlists).values(
            account_id=account_id,
            list_id=made.list_id,
            name=made.name,
            name_key=name_key(made.name),
            position=made.position,
        )
    )
