"""Somebody with an account, who keeps lists in it."""

from typing import Any

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import SubscriptionServiceStub


class Owner:
    """What one account asks for."""

    def __init__(self, stub: SubscriptionServiceStub, key: pb.SignInKey) -> None:
        self.stub = stub
        self.key = key

    async def shown(self) -> pb.SubscriptionList:
        request = pb.BatchListSubscriptionsRequest(keys=[self.key])
        [answer] = (await self.stub.BatchListSubscriptions(request)).lists
        assert answer.error_reason == ""
        return answer

    async def names(self) -> list[str]:
        return [each.name for each in (await self.shown()).watchlists]

    async def content(self) -> dict[str, list[str]]:
        """Symbols by the names of lists, both in their order; "symbol: note" where there is one."""
        answer = await self.shown()
        names = {each.list_id: each.name for each in answer.watchlists}
        content: dict[str, list[str]] = {name: [] for name in names.values()}
        for each in answer.subscriptions:
            text = f"{each.symbol}: {each.note}" if each.note else each.symbol
            content[names[each.list_id]].append(text)
        return content

    async def add(self, symbol: str, list_id: str = "", **more: Any) -> pb.AddSubscriptionResponse:
        return await self.stub.AddSubscription(
            pb.AddSubscriptionRequest(key=self.key, symbol=symbol, list_id=list_id, **more)
        )

    async def remove(self, symbol: str, list_id: str = "") -> list[pb.Subscription]:
        request = pb.RemoveSubscriptionRequest(key=self.key, symbol=symbol, list_id=list_id)
        return list((await self.stub.RemoveSubscription(request)).removed)

    async def undo(self, removed: pb.Subscription) -> pb.AddSubscriptionResponse:
        return await self.add(
            removed.symbol,
            removed.list_id,
            note=removed.note,
            position=removed.position,
            create_time=removed.create_time,
        )

    async def update(self, symbol: str, list_id: str = "", **more: Any) -> pb.Subscription:
        request = pb.UpdateSubscriptionRequest(key=self.key, symbol=symbol, list_id=list_id, **more)
        return (await self.stub.UpdateSubscription(request)).subscription

    async def reorder(self, symbols: list[str], list_id: str = "") -> list[str]:
        request = pb.ReorderSubscriptionsRequest(key=self.key, list_id=list_id, symbols=symbols)
        return list((await self.stub.ReorderSubscriptions(request)).symbols)

    async def bring(self, items: list[pb.ImportItem], list_id: str = "") -> list[pb.ImportOutcome]:
        request = pb.ImportSubscriptionsRequest(key=self.key, list_id=list_id, items=items)
        return list((await self.stub.ImportSubscriptions(request)).outcomes)

    async def create(self, name: str, **more: Any) -> pb.CreateWatchlistResponse:
        request = pb.CreateWatchlistRequest(key=self.key, name=name, **more)
        return await self.stub.CreateWatchlist(request)

    async def rename(self, list_id: str, name: str) -> pb.Watchlist:
        request = pb.RenameWatchlistRequest(key=self.key, list_id=list_id, name=name)
        return (await self.stub.RenameWatchlist(request)).watchlist

    async def delete(self, list_id: str) -> pb.DeleteWatchlistResponse:
        request = pb.DeleteWatchlistRequest(key=self.key, list_id=list_id)
        return await self.stub.DeleteWatchlist(request)

    async def reorder_lists(self, *list_ids: str) -> list[str]:
        request = pb.ReorderWatchlistsRequest(key=self.key, list_ids=list_ids)
        return [each.name for each in (await self.stub.ReorderWatchlists(request)).watchlists]
