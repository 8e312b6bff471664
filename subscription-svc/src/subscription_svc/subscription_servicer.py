"""SubscriptionService: from messages to the domain and back, and nothing else."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import instant, timestamp
from subscription_svc.messages import account_message, answered, key_message, key_of
from subscription_svc.refusals import FieldInvalidError
from subscription_svc.subscription_rows import Subscription
from subscription_svc.subscriptions import Asked, ImportOutcome, SubscriptionList, Subscriptions
from subscription_svc.watchlist_rows import Watchlist


def _time(message: pb.AddSubscriptionRequest | pb.ImportItem) -> datetime | None:
    return _instant(message.create_time) if message.HasField("create_time") else None


def _instant(message: Timestamp) -> datetime:
    try:
        return instant(message)
    except (ValueError, OverflowError) as error:
        raise FieldInvalidError("create_time", "This is no time.") from error


def _watchlist(watchlist: Watchlist) -> pb.Watchlist:
    return pb.Watchlist(list_id=watchlist.list_id, name=watchlist.name, position=watchlist.position)


def _subscription(subscription: Subscription) -> pb.Subscription:
    return pb.Subscription(
        symbol=subscription.symbol,
        create_time=timestamp(subscription.create_time),
        list_id=subscription.list_id,
        note=subscription.note,
        position=subscription.position,
    )


def _outcome(outcome: ImportOutcome) -> pb.ImportOutcome:
    return pb.ImportOutcome(
        symbol=outcome.symbol,
        result=pb.ImportResult.Value(f"IMPORT_RESULT_{outcome.result.name}"),
        reason=outcome.refusal.reason if outcome.refusal else "",
        message=str(outcome.refusal or ""),
    )


def _list(answer: SubscriptionList) -> pb.SubscriptionList:
    message = pb.SubscriptionList(
        key=key_message(answer.key),
        error_reason=answer.error_reason,
        subscriptions=map(_subscription, answer.followed.subscriptions),
        watchlists=map(_watchlist, answer.followed.watchlists),
    )
    if caller := answer.caller:
        message.email = caller.account.email
        message.account.CopyFrom(account_message(caller.account))
        message.expire_time.CopyFrom(timestamp(caller.expire_time))
    return message


class SubscriptionServicer(pb_grpc.SubscriptionServiceServicer):
    """foretick.subscription.v1.SubscriptionService."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    @answered
    async def AddSubscription(
        self, request: pb.AddSubscriptionRequest, _context: object
    ) -> pb.AddSubscriptionResponse:
        """Follows a symbol in a list; following it there already is no error."""
        position = request.position if request.HasField("position") else None
        asked = Asked(request.symbol, request.note, _time(request), position)
        subscription, created = await self._subscriptions.add(
            key_of(request.key), request.list_id, asked
        )
        return pb.AddSubscriptionResponse(subscription=_subscription(subscription), created=created)

    @answered
    async def RemoveSubscription(
        self, request: pb.RemoveSubscriptionRequest, _context: object
    ) -> pb.RemoveSubscriptionResponse:
        """Stops following a symbol in one list, or in all."""
        removed = await self._subscriptions.remove(
            key_of(request.key), request.list_id, request.symbol
        )
        return pb.RemoveSubscriptionResponse(removed=map(_subscription, removed))

    @answered
    async def UpdateSubscription(
        self, request: pb.UpdateSubscriptionRequest, _context: object
    ) -> pb.UpdateSubscriptionResponse:
        """Changes a note, or moves a subscription to another list."""
        subscription = await self._subscriptions.update(
            key_of(request.key),
            request.list_id,
            request.symbol,
            note=request.note if request.HasField("note") else None,
            to_list_id=request.to_list_id,
        )
        return pb.UpdateSubscriptionResponse(subscription=_subscription(subscription))

    @answered
    async def ReorderSubscriptions(
        self, request: pb.ReorderSubscriptionsRequest, _context: object
    ) -> pb.ReorderSubscriptionsResponse:
        """Puts the subscriptions of a list in another order."""
        symbols = await self._subscriptions.reorder(
            key_of(request.key), request.list_id, request.symbols
        )
        return pb.ReorderSubscriptionsResponse(symbols=symbols)

    @answered
    async def ImportSubscriptions(
        self, request: pb.ImportSubscriptionsRequest, _context: object
    ) -> pb.ImportSubscriptionsResponse:
        """Follows up to 500 symbols, each answered by itself."""
        asked = [Asked(item.symbol, item.note, _time(item)) for item in request.items]
        outcomes = await self._subscriptions.import_all(key_of(request.key), request.list_id, asked)
        return pb.ImportSubscriptionsResponse(outcomes=map(_outcome, outcomes))

    @answered
    async def BatchListSubscriptions(
        self, request: pb.BatchListSubscriptionsRequest, _context: object
    ) -> pb.BatchListSubscriptionsResponse:
        """Lists and subscriptions of up to 200 sign-ins, each checked and answered by itself."""
        answers = await self._subscriptions.batch_list([key_of(key) for key in request.keys])
        return pb.BatchListSubscriptionsResponse(lists=map(_list, answers))

    @answered
    async def CreateWatchlist(
        self, request: pb.CreateWatchlistRequest, _context: object
    ) -> pb.CreateWatchlistResponse:
        """Makes a list; making it again is no error."""
        position = request.position if request.HasField("position") else None
        watchlist, created = await self._subscriptions.create_list(
            key_of(request.key), request.name, request.list_id, position
        )
        return pb.CreateWatchlistResponse(watchlist=_watchlist(watchlist), created=created)

    @answered
    async def RenameWatchlist(
        self, request: pb.RenameWatchlistRequest, _context: object
    ) -> pb.RenameWatchlistResponse:
        """Gives a list another name."""
        watchlist = await self._subscriptions.rename_list(
            key_of(request.key), request.list_id, request.name
        )
        return pb.RenameWatchlistResponse(watchlist=_watchlist(watchlist))

    @answered
    async def DeleteWatchlist(
        self, request: pb.DeleteWatchlistRequest, _context: object
    ) -> pb.DeleteWatchlistResponse:
        """Deletes a list with its subscriptions."""
        watchlist, removed = await self._subscriptions.delete_list(
            key_of(request.key), request.list_id
        )
        return pb.DeleteWatchlistResponse(
            watchlist=_watchlist(watchlist), removed=map(_subscription, removed)
        )

    @answered
    async def ReorderWatchlists(
        self, request: pb.ReorderWatchlistsRequest, _context: object
    ) -> pb.ReorderWatchlistsResponse:
        """Puts the lists of an account in another order."""
        lists = await self._subscriptions.reorder_lists(key_of(request.key), request.list_ids)
        return pb.ReorderWatchlistsResponse(watchlists=map(_watchlist, lists))
