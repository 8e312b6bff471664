"""SubscriptionService: from messages to the domain and back, and nothing else."""

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1 import subscription_pb2_grpc as pb_grpc
from foretick_rpc.convert import timestamp
from subscription_svc.messages import account_message, answered, key_message, key_of
from subscription_svc.subscriptions import Subscription, SubscriptionList, Subscriptions


def _subscription(subscription: Subscription) -> pb.Subscription:
    return pb.Subscription(
        symbol=subscription.symbol, create_time=timestamp(subscription.create_time)
    )


def _list(answer: SubscriptionList) -> pb.SubscriptionList:
    message = pb.SubscriptionList(
        key=key_message(answer.key),
        error_reason=answer.error_reason,
        subscriptions=map(_subscription, answer.subscriptions),
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
        """Follows a symbol; following it already is no error."""
        subscription, created = await self._subscriptions.add(key_of(request.key), request.symbol)
        return pb.AddSubscriptionResponse(subscription=_subscription(subscription), created=created)

    @answered
    async def RemoveSubscription(
        self, request: pb.RemoveSubscriptionRequest, _context: object
    ) -> pb.RemoveSubscriptionResponse:
        """Stops following a symbol."""
        await self._subscriptions.remove(key_of(request.key), request.symbol)
        return pb.RemoveSubscriptionResponse()

    @answered
    async def BatchListSubscriptions(
        self, request: pb.BatchListSubscriptionsRequest, _context: object
    ) -> pb.BatchListSubscriptionsResponse:
        """The subscriptions of up to 200 sign-ins, each checked and answered by itself."""
        answers = await self._subscriptions.batch_list([key_of(key) for key in request.keys])
        return pb.BatchListSubscriptionsResponse(lists=map(_list, answers))
