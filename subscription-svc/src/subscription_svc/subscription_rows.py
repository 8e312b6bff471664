"""The statements about what is in an account's lists."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, tuple_

from subscription_svc.refusals import (
    AlreadySubscribedError,
    NotSubscribedError,
    TooManySubscriptionsError,
)
from subscription_svc.schema import subscriptions, watchlists
from subscription_svc.watchlist_rows import (
    Held,
    Watchlist,
    first_watchlist,
    in_order,
    update_positions,
)

MAX_SUBSCRIPTIONS = 500  # an account

_TABLE = subscriptions.c


@dataclass(frozen=True)
class Subscription:
    """One symbol of a list; those of smaller positions come first."""

    symbol: str
    create_time: datetime
    list_id: str
    note: str
    position: int


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to follow, checked; at the end where no position is said."""

    symbol: str
    note: str
    create_time: datetime
    position: int | None = None


@dataclass(frozen=True)
class Addition:
    """A symbol that is to be in a list."""

    held: Held
    watchlist: Watchlist
    wanted: Wanted

    @property
    def place(self) -> tuple[str, str, str]:
        """The key of its row."""
        return self.held.account_id, self.watchlist.list_id, self.wanted.symbol

    def made(self, end: int) -> Subscription:
        """What its row is, where the list ends there."""
        wanted = self.wanted
        position = end if wanted.position is None else wanted.position
        since = wanted.create_time.astimezone(UTC)
        return Subscription(wanted.symbol, since, self.watchlist.list_id, wanted.note, position)


# A subscription, and whether it was made; or why it was not.
Added = tuple[Subscription, bool] | TooManySubscriptionsError


@dataclass(frozen=True)
class Followed:
    """An account's lists in their order, and what is in them: list by list, each in its order."""

    watchlists: tuple[Watchlist, ...]
    subscriptions: tuple[Subscription, ...]


_COLUMNS = (_TABLE.symbol, _TABLE.create_time, _TABLE.list_id, _TABLE.note, _TABLE.position)
_IN_LIST = and_(_TABLE.account_id == bindparam("account"), _TABLE.list_id == bindparam("watchlist"))
_ROW = and_(_IN_LIST, _TABLE.symbol == bindparam("named"))
_PLACES = select(_TABLE.account_id, *_COLUMNS).where(
    tuple_(_TABLE.account_id, _TABLE.list_id, _TABLE.symbol).in_(
        bindparam("places", expanding=True)
    )
)
_MOVE = subscriptions.update().where(_ROW).values(position=bindparam("to"))


_ALL = (
    select(
        watchlists.c.account_id,
        watchlists.c.list_id,
        watchlists.c.name,
        watchlists.c.position,
        *_COLUMNS,
    )
    .select_from(
        watchlists.outerjoin(
            subscriptions,
            and_(
                _TABLE.account_id == watchlists.c.account_id,
                _TABLE.list_id == watchlists.c.list_id,
            ),
        )
    )
    .where(watchlists.c.account_id.in_(bindparam("accounts", expanding=True)))
    .order_by(watchlists.c.position, watchlists.c.list_id, _TABLE.position, _TABLE.symbol)
)


def _of(held: Held, watchlist: Watchlist, symbol: str | None = None) -> dict[str, str]:
    named = {} if symbol is None else {"named": symbol}
    return {"account": held.account_id, "watchlist": watchlist.list_id, **named}


def find(
    connection: Connection, held: Held, watchlist: Watchlist, symbol: str
) -> Subscription | None:
    """The subscription, where the list has it."""
    found = connection.execute(select(*_COLUMNS).where(_ROW), _of(held, watchlist, symbol))
    row = found.one_or_none()
    return row and Subscription(*row)


def in_list(connection: Connection, held: Held, watchlist: Watchlist) -> list[Subscription]:
    """What is in a list, in its order."""
    rows = connection.execute(
        select(*_COLUMNS).where(_IN_LIST).order_by(_TABLE.position, _TABLE.symbol),
        _of(held, watchlist),
    )
    return [Subscription(*row) for row in rows]


def add_all(connection: Connection, additions: Sequence[Addition]) -> list[Added]:
    """Makes the rows that are not there, in as many statements as for one; what became of each."""
    there = _find_all(connection, additions)
    counts = {each.held.account_id: each.held.count for each in additions}
    ends = {each.place[:2]: each.held.ends[each.watchlist.list_id] for each in additions}
    outcomes: list[Added] = []
    at_the_end, in_its_place = [], []
    for each in additions:
        account_id, list_id, _ = each.place
        if each.place in there:
            outcomes.append((there[each.place], False))
            continue
        if counts[account_id] >= MAX_SUBSCRIPTIONS:
            outcomes.append(TooManySubscriptionsError(MAX_SUBSCRIPTIONS))
            continue
        made = each.made(ends[account_id, list_id])
        there[each.place] = made
        counts[account_id] += 1
        if each.wanted.position is None:
            ends[account_id, list_id] += 1
            at_the_end.append({"account_id": account_id, **vars(made)})
        else:
            in_its_place.append({"account_id": account_id, **vars(made)})
        outcomes.append((made, True))
    if at_the_end:
        connection.execute(subscriptions.insert(), at_the_end)
    for row in in_its_place:
        _make_room(connection, row)
        connection.execute(subscriptions.insert(), row)
    return outcomes


def _find_all(
    connection: Connection, additions: Sequence[Addition]
) -> dict[tuple[str, str, str], Subscription]:
    rows = connection.execute(_PLACES, {"places": list({each.place for each in additions})})
    return {(row[0], row.list_id, row.symbol): Subscription(*row[1:]) for row in rows}


def remove(
    connection: Connection, held: Held, lists: Sequence[Watchlist], symbol: str
) -> list[Subscription]:
    """Deletes the symbol's rows of some lists, and answers them. Raises NotSubscribedError."""
    rows = connection.execute(
        subscriptions.delete()
        .where(
            _TABLE.account_id == held.account_id,
            _TABLE.list_id.in_([each.list_id for each in lists]),
            _TABLE.symbol == symbol,
        )
        .returning(*_COLUMNS)
    )
    removed = {row.list_id: Subscription(*row) for row in rows}
    if not removed:
        raise NotSubscribedError(symbol)
    return [removed[each.list_id] for each in lists if each.list_id in removed]


def set_note(
    connection: Connection, held: Held, watchlist: Watchlist, there: Subscription, note: str
) -> Subscription:
    """Writes another note."""
    connection.execute(
        subscriptions.update().where(_ROW).values(note=note), _of(held, watchlist, there.symbol)
    )
    return replace(there, note=note)


def move(
    connection: Connection, held: Held, there: Subscription, source: Watchlist, target: Watchlist
) -> Subscription:
    """Takes a subscription to the end of another list. Raises AlreadySubscribedError."""
    if find(connection, held, target, there.symbol) is not None:
        raise AlreadySubscribedError(there.symbol, target.name)
    end = held.ends[target.list_id]
    connection.execute(
        subscriptions.update().where(_ROW).values(list_id=target.list_id, position=end),
        _of(held, source, there.symbol),
    )
    return replace(there, list_id=target.list_id, position=end)


def reorder(
    connection: Connection, held: Held, watchlist: Watchlist, symbols: Sequence[str]
) -> tuple[list[str], bool]:
    """Puts a list in another order: all of its symbols, and whether anything moved.

    Raises FieldInvalidError where one is named twice, NotSubscribedError.
    """
    positions = {each.symbol: each.position for each in in_list(connection, held, watchlist)}
    for symbol in symbols:
        if symbol not in positions:
            raise NotSubscribedError(symbol)
    order = in_order("symbols", symbols, list(positions))
    moved = update_positions(positions, order, **_of(held, watchlist))
    if moved:
        connection.execute(_MOVE, moved)
    return order, bool(moved)


def list_all(connection: Connection, account_ids: Collection[str]) -> dict[str, Followed]:
    """What each of the accounts follows, in one statement."""
    rows = connection.execute(_ALL, {"accounts": list(account_ids)})
    found: defaultdict[str, dict[str, Watchlist]] = defaultdict(dict)
    followed: defaultdict[str, list[Subscription]] = defaultdict(list)
    for account_id, list_id, name, position, *row in rows:
        if list_id not in found[account_id]:
            found[account_id][list_id] = Watchlist(list_id, name, position)
        if row[0] is not None:
            followed[account_id].append(Subscription(*row))
    return {
        each: Followed(
            tuple(found[each].values()) or (first_watchlist(each),), tuple(followed[each])
        )
        for each in account_ids
    }


def _make_room(connection: Connection, row: Mapping[str, Any]) -> None:
    in_list = and_(_TABLE.account_id == row["account_id"], _TABLE.list_id == row["list_id"])
    occupied = select(_TABLE.symbol).where(in_list, _TABLE.position == row["position"])
    if connection.execute(occupied).first() is not None:
        connection.execute(
            subscriptions.update()
            .where(in_list, _TABLE.position >= row["position"])
            .values(position=_TABLE.position + 1)
        )
