"""The statements about what is in an account's lists."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Executable, Integer, and_, bindparam, func, select

from foretick_rpc.database import insert_of
from subscription_svc.refusals import (
    AlreadySubscribedError,
    NotSubscribedError,
    TooManySubscriptionsError,
)
from subscription_svc.schema import UtcTime, subscriptions, watchlists
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
class Followed:
    """An account's lists in their order, and what is in them: list by list, each in its order."""

    watchlists: tuple[Watchlist, ...]
    subscriptions: tuple[Subscription, ...]


_COLUMNS = (_TABLE.symbol, _TABLE.create_time, _TABLE.list_id, _TABLE.note, _TABLE.position)
_IN_LIST = and_(_TABLE.account_id == bindparam("account"), _TABLE.list_id == bindparam("watchlist"))
_ROW = and_(_IN_LIST, _TABLE.symbol == bindparam("named"))
_END = select(func.coalesce(func.max(_TABLE.position) + 1, 0)).where(_IN_LIST).scalar_subquery()
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


def add(
    connection: Connection, held: Held, watchlist: Watchlist, wanted: Wanted
) -> tuple[Subscription, bool]:
    """Makes the row unless it is there; True where it was made.

    Raises TooManySubscriptionsError, which must roll the transaction back.
    """
    made = connection.execute(
        _insertion(connection.dialect.name),
        {
            **_of(held, watchlist, wanted.symbol),
            "at": wanted.position,
            "written": wanted.note,
            "since": wanted.create_time,
        },
    ).one_or_none()
    if made is None:
        there = find(connection, held, watchlist, wanted.symbol)
        assert there is not None, "what conflicts is held"  # noqa: S101
        return there, False
    if held.count >= MAX_SUBSCRIPTIONS:
        raise TooManySubscriptionsError(MAX_SUBSCRIPTIONS)
    if wanted.position is not None:
        _make_room(connection, held, watchlist, Subscription(*made))
    return Subscription(*made), True


@cache
def _insertion(dialect: str) -> Executable:
    """At the end of the list where no place is said."""
    place = func.coalesce(bindparam("at", type_=Integer), _END)
    return (
        insert_of(dialect, subscriptions)
        .values(
            account_id=bindparam("account"),
            list_id=bindparam("watchlist"),
            symbol=bindparam("named"),
            position=place,
            note=bindparam("written"),
            create_time=bindparam("since", type_=UtcTime()),
        )
        .on_conflict_do_nothing()
        .returning(*_COLUMNS)
    )


def add_all(
    connection: Connection, held: Held, watchlist: Watchlist, wanted: Sequence[Wanted]
) -> None:
    """Makes rows that are not there, at the end of a list; whoever calls has seen to the limit."""
    end: int = connection.execute(select(_END), _of(held, watchlist)).scalar_one()
    rows = [
        {
            "account_id": held.account_id,
            "list_id": watchlist.list_id,
            "symbol": each.symbol,
            "position": end + n,
            "note": each.note,
            "create_time": each.create_time,
        }
        for n, each in enumerate(wanted)
    ]
    if rows:
        connection.execute(subscriptions.insert(), rows)


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
    end: int = connection.execute(select(_END), _of(held, target)).scalar_one()
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


def _make_room(
    connection: Connection, held: Held, watchlist: Watchlist, made: Subscription
) -> None:
    others = and_(_IN_LIST, _TABLE.symbol != made.symbol)
    of = _of(held, watchlist)
    occupied = select(_TABLE.symbol).where(others, _TABLE.position == made.position)
    if connection.execute(occupied, of).first() is not None:
        connection.execute(
            subscriptions.update()
            .where(others, _TABLE.position >= made.position)
            .values(position=_TABLE.position + 1),
            of,
        )
