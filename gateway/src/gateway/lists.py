"""Calls about named lists: one thin function each, with its own deadline."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from grpc.aio import Channel

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import SubscriptionServiceStub
from foretick_rpc.convert import timestamp
from gateway import answers
from gateway.calls import READ_SECONDS, answered, key_message
from gateway.model import SUBSCRIPTION, SignInKey, Subscription, Watchlist

IMPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed, as undoing needs it; with the list where that was deleted."""

    entries: tuple[Subscription, ...]
    watchlist: Watchlist | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one symbol; ``result`` is "added", "already_there" or "refused"."""

    symbol: str
    result: str
    message: str


class Lists:
    """The lists of whoever is signed in. Every call raises `RequestError` where it fails."""

    def __init__(self, subscription: Channel) -> None:
        self._stub = SubscriptionServiceStub(subscription)

    async def remove(self, key: SignInKey, symbol: str, list_id: str = "") -> Removal:
        """Stop following a symbol in one list, or in all."""
        request = pb.RemoveSubscriptionRequest(key=key_message(key), symbol=symbol, list_id=list_id)
        call = self._stub.RemoveSubscription(request, timeout=READ_SECONDS)
        removed = (await answered(SUBSCRIPTION, call)).removed
        return Removal(tuple(answers.subscription(each) for each in removed))

    async def restore(self, key: SignInKey, entry: Subscription) -> None:
        """Follow a symbol as it was followed before."""
        request = pb.AddSubscriptionRequest(
            key=key_message(key),
            symbol=entry.symbol,
            list_id=entry.list_id,
            note=entry.note,
            position=entry.position,
            create_time=timestamp(entry.created) if entry.created else None,
        )
        call = self._stub.AddSubscription(request, timeout=READ_SECONDS)
        await answered(SUBSCRIPTION, call)

    async def set_note(self, key: SignInKey, list_id: str, symbol: str, note: str) -> Subscription:
        """Write another note."""
        request = pb.UpdateSubscriptionRequest(
            key=key_message(key), list_id=list_id, symbol=symbol, note=note
        )
        call = self._stub.UpdateSubscription(request, timeout=READ_SECONDS)
        return answers.subscription((await answered(SUBSCRIPTION, call)).subscription)

    async def move(
        self, key: SignInKey, list_id: str, symbol: str, to_list_id: str
    ) -> Subscription:
        """Take a subscription to the end of another list."""
        request = pb.UpdateSubscriptionRequest(
            key=key_message(key), list_id=list_id, symbol=symbol, to_list_id=to_list_id
        )
        call = self._stub.UpdateSubscription(request, timeout=READ_SECONDS)
        return answers.subscription((await answered(SUBSCRIPTION, call)).subscription)

    async def reorder(self, key: SignInKey, list_id: str, symbols: Sequence[str]) -> list[str]:
        """Put a list in another order; all of its symbols."""
        request = pb.ReorderSubscriptionsRequest(
            key=key_message(key), list_id=list_id, symbols=symbols
        )
        call = self._stub.ReorderSubscriptions(request, timeout=READ_SECONDS)
        return list((await answered(SUBSCRIPTION, call)).symbols)

    async def import_all(
        self, key: SignInKey, list_id: str, entries: Sequence[Subscription]
    ) -> list[Imported]:
        """Follow 1 to 500 symbols at the end of a list."""
        items = [
            pb.ImportItem(
                symbol=each.symbol,
                note=each.note,
                create_time=timestamp(each.created) if each.created else None,
            )
            for each in entries
        ]
        request = pb.ImportSubscriptionsRequest(key=key_message(key), list_id=list_id, items=items)
        call = self._stub.ImportSubscriptions(request, timeout=IMPORT_SECONDS)
        outcomes = (await answered(SUBSCRIPTION, call)).outcomes
        return [
            Imported(
                each.symbol,
                pb.ImportResult.Name(each.result).removeprefix("IMPORT_RESULT_").lower(),
                each.message,
            )
            for each in outcomes
        ]

    async def create(
        self, key: SignInKey, name: str, restored: Watchlist | None = None
    ) -> Watchlist:
        """Make a list, or make one again that was deleted."""
        request = pb.CreateWatchlistRequest(
            key=key_message(key),
            name=name,
            # An id of our own lets the call be repeated where nobody knows whether it was done.
            list_id=restored.list_id if restored else uuid.uuid4().hex,
            position=restored.position if restored else None,
        )
        call = self._stub.CreateWatchlist(request, timeout=READ_SECONDS)
        return answers.watchlist((await answered(SUBSCRIPTION, call)).watchlist)

    async def rename(self, key: SignInKey, list_id: str, name: str) -> Watchlist:
        """Give a list another name."""
        request = pb.RenameWatchlistRequest(key=key_message(key), list_id=list_id, name=name)
        call = self._stub.RenameWatchlist(request, timeout=READ_SECONDS)
        return answers.watchlist((await answered(SUBSCRIPTION, call)).watchlist)

    async def delete(self, key: SignInKey, list_id: str) -> Removal:
        """Delete a list with what is in it."""
        request = pb.DeleteWatchlistRequest(key=key_message(key), list_id=list_id)
        call = self._stub.DeleteWatchlist(request, timeout=READ_SECONDS)
        answer = await answered(SUBSCRIPTION, call)
        entries = tuple(answers.subscription(each) for each in answer.removed)
        return Removal(entries, answers.watchlist(answer.watchlist))

    async def reorder_lists(self, key: SignInKey, list_ids: Sequence[str]) -> list[Watchlist]:
        """Put the lists in another order; all of them."""
        request = pb.ReorderWatchlistsRequest(key=key_message(key), list_ids=list_ids)
        call = self._stub.ReorderWatchlists(request, timeout=READ_SECONDS)
        lists = (await answered(SUBSCRIPTION, call)).watchlists
        return [answers.watchlist(each) for each in lists]

    async def undo(self, key: SignInKey, removal: Removal) -> None:
        """Bring back what was removed; twice is no error."""
        if removal.watchlist is None:
            for entry in removal.entries:
                await self.restore(key, entry)
            return
        await self.create(key, removal.watchlist.name, removal.watchlist)
        if removal.entries:
            await self.import_all(key, removal.watchlist.list_id, removal.entries)


LISTS = web.AppKey("lists", Lists)
