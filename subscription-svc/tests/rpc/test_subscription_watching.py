"""What whoever keeps something about accounts is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import AccountServiceStub
from foretick_rpc.errors import AppError, app_error
from foretick_rpc.testing import calling

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
PASSWORD = "correct horse"


class Watch:
    """A stream, read message by message; none may take longer than a second."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def next(self) -> pb.WatchAccountsResponse:
        async with asyncio.timeout(1):
            message: pb.WatchAccountsResponse = await self._call.read()
        return message

    async def events(self, count: int) -> list[tuple[str, str, str]]:
        """Kind, account and device of the next events, which may come in one message or more."""
        events: list[pb.AccountEvent] = []
        while len(events) < count:
            message = await self.next()
            assert not message.resumed
            events += message.events
        return [
            (pb.AccountEventKind.Name(each.kind)[19:], each.account_id, each.device_id)
            for each in events
        ]


@asynccontextmanager
async def watching(stubs: Any, after: int = 0) -> AsyncIterator[Watch]:
    call = stubs.accounts.WatchAccounts(pb.WatchAccountsRequest(after_version=after))
    try:
        yield Watch(call)
    finally:
        call.cancel()


async def test_everything_that_must_be_known_is_told_within_a_second(stubs: Any) -> None:
    ann = (await stubs.register()).sign_in
    own = ann.key.account_id
    async with watching(stubs) as watch:
        start = await watch.next()
        assert (start.resumed, list(start.events)) == (False, [])
        adding = pb.AddSubscriptionRequest(key=ann.key, symbol="AAPL")
        for _ in range(2):  # the second changes nothing
            await stubs.subscriptions.AddSubscription(adding)
        assert await watch.events(1) == [("SUBSCRIPTIONS_CHANGED", own, "")]
        await stubs.subscriptions.RemoveSubscription(
            pb.RemoveSubscriptionRequest(key=ann.key, symbol="AAPL")
        )
        assert await watch.events(1) == [("SUBSCRIPTIONS_CHANGED", own, "")]

        out = (await stubs.sign_in()).sign_in
        await stubs.accounts.RevokeSignIn(pb.RevokeSignInRequest(key=out.key))
        assert await watch.events(1) == [("SIGN_IN_REVOKED", own, out.device_id)]
        other = (await stubs.sign_in()).sign_in
        await stubs.accounts.RevokeDevice(
            pb.RevokeDeviceRequest(key=ann.key, device_id=other.device_id)
        )
        assert await watch.events(1) == [("SIGN_IN_REVOKED", own, other.device_id)]
        others = [(await stubs.sign_in()).sign_in.device_id for _ in range(2)]
        await stubs.accounts.RevokeOtherDevices(pb.RevokeOtherDevicesRequest(key=ann.key))
        assert set(await watch.events(2)) == {("SIGN_IN_REVOKED", own, each) for each in others}

        changed = await stubs.accounts.ChangePassword(
            pb.ChangePasswordRequest(key=ann.key, password=PASSWORD, new_password="another horse")
        )
        assert await watch.events(2) == [
            ("SIGN_IN_REVOKED", own, ann.device_id),
            ("ACCOUNT_CHANGED", own, ""),
        ]
        renamed = await stubs.accounts.ChangeEmail(
            pb.ChangeEmailRequest(
                key=changed.sign_in.key, password="another horse", email="new@x.test"
            )
        )
        assert await watch.events(2) == [
            ("SIGN_IN_REVOKED", own, changed.sign_in.device_id),
            ("ACCOUNT_CHANGED", own, ""),
        ]

        bob = await stubs.register("bob@x.test")
        for disabled, kind in ((True, "ACCOUNT_DISABLED"), (False, "ACCOUNT_CHANGED")):
            await stubs.administration.SetAccountDisabled(
                pb.SetAccountDisabledRequest(
                    key=renamed.sign_in.key,
                    account_id=bob.account.account_id,
                    disabled=disabled,
                )
            )
            assert await watch.events(1) == [(kind, bob.account.account_id, "")]
        again = (await stubs.sign_in("bob@x.test")).sign_in.key
        await stubs.accounts.DeleteAccount(pb.DeleteAccountRequest(key=again, password=PASSWORD))
        assert await watch.events(1) == [("ACCOUNT_DELETED", bob.account.account_id, "")]


async def test_whoever_was_cut_off_is_told_what_was_missed(
    stubs: Any, clock: Any, rows: Any
) -> None:
    key = (await stubs.register()).sign_in.key

    async def add(symbol: str) -> None:
        request = pb.AddSubscriptionRequest(key=key, symbol=symbol)
        await stubs.subscriptions.AddSubscription(request)

    async with watching(stubs) as watch:
        await watch.next()
        await add("A")
        first = (await watch.next()).version
    assert first == 1
    for symbol in ("B", "C"):
        await add(symbol)
    async with watching(stubs, first) as watch:
        start = await watch.next()
        assert (start.version, start.resumed) == (first, True)
        missed = await watch.next()
        assert (len(missed.events), missed.version) == (2, first + 2)
    async with watching(stubs, first + 2) as watch:
        assert (await watch.next()).resumed
        await add("D")
        assert (await watch.next()).version == first + 3
    # of another database, or before one was restored
    async with watching(stubs, first + 1000) as watch:
        start = await watch.next()
        assert (start.version, start.resumed) == (first + 3, False)
    await rows("DELETE FROM account_events WHERE version <= 2 RETURNING 1")
    for known, resumed in ((first, False), (first + 1, True)):
        async with watching(stubs, known) as watch:
            assert (await watch.next()).resumed is resumed
    await rows("DELETE FROM account_events RETURNING 1")
    for known, resumed in ((first + 2, False), (first + 3, True)):
        async with watching(stubs, known) as watch:
            assert (await watch.next()).resumed is resumed


async def test_replicas_tell_the_same_and_go_on_for_each_other(
    postgres_url: str, open_on: Any
) -> None:
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(open_on(postgres_url)) for _ in range(2)]
        keys = [(await one.register(f"u{n}@x.test")).sign_in.key for n in range(10)]
        async with watching(other) as elsewhere:
            start = await elsewhere.next()
            # in all transactions at once, and none is overtaken unseen
            await asyncio.gather(
                *(
                    (one, other)[n % 2].subscriptions.AddSubscription(
                        pb.AddSubscriptionRequest(key=key, symbol=f"S{m}")
                    )
                    for n, key in enumerate(keys)
                    for m in range(10)
                )
            )
            told = await elsewhere.events(100)
        assert len(told) == 100
        async with watching(one, start.version + 60) as resumed:
            assert (await resumed.next()).resumed
            assert await resumed.events(40) == told[60:]


async def test_a_stop_waits_for_no_watcher(start: Any) -> None:
    async with AsyncExitStack() as client, AsyncExitStack() as process:
        server = await process.enter_async_context(start())
        service = pb.DESCRIPTOR.services_by_name["AccountService"]
        channel = await client.enter_async_context(calling(server, service))
        call = AccountServiceStub(channel).WatchAccounts(pb.WatchAccountsRequest())
        stream = aiter(call)
        assert (await anext(stream)).version == 0
        async with asyncio.timeout(5):
            await process.aclose()
            with pytest.raises(AioRpcError) as caught:
                await anext(stream)
    assert caught.value.code() is StatusCode.UNAVAILABLE
    assert app_error(caught.value).reason == "SERVICE_STOPPING"


async def test_what_is_kept_for_a_time_only_is_forgotten(
    open_stubs: Any, clock: Any, rows: Any, refusal: Refusal
) -> None:
    async with open_stubs() as stubs:
        key = (await stubs.register(remember_me=True)).sign_in.key
        await refusal(stubs.sign_in("nobody@x.test"))
        await stubs.subscriptions.AddSubscription(pb.AddSubscriptionRequest(key=key, symbol="A"))

    async def counts() -> list[int]:
        tables = ("audit_events", "sign_ins", "account_events")
        return [len(await rows(f"SELECT 1 FROM {table}")) for table in tables]  # noqa: S608 fixed names

    assert await counts() == [2, 1, 1]
    for days, left in ((1, [1, 1, 0]), (36, [1, 0, 0]), (328, [0, 0, 0])):
        clock.advance(timedelta(days=days))
        async with open_stubs(), asyncio.timeout(10):  # it begins with it
            while await counts() != left:  # noqa: ASYNC110 - nobody is told when it is done
                await asyncio.sleep(0)
