"""The part of the fake of subscription-svc that is about lists."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from grpc import StatusCode

from fake_service import Fake
from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError, invalid_argument

FOLLOWED_SINCE = datetime(2019, 12, 2, 8, 30, tzinfo=UTC)


def account_id(email: str) -> str:
    return hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()


def other_id(number: int) -> str:
    """The id of a list that a test makes."""
    return f"{number:032x}"


@dataclass
class FakeLists(Fake, pb_grpc.SubscriptionServiceServicer, ABC):
    """The first list of each account is in `followed`, under the account's id; more in `more`."""

    followed: dict[str, list[str]] = field(default_factory=dict)  # by e-mail address
    names: dict[str, dict[str, str]] = field(default_factory=dict)  # of lists by id, in order
    more: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    notes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    limit: int = 200

    @abstractmethod
    def caller(self, key: Any) -> str: ...

    @abstractmethod
    def account(self, email: str) -> pb.Account: ...

    def make_list(self, email: str, list_id: str, name: str, *symbols: str) -> None:
        self.lists_of(email)[list_id] = name
        if list_id == account_id(email):
            self.followed[email] = list(symbols)
        else:
            self.more.setdefault(email, {})[list_id] = list(symbols)

    def lists_of(self, email: str) -> dict[str, str]:
        return self.names.setdefault(email, {account_id(email): "Watchlist"})

    def symbols(self, email: str, list_id: str) -> list[str]:
        lists = self.lists_of(email)
        if (list_id or next(iter(lists))) not in lists:
            raise AppError(StatusCode.NOT_FOUND, "WATCHLIST_NOT_FOUND", "There is no such list.")
        list_id = list_id or next(iter(lists))
        if list_id == account_id(email):
            return self.followed[email]
        return self.more[email][list_id]

    def _message(self, email: str, list_id: str, symbol: str) -> pb.Subscription:
        list_id = list_id or next(iter(self.lists_of(email)))
        symbols = self.symbols(email, list_id)
        return pb.Subscription(
            symbol=symbol,
            list_id=list_id,
            note=self.notes.get((email, list_id, symbol), ""),
            position=symbols.index(symbol),
            create_time=timestamp(FOLLOWED_SINCE),
        )

    def _require(self, email: str, list_id: str, symbol: str) -> list[str]:
        symbols = self.symbols(email, list_id)
        if symbol not in symbols:
            raise AppError(
                StatusCode.NOT_FOUND, "NOT_SUBSCRIBED", f"{symbol[:40]} is not followed."
            )
        return symbols

    def _watchlist(self, email: str, list_id: str) -> pb.Watchlist:
        lists = self.lists_of(email)
        return pb.Watchlist(
            list_id=list_id, name=lists[list_id], position=list(lists).index(list_id)
        )

    def _check_name(self, email: str, name: str, but: str = "") -> None:
        if not 1 <= len(name.strip()) <= 60 or not name.isprintable():
            raise invalid_argument("name", "The name of a list has 1 to 60 characters.")
        lists = self.lists_of(email)
        if any(each == name for list_id, each in lists.items() if list_id != but):
            raise AppError(
                StatusCode.ALREADY_EXISTS,
                "WATCHLIST_NAME_TAKEN",
                f"There is already a list with the name {name}.",
                field="name",
            )

    async def AddSubscription(self, request: Any, context: Any) -> Any:
        self.note("AddSubscription")
        email = self.caller(request.key)
        follows = self.symbols(email, request.list_id)
        if len(follows) >= self.limit:
            raise AppError(
                StatusCode.FAILED_PRECONDITION, "TOO_MANY_SUBSCRIPTIONS", "The list is full."
            )
        created = request.symbol not in follows
        if created:
            at = request.position if request.HasField("position") else len(follows)
            follows.insert(at, request.symbol)
            list_id = request.list_id or next(iter(self.lists_of(email)))
            self.notes[email, list_id, request.symbol] = request.note
        return pb.AddSubscriptionResponse(
            subscription=self._message(email, request.list_id, request.symbol), created=created
        )

    async def RemoveSubscription(self, request: Any, context: Any) -> Any:
        self.note("RemoveSubscription")
        email = self.caller(request.key)
        lists = [request.list_id] if request.list_id else list(self.lists_of(email))
        having = [each for each in lists if request.symbol in self.symbols(email, each)]
        removed = [self._message(email, each, request.symbol) for each in having]
        for each in having or lists[:1]:
            self._require(email, each, request.symbol).remove(request.symbol)
        return pb.RemoveSubscriptionResponse(removed=removed)

    async def UpdateSubscription(self, request: Any, context: Any) -> Any:
        self.note("UpdateSubscription")
        email, list_id, symbol = self.caller(request.key), request.list_id, request.symbol
        follows = self._require(email, list_id, symbol)
        if request.HasField("note"):
            if len(request.note) > 500 or "\0" in request.note:
                raise invalid_argument("note", "A note has at most 500 characters.")
            self.notes[email, list_id, symbol] = request.note
        if request.to_list_id and request.to_list_id != list_id:
            target = self.symbols(email, request.to_list_id)
            if symbol in target:
                raise AppError(StatusCode.ALREADY_EXISTS, "ALREADY_SUBSCRIBED", "It is there too.")
            follows.remove(symbol)
            target.append(symbol)
            note = self.notes.pop((email, list_id, symbol), "")
            list_id = request.to_list_id
            self.notes[email, list_id, symbol] = note
        return pb.UpdateSubscriptionResponse(subscription=self._message(email, list_id, symbol))

    async def ReorderSubscriptions(self, request: Any, context: Any) -> Any:
        self.note("ReorderSubscriptions")
        email = self.caller(request.key)
        follows = self.symbols(email, request.list_id)
        for symbol in request.symbols:
            self._require(email, request.list_id, symbol)
        if len(set(request.symbols)) < len(request.symbols):
            raise invalid_argument("symbols", "Each can be named once only.")
        follows[:] = dict.fromkeys([*request.symbols, *follows])
        return pb.ReorderSubscriptionsResponse(symbols=follows)

    async def ImportSubscriptions(self, request: Any, context: Any) -> Any:
        self.note("ImportSubscriptions")
        email = self.caller(request.key)
        follows = self.symbols(email, request.list_id)
        response = pb.ImportSubscriptionsResponse()
        for item in request.items:
            result, message = pb.IMPORT_RESULT_ADDED, ""
            if item.symbol in follows:
                result = pb.IMPORT_RESULT_ALREADY_THERE
            elif len(follows) >= self.limit:
                result, message = pb.IMPORT_RESULT_REFUSED, "The list is full."
            else:
                follows.append(item.symbol)
                self.notes[email, request.list_id, item.symbol] = item.note
            response.outcomes.add(symbol=item.symbol, result=result, message=message)
        return response

    async def CreateWatchlist(self, request: Any, context: Any) -> Any:
        self.note("CreateWatchlist")
        email = self.caller(request.key)
        lists = self.lists_of(email)
        created = request.list_id not in lists
        if created:
            self._check_name(email, request.name)
            if len(lists) >= 20:
                raise AppError(
                    StatusCode.FAILED_PRECONDITION,
                    "TOO_MANY_WATCHLISTS",
                    "An account can have at most 20 lists. Delete one first.",
                )
            self.make_list(email, request.list_id, request.name)
            if request.HasField("position"):
                order = [each for each in lists if each != request.list_id]
                order.insert(request.position, request.list_id)
                self.names[email] = {each: lists[each] for each in order}
        return pb.CreateWatchlistResponse(
            watchlist=self._watchlist(email, request.list_id), created=created
        )

    async def RenameWatchlist(self, request: Any, context: Any) -> Any:
        self.note("RenameWatchlist")
        email = self.caller(request.key)
        self.symbols(email, request.list_id)
        self._check_name(email, request.name, request.list_id)
        self.lists_of(email)[request.list_id] = request.name
        return pb.RenameWatchlistResponse(watchlist=self._watchlist(email, request.list_id))

    async def DeleteWatchlist(self, request: Any, context: Any) -> Any:
        self.note("DeleteWatchlist")
        email, list_id = self.caller(request.key), request.list_id
        symbols = self.symbols(email, list_id)
        if len(self.lists_of(email)) == 1:
            raise AppError(
                StatusCode.FAILED_PRECONDITION,
                "LAST_WATCHLIST",
                "This is the only list. Make another one first.",
            )
        response = pb.DeleteWatchlistResponse(
            watchlist=self._watchlist(email, list_id),
            removed=[self._message(email, list_id, each) for each in symbols],
        )
        symbols.clear()
        del self.lists_of(email)[list_id]
        return response

    async def ReorderWatchlists(self, request: Any, context: Any) -> Any:
        self.note("ReorderWatchlists")
        email = self.caller(request.key)
        lists = self.lists_of(email)
        for list_id in request.list_ids:
            self.symbols(email, list_id)
        if len(set(request.list_ids)) < len(request.list_ids):
            raise invalid_argument("list_ids", "Each can be named once only.")
        order = dict.fromkeys([*request.list_ids, *lists])
        self.names[email] = {each: lists[each] for each in order}
        return pb.ReorderWatchlistsResponse(
            watchlists=[self._watchlist(email, each) for each in order]
        )

    async def BatchListSubscriptions(self, request: Any, context: Any) -> Any:
        self.note("BatchListSubscriptions")
        response = pb.BatchListSubscriptionsResponse()
        for key in request.keys:
            answer = response.lists.add(key=key)
            try:
                email = self.caller(key)
            except AppError as error:
                answer.error_reason = error.reason
                continue
            answer.email = email
            answer.account.CopyFrom(self.account(email))
            answer.expire_time.CopyFrom(timestamp(datetime.now(UTC) + timedelta(days=7)))
            for list_id in self.lists_of(email):
                answer.watchlists.append(self._watchlist(email, list_id))
                for symbol in self.symbols(email, list_id):
                    answer.subscriptions.append(self._message(email, list_id, symbol))
        return response
