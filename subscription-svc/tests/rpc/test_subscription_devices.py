"""Sign-ins: the list of them, and how they end."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

from grpc import StatusCode

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick_rpc.convert import instant
from foretick_rpc.errors import AppError

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
PHONE = pb.Client(address="2001:db8::0:1", user_agent="Phone\0\n" + "x" * 1000)


async def devices(stubs: Any, key: pb.SignInKey) -> list[pb.Device]:
    answer = await stubs.accounts.ListDevices(pb.ListDevicesRequest(key=key))
    return list(answer.devices)


async def test_sign_ins_are_listed_with_where_and_when_they_were_used(
    stubs: Any, clock: Any, recorded: Any
) -> None:
    began = clock.time
    first = (await stubs.register(client=pb.Client(address="192.0.2.7"))).sign_in
    clock.advance(timedelta(hours=1))
    second = (await stubs.sign_in(client=PHONE, remember_me=True)).sign_in
    assert first.key.sign_in_id != second.key.sign_in_id
    [phone, other] = await devices(stubs, second.key)
    assert phone.device_id == sha256(second.key.sign_in_id.encode()).hexdigest()
    assert phone.device_id == second.device_id
    assert (phone.current, phone.remembered, other.current, other.remembered) == (
        True,
        True,
        False,
        False,
    )
    assert phone.client.address == "2001:db8::1"
    assert phone.client.user_agent == "Phone  " + "x" * 293
    assert other.client == pb.Client(address="192.0.2.7")
    assert [instant(each.last_used_time) for each in (phone, other)] == [clock.time, began]
    assert instant(other.expire_time) == began + timedelta(hours=12)
    # what is used moves to the top
    clock.advance(timedelta(hours=1))
    assert await stubs.state(first.key) == ""
    times = {first.device_id: clock.time, second.device_id: clock.time - timedelta(hours=1)}
    await recorded(*[times[each] for each in sorted(times)])
    listed = await devices(stubs, first.key)
    assert [(each.device_id, each.current) for each in listed] == [
        (first.device_id, True),
        (second.device_id, False),
    ]
    clock.advance(timedelta(hours=12))
    assert [each.device_id for each in await devices(stubs, second.key)] == [second.device_id]


async def test_one_device_is_revoked_and_twice_is_no_error(
    stubs: Any, refusal: Refusal, clock: Any
) -> None:
    first = (await stubs.register()).sign_in
    second = (await stubs.sign_in()).sign_in
    request = pb.RevokeDeviceRequest(key=first.key, device_id=second.device_id, client=PHONE)
    for _ in range(2):
        await stubs.accounts.RevokeDevice(request)
    assert await stubs.state(second.key) == "SIGN_IN_INVALID"
    assert await stubs.state(first.key) == ""
    assert [each.device_id for each in await devices(stubs, first.key)] == [first.device_id]
    [logged] = [
        each for each in await stubs.log(first.key) if each.kind == pb.AUDIT_KIND_DEVICES_REVOKED
    ]
    assert logged.client.address == "2001:db8::1"
    # also the one that asks
    await stubs.accounts.RevokeDevice(
        pb.RevokeDeviceRequest(key=first.key, device_id=first.device_id)
    )
    assert await stubs.state(first.key) == "SIGN_IN_INVALID"


async def test_anothers_device_cannot_be_found(stubs: Any, refusal: Refusal) -> None:
    anns = (await stubs.register()).sign_in
    bobs = (await stubs.register("bob@x.test")).sign_in
    for device_id in (anns.device_id, anns.key.sign_in_id, "", "\0", "x" * 10_000):
        request = pb.RevokeDeviceRequest(key=bobs.key, device_id=device_id)
        error = await refusal(stubs.accounts.RevokeDevice(request))
        assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "DEVICE_NOT_FOUND")
    assert await stubs.state(anns.key) == ""


async def test_all_others_are_revoked(stubs: Any) -> None:
    bobs = (await stubs.register("bob@x.test")).sign_in.key
    others = [(await stubs.register()).sign_in.key, (await stubs.sign_in()).sign_in.key]
    own = (await stubs.sign_in()).sign_in.key
    request = pb.RevokeOtherDevicesRequest(key=own)
    assert (await stubs.accounts.RevokeOtherDevices(request)).revoked_count == 2
    assert (await stubs.accounts.RevokeOtherDevices(request)).revoked_count == 0
    assert [await stubs.state(key) for key in (own, bobs)] == ["", ""]
    assert {await stubs.state(key) for key in others} == {"SIGN_IN_INVALID"}


async def test_signing_out_is_written_down_once(stubs: Any) -> None:
    key = (await stubs.register()).sign_in.key
    for _ in range(2):
        await stubs.accounts.RevokeSignIn(pb.RevokeSignInRequest(key=key, client=PHONE))
    own = (await stubs.sign_in()).sign_in.key
    assert [each.kind for each in await stubs.log(own)] == [
        pb.AUDIT_KIND_SIGNED_IN,
        pb.AUDIT_KIND_SIGNED_OUT,
        pb.AUDIT_KIND_REGISTERED,
    ]


async def test_who_is_signed_in(stubs: Any, clock: Any) -> None:
    made = await stubs.register()
    answer = await stubs.accounts.GetAccount(pb.GetAccountRequest(key=made.sign_in.key))
    assert answer.account == made.account
    assert instant(answer.expire_time) == clock.time + timedelta(hours=12)
    request = pb.BatchListSubscriptionsRequest(keys=[made.sign_in.key, pb.SignInKey()])
    [good, bad] = (await stubs.subscriptions.BatchListSubscriptions(request)).lists
    assert (good.account, good.email) == (made.account, "ann@x.test")
    assert good.expire_time == answer.expire_time
    assert not bad.HasField("account")
