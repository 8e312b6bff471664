"""Who follows which symbols, in which lists."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum, auto
from itertools import chain
from typing import TypeVar

from sqlalchemy import Connection

from foretick_rpc.coalescing import Coalesced
from foretick_rpc.notes import parse_note
from foretick_rpc.symbols import parse_symbol
from subscription_svc import events, subscription_rows, watchlist_rows
from subscription_svc.admission import Admission
from subscription_svc.events import AccountEvent, EventKind
from subscription_svc.list_texts import parse_name
from subscription_svc.refusals import (
    AccountNotFoundError,
    FieldInvalidError,
    NotSubscribedError,
    RefusalError,
    SignInInvalidError,
)
from subscription_svc.sign_ins import Caller, Clock, SignInKey
from subscription_svc.subscription_rows import Addition, Followed, Subscription, Wanted
from subscription_svc.watchlist_rows import Held, Watchlist

MAX_KEYS = 200  # a batch
MAX_ITEMS = 500  # an import
MOST_AT_ONCE = 64  # additions, or batches of keys, in one transaction
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")
_LIST_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class SubscriptionList:
    """The answer for one key: what the account follows, or the reason why that is not said."""

    key: SignInKey
    caller: Caller | None = None
    followed: Followed = Followed((), ())  # noqa: RUF009 - frozen
    error_reason: str = ""


@dataclass(frozen=True)
class Asked:
    """What somebody wants to follow, as it was said; since now, at the end, if it was not."""

    symbol: str
    note: str = ""
    create_time: datetime | None = None
    position: int | None = None


@dataclass(frozen=True)
class _Adding:
    """What somebody asks to add, and on whose behalf."""

    key: SignInKey
    list_id: str
    asked: Asked


class ImportResult(StrEnum):
    """What became of a symbol that was to be imported."""

    ADDED = auto()
    ALREADY_THERE = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class ImportOutcome:
    """The same with the symbol, and the reason where it was refused."""

    symbol: str
    result: ImportResult
    refusal: RefusalError | None = None


def checked(asked: Asked, now: datetime) -> Wanted:
    """What is asked for, in one spelling. Raises FieldInvalidError."""
    since = now if asked.create_time is None else asked.create_time
    if not EARLIEST <= since <= now:
        raise FieldInvalidError("create_time", "It must not be before 1970, nor in the future.")
    watchlist_rows.check_position(asked.position)
    return Wanted(_symbol(asked.symbol), _note(asked.note), since, asked.position)


def _note(text: str) -> str:
    try:
        return parse_note(text)
    except ValueError as error:
        raise FieldInvalidError("note", str(error)) from error


def _symbol(text: str) -> str:
    try:
        return parse_symbol(text)
    except ValueError as error:
        raise FieldInvalidError("symbol", str(error)) from error


class Subscriptions:
    """What SubscriptionService does. All of it raises SignInInvalidError and FieldInvalidError."""

    def __init__(self, admission: Admission, now: Clock) -> None:
        self._admission = admission
        self._now = now
        # One transaction for all who wait costs a third of one for each.
        self._additions = Coalesced(self._add_all, MOST_AT_ONCE)
        self._lists = Coalesced(self._list_all, MOST_AT_ONCE)

    async def add(self, key: SignInKey, list_id: str, asked: Asked) -> tuple[Subscription, bool]:
        """Follows a symbol; False where the list has it already.

        Raises WatchlistNotFoundError, TooManySubscriptionsError.
        """
        outcome = await self._additions.get(_Adding(key, list_id, asked))
        if isinstance(outcome, RefusalError):
            raise outcome
        return outcome

    async def _add_all(
        self, adding: Sequence[_Adding]
    ) -> list[tuple[Subscription, bool] | RefusalError]:
        """What many ask for at once, in one transaction; each is refused by itself."""

        def work(
            connection: Connection, callers: Mapping[SignInKey, Caller]
        ) -> list[tuple[Subscription, bool] | RefusalError]:
            now = self._now()
            account_ids = {caller.account.account_id for caller in callers.values()}
            held = watchlist_rows.hold_all(connection, account_ids)
            read = [_read(each, held if each.key in callers else {}, now) for each in adding]
            additions = [each for each in read if isinstance(each, Addition)]
            added = subscription_rows.add_all(connection, additions)
            told = [
                AccountEvent(EventKind.SUBSCRIPTIONS_CHANGED, each.held.account_id)
                for each, outcome in zip(additions, added, strict=True)
                if isinstance(outcome, tuple) and outcome[1]
            ]
            events.append(connection, told, now)
            answers = iter(added)
            return [next(answers) if isinstance(each, Addition) else each for each in read]

        return await self._admission.write_many([each.key for each in adding], work)

    async def remove(self, key: SignInKey, list_id: str, symbol: str) -> list[Subscription]:
        """Stops following in a list, or in all where none is named; what was removed.

        Raises WatchlistNotFoundError, NotSubscribedError.
        """

        def work(connection: Connection, held: Held) -> tuple[list[Subscription], bool]:
            lists = [held.get(list_id)] if list_id else held.lists
            return subscription_rows.remove(connection, held, lists, _symbol(symbol)), True

        return await self._write(key, work)

    async def update(
        self, key: SignInKey, list_id: str, symbol: str, *, note: str | None, to_list_id: str
    ) -> Subscription:
        """Changes a note, or moves to the end of another list; the subscription as it is then.

        Raises WatchlistNotFoundError, NotSubscribedError, AlreadySubscribedError.
        """

        def work(connection: Connection, held: Held) -> tuple[Subscription, bool]:
            source, named = held.get(list_id), _symbol(symbol)
            target = held.get(to_list_id) if to_list_id else source
            there = subscription_rows.find(connection, held, source, named)
            if there is None:  # moved already, when this is asked again
                source = target
                there = subscription_rows.find(connection, held, target, named)
            if there is None:
                raise NotSubscribedError(named)
            before = there
            if note is not None:
                there = subscription_rows.set_note(connection, held, source, there, _note(note))
            if source != target:
                there = subscription_rows.move(connection, held, there, source, target)
            return there, there != before

        return await self._write(key, work)

    async def reorder(self, key: SignInKey, list_id: str, symbols: Sequence[str]) -> list[str]:
        """Puts a list in another order; all of its symbols.

        Raises WatchlistNotFoundError, NotSubscribedError.
        """

        def work(connection: Connection, held: Held) -> tuple[list[str], bool]:
            order = [_symbol(each) for each in symbols]
            return subscription_rows.reorder(connection, held, held.get(list_id), order)

        return await self._write(key, work)

    async def import_all(
        self, key: SignInKey, list_id: str, asked: Sequence[Asked]
    ) -> list[ImportOutcome]:
        """Follows many; what became of each, in order.

        Raises WatchlistNotFoundError.
        """

        def work(connection: Connection, held: Held) -> tuple[list[ImportOutcome], bool]:
            if not 1 <= len(asked) <= MAX_ITEMS:
                raise FieldInvalidError(
                    "items", f"1 to {MAX_ITEMS} can be imported at once, not {len(asked)}."
                )
            return _import(connection, held, held.get(list_id), asked, self._now())

        return await self._write(key, work)

    async def create_list(
        self, key: SignInKey, name: str, list_id: str, position: int | None
    ) -> tuple[Watchlist, bool]:
        """Makes a list; False where it is there already.

        Raises WatchlistExistsError, WatchlistNameTakenError, TooManyWatchlistsError.
        """

        def work(connection: Connection, held: Held) -> tuple[tuple[Watchlist, bool], bool]:
            if list_id and not _LIST_ID.fullmatch(list_id):
                raise FieldInvalidError("list_id", "An id has 32 of the characters 0-9 a-f.")
            made = watchlist_rows.create(connection, held, parse_name(name), list_id, position)
            return made, made[1]

        return await self._write(key, work)

    async def rename_list(self, key: SignInKey, list_id: str, name: str) -> Watchlist:
        """Gives a list another name. Raises WatchlistNotFoundError, WatchlistNameTakenError."""

        def work(connection: Connection, held: Held) -> tuple[Watchlist, bool]:
            return watchlist_rows.rename(connection, held, held.get(list_id), parse_name(name))

        return await self._write(key, work)

    async def delete_list(
        self, key: SignInKey, list_id: str
    ) -> tuple[Watchlist, list[Subscription]]:
        """Deletes a list; what it was and what was in it.

        Raises WatchlistNotFoundError, LastWatchlistError.
        """

        def work(
            connection: Connection, held: Held
        ) -> tuple[tuple[Watchlist, list[Subscription]], bool]:
            if not list_id:  # nobody means "the first" when deleting
                raise FieldInvalidError("list_id", "Say which list.")
            watchlist = held.get(list_id)
            inside = subscription_rows.in_list(connection, held, watchlist)
            watchlist_rows.delete(connection, held, watchlist)
            return (watchlist, inside), True

        return await self._write(key, work)

    async def reorder_lists(self, key: SignInKey, list_ids: Sequence[str]) -> list[Watchlist]:
        """Puts the lists in another order; all of them. Raises WatchlistNotFoundError."""

        def work(connection: Connection, held: Held) -> tuple[list[Watchlist], bool]:
            lists = watchlist_rows.reorder(connection, held, list_ids)
            return lists, lists != held.lists

        return await self._write(key, work)

    async def batch_list(self, keys: Sequence[SignInKey]) -> list[SubscriptionList]:
        """One answer for each key, in order. Raises FieldInvalidError."""
        if not 1 <= len(keys) <= MAX_KEYS:
            raise FieldInvalidError(
                "keys", f"1 to {MAX_KEYS} sign-ins can be asked for at once, not {len(keys)}."
            )
        return await self._lists.get(keys)

    async def _list_all(
        self, batches: Sequence[Sequence[SignInKey]]
    ) -> list[list[SubscriptionList]]:
        """What many ask for at once, in two statements."""
        callers, lists = await self._admission.read_many(
            list(dict.fromkeys(chain.from_iterable(batches))),
            lambda connection, callers: subscription_rows.list_all(
                connection, {caller.account.account_id for caller in callers}
            ),
        )

        def answer(key: SignInKey) -> SubscriptionList:
            if caller := callers.get(key):
                return SubscriptionList(key, caller, lists[caller.account.account_id])
            return SubscriptionList(key, error_reason=SignInInvalidError.reason)

        return [[answer(key) for key in keys] for keys in batches]

    async def _write(self, key: SignInKey, work: Callable[[Connection, Held], tuple[T, bool]]) -> T:
        """Runs work on the account's lists; what it answers, and told to others if it changed."""

        def held(connection: Connection, caller: Caller) -> T:
            account_id = caller.account.account_id
            answer, changed = work(connection, watchlist_rows.hold(connection, account_id))
            if changed:
                event = AccountEvent(EventKind.SUBSCRIPTIONS_CHANGED, account_id)
                events.append(connection, [event], self._now())
            return answer

        try:
            return await self._admission.write(key, held)
        except AccountNotFoundError:  # deleted since the sign-in was checked
            raise SignInInvalidError from None


def _read(adding: _Adding, held: Mapping[str, Held], now: datetime) -> Addition | RefusalError:
    """What is to be added where; or why it is not: no account is held for a bad sign-in."""
    try:
        lists = held.get(adding.key.account_id)
        if lists is None:
            raise SignInInvalidError
        return Addition(lists, lists.get(adding.list_id), checked(adding.asked, now))
    except RefusalError as refusal:
        return refusal


def _import(
    connection: Connection, held: Held, watchlist: Watchlist, asked: Sequence[Asked], now: datetime
) -> tuple[list[ImportOutcome], bool]:
    read: list[Addition | FieldInvalidError] = []
    for each in asked:
        try:
            read.append(Addition(held, watchlist, checked(each, now)))
        except FieldInvalidError as refusal:
            read.append(refusal)
    additions = [each for each in read if isinstance(each, Addition)]
    added = subscription_rows.add_all(connection, additions)
    answers = iter(added)
    outcomes = [
        _outcome(given, next(answers) if isinstance(each, Addition) else each)
        for given, each in zip(asked, read, strict=True)
    ]
    return outcomes, any(each.result is ImportResult.ADDED for each in outcomes)


def _outcome(asked: Asked, added: tuple[Subscription, bool] | RefusalError) -> ImportOutcome:
    if isinstance(added, RefusalError):
        return ImportOutcome(asked.symbol, ImportResult.REFUSED, added)
    subscription, created = added
    result = ImportResult.ADDED if created else ImportResult.ALREADY_THERE
    return ImportOutcome(subscription.symbol, result)
