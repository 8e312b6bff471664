"""Named lists: making, ordering, noting, moving, importing, and undoing what was removed."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from foretick.subscription.v1 import subscription_pb2 as pb
from foretick.subscription.v1.subscription_pb2_grpc import SubscriptionServiceStub
from foretick_rpc.convert import instant, timestamp
from foretick_rpc.errors import AppError
from list_owner import Owner

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
OTHER = uuid.uuid5(uuid.NAMESPACE_DNS, "other.test").hex


@pytest.fixture
def ann(subscriptions: SubscriptionServiceStub, key: pb.SignInKey) -> Owner:
    return Owner(subscriptions, key)


@pytest.fixture
async def bob(stubs: Any) -> Owner:
    return Owner(stubs.subscriptions, (await stubs.register("bob@x.test")).sign_in.key)


def item(symbol: str, note: str = "") -> pb.ImportItem:
    return pb.ImportItem(symbol=symbol, note=note)


async def test_a_new_account_has_one_list_and_keeps_its_id(ann: Owner, rows: Any) -> None:
    [before] = (await ann.shown()).watchlists
    assert (before.name, before.position) == ("Watchlist", 0)
    assert await rows("SELECT 1 FROM watchlists") == []  # reading writes nothing
    added = await ann.add("AAPL")
    assert added.subscription.list_id == before.list_id
    assert list((await ann.shown()).watchlists) == [before]
    assert (await ann.rename(before.list_id, "Mine")).list_id == before.list_id
    assert await ann.content() == {"Mine": ["AAPL"]}


async def test_the_first_list_can_be_named_before_anything_is_in_it(ann: Owner) -> None:
    await ann.create("Tech")
    assert await ann.names() == ["Watchlist", "Tech"]


async def test_a_symbol_can_be_in_several_lists(ann: Owner) -> None:
    tech = (await ann.create("Tech")).watchlist.list_id
    for list_id, symbol in (("", "XOM"), (tech, "MSFT"), ("", "AAPL"), (tech, "AAPL")):
        assert (await ann.add(symbol, list_id)).created
    assert not (await ann.add("AAPL", tech)).created
    assert await ann.content() == {"Watchlist": ["XOM", "AAPL"], "Tech": ["MSFT", "AAPL"]}
    assert [each.list_id for each in await ann.remove("AAPL", tech)] == [tech]
    assert await ann.content() == {"Watchlist": ["XOM", "AAPL"], "Tech": ["MSFT"]}
    await ann.add("AAPL", tech)
    removed = await ann.remove("aapl")
    assert [each.list_id == tech for each in removed] == [False, True]
    assert await ann.content() == {"Watchlist": ["XOM"], "Tech": ["MSFT"]}


async def test_what_was_removed_comes_back_as_it_was(ann: Owner, clock: Any) -> None:
    for symbol in ("A", "B", "C"):
        await ann.add(symbol, note=f"about {symbol}")
        clock.advance(timedelta(minutes=1))
    before = await ann.shown()
    [removed] = await ann.remove("B")
    clock.advance(timedelta(minutes=1))
    assert (await ann.undo(removed)).subscription == removed
    assert not (await ann.undo(removed)).created
    assert list((await ann.shown()).subscriptions) == list(before.subscriptions)


async def test_what_comes_back_to_an_order_that_was_changed_gets_room(ann: Owner) -> None:
    for symbol in ("A", "B", "C"):
        await ann.add(symbol)
    [removed] = await ann.remove("B")
    await ann.reorder(["C", "A"])
    assert (await ann.undo(removed)).created
    assert await ann.content() == {"Watchlist": ["C", "B", "A"]}
    await ann.add("D")
    assert await ann.content() == {"Watchlist": ["C", "B", "A", "D"]}


async def test_an_order_is_of_what_the_list_has(ann: Owner, refusal: Refusal) -> None:
    for symbol in ("A", "B", "C", "D"):
        await ann.add(symbol)
    assert await ann.reorder(["c", "A"]) == ["C", "A", "B", "D"]
    assert await ann.content() == {"Watchlist": ["C", "A", "B", "D"]}
    assert await ann.reorder([]) == ["C", "A", "B", "D"]
    error = await refusal(ann.reorder(["D", "X"]))
    assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "NOT_SUBSCRIBED")
    assert "X" in error.message
    error = await refusal(ann.reorder(["D", "C", "D"]))
    assert error.metadata == {"field": "symbols"}
    assert await ann.content() == {"Watchlist": ["C", "A", "B", "D"]}


async def test_notes_and_moves(ann: Owner, refusal: Refusal, clock: Any) -> None:
    since = clock.time
    tech = (await ann.create("Tech")).watchlist.list_id
    await ann.add("MSFT", tech)
    for symbol in ("AAPL", "KO", "MSFT"):
        await ann.add(symbol)
    clock.advance(timedelta(minutes=1))
    assert (await ann.update("aapl", note=" one\r\ntwo ")).note == "one\ntwo"
    moved = await ann.update("AAPL", to_list_id=tech)
    assert (moved.list_id, moved.note, instant(moved.create_time)) == (tech, "one\ntwo", since)
    assert await ann.update("AAPL", to_list_id=tech) == moved  # as often as one likes
    assert await ann.content() == {"Watchlist": ["KO", "MSFT"], "Tech": ["MSFT", "AAPL: one\ntwo"]}
    assert (await ann.update("AAPL", tech, note="")).note == ""
    error = await refusal(ann.update("MSFT", to_list_id=tech, note="lost"))
    assert (error.code, error.reason) == (StatusCode.ALREADY_EXISTS, "ALREADY_SUBSCRIBED")
    assert "Tech" in error.message
    assert (await refusal(ann.update("XOM", note="x"))).reason == "NOT_SUBSCRIBED"
    for note in ("x" * 501, "a\0b"):
        error = await refusal(ann.update("KO", note=note))
        assert (error.code, error.metadata) == (StatusCode.INVALID_ARGUMENT, {"field": "note"})
    assert await ann.content() == {"Watchlist": ["KO", "MSFT"], "Tech": ["MSFT", "AAPL"]}


async def test_an_import_answers_each_by_itself(ann: Owner) -> None:
    await ann.add("KO", note="mine")
    outcomes = await ann.bring(
        [
            item("aapl", "apples"),
            item("KO", "theirs"),
            item("not a symbol"),
            item("AAPL", "again"),
            item("MSFT", "x" * 501),
            item("XOM"),
        ]
    )
    added, there, refused = (
        pb.IMPORT_RESULT_ADDED,
        pb.IMPORT_RESULT_ALREADY_THERE,
        pb.IMPORT_RESULT_REFUSED,
    )
    assert [(each.symbol, each.result) for each in outcomes] == [
        ("AAPL", added),
        ("KO", there),
        ("not a symbol", refused),
        ("AAPL", there),
        ("MSFT", refused),
        ("XOM", added),
    ]
    assert [each.reason for each in outcomes if each.result == refused] == ["INVALID_ARGUMENT"] * 2
    assert "1 to 32" in outcomes[2].message
    assert "500" in outcomes[4].message
    assert await ann.content() == {"Watchlist": ["KO: mine", "AAPL: apples", "XOM"]}


async def test_an_import_fills_up_to_the_limit(ann: Owner, refusal: Refusal) -> None:
    await ann.bring([item(f"S{n}") for n in range(499)])
    tech = (await ann.create("Tech")).watchlist.list_id
    outcomes = await ann.bring([item("S1"), item("S2"), item("S1")], tech)
    assert [each.result for each in outcomes] == [
        pb.IMPORT_RESULT_ADDED,
        pb.IMPORT_RESULT_REFUSED,
        pb.IMPORT_RESULT_ALREADY_THERE,
    ]
    assert outcomes[1].reason == "TOO_MANY_SUBSCRIPTIONS"
    assert (await refusal(ann.add("S2", tech))).reason == "TOO_MANY_SUBSCRIPTIONS"
    content = await ann.content()
    assert content == {"Watchlist": [f"S{n}" for n in range(499)], "Tech": ["S1"]}
    wanted = [f"S{n}" for n in reversed(range(499))]
    assert await ann.reorder(wanted) == wanted


@pytest.mark.parametrize("count", [0, 501])
async def test_an_import_has_1_to_500_items(ann: Owner, refusal: Refusal, count: int) -> None:
    error = await refusal(ann.bring([item("A")] * count))
    assert (error.code, error.metadata) == (StatusCode.INVALID_ARGUMENT, {"field": "items"})
    assert await ann.content() == {"Watchlist": []}


async def test_names_are_one_of_a_kind(ann: Owner, bob: Owner, refusal: Refusal) -> None:
    made = await ann.create("Ｔｅｃｈ", list_id=OTHER)
    assert (made.created, made.watchlist.name, made.watchlist.list_id) == (True, "Tech", OTHER)
    again = await ann.create("Tech", list_id=OTHER)
    assert (again.created, again.watchlist) == (False, made.watchlist)
    for call in (
        ann.create("TECH"),
        ann.create("watchlist"),
        ann.rename(OTHER, "WATCHLIST"),
    ):
        error = await refusal(call)
        assert (error.code, error.reason) == (StatusCode.ALREADY_EXISTS, "WATCHLIST_NAME_TAKEN")
        assert error.metadata == {"field": "name"}
    error = await refusal(ann.create("Else", list_id=OTHER))
    assert (error.code, error.reason) == (StatusCode.ALREADY_EXISTS, "WATCHLIST_EXISTS")
    for name in ("", " ", "x" * 61, "a\nb"):
        for call in (ann.create(name), ann.rename(OTHER, name)):
            error = await refusal(call)
            assert (error.code, error.metadata) == (StatusCode.INVALID_ARGUMENT, {"field": "name"})
    for list_id in ("x", OTHER.upper(), "\0" * 32):
        assert (await refusal(ann.create("Else", list_id=list_id))).metadata == {"field": "list_id"}
    assert (await ann.rename(OTHER, "TECH")).name == "TECH"  # one's own in another case
    assert await ann.names() == ["Watchlist", "TECH"]
    assert (await bob.create("Tech", list_id=OTHER)).created  # ids are an account's own
    assert await ann.names() == ["Watchlist", "TECH"]


async def test_an_account_has_at_most_20_lists(ann: Owner, refusal: Refusal) -> None:
    for n in range(19):
        await ann.create(f"List {n}")
    error = await refusal(ann.create("One more"))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "TOO_MANY_WATCHLISTS")
    assert len(await ann.names()) == 20


async def test_lists_have_an_order(ann: Owner, refusal: Refusal) -> None:
    first = (await ann.shown()).watchlists[0].list_id
    a, b = [(await ann.create(name)).watchlist.list_id for name in "AB"]
    assert await ann.reorder_lists(b, first) == ["B", "Watchlist", "A"]
    assert await ann.names() == ["B", "Watchlist", "A"]
    assert (await ann.add("KO")).subscription.list_id == b  # which is the first now
    assert (await refusal(ann.reorder_lists(a, OTHER))).reason == "WATCHLIST_NOT_FOUND"
    assert (await refusal(ann.reorder_lists(a, b, a))).metadata == {"field": "list_ids"}
    assert await ann.names() == ["B", "Watchlist", "A"]


async def test_a_deleted_list_comes_back_as_it_was(
    ann: Owner, refusal: Refusal, clock: Any, rows: Any
) -> None:
    first = (await ann.shown()).watchlists[0].list_id
    error = await refusal(ann.delete(first))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "LAST_WATCHLIST")
    assert (await refusal(ann.delete(""))).metadata == {"field": "list_id"}
    await ann.create("Tech")
    for symbol in ("A", "B"):
        await ann.add(symbol, first, note=symbol)
        clock.advance(timedelta(minutes=1))
    before = await ann.shown()
    deleted = await ann.delete(first)
    assert await ann.content() == {"Tech": []}
    assert await rows("SELECT 1 FROM subscriptions") == []
    assert (await refusal(ann.delete(first))).reason == "WATCHLIST_NOT_FOUND"
    watchlist = deleted.watchlist
    await ann.create(watchlist.name, list_id=watchlist.list_id, position=watchlist.position)
    back = [
        pb.ImportItem(symbol=each.symbol, note=each.note, create_time=each.create_time)
        for each in deleted.removed
    ]
    await ann.bring(back, watchlist.list_id)
    after = await ann.shown()
    assert list(after.watchlists) == list(before.watchlists)
    assert list(after.subscriptions) == list(before.subscriptions)


async def test_a_list_can_be_put_in_the_middle(ann: Owner) -> None:
    await ann.create("Last")
    await ann.create("Middle", position=1)
    assert await ann.names() == ["Watchlist", "Middle", "Last"]


async def test_lists_of_others_are_not_found(ann: Owner, bob: Owner, refusal: Refusal) -> None:
    theirs = (await bob.create("Tech")).watchlist.list_id
    await bob.add("MSFT", theirs)
    await ann.create("Mine")
    await ann.add("MSFT")
    before = await bob.shown()
    for list_id in (theirs, bob.key.account_id, "none", "\0"):
        for call in (
            ann.add("KO", list_id),
            ann.remove("MSFT", list_id),
            ann.update("MSFT", list_id, note="x"),
            ann.update("MSFT", to_list_id=list_id),
            ann.reorder(["MSFT"], list_id),
            ann.bring([item("KO")], list_id),
            ann.rename(list_id, "Stolen"),
            ann.delete(list_id),
            ann.reorder_lists(list_id),
        ):
            error = await refusal(call)
            assert (error.code, error.reason) == (StatusCode.NOT_FOUND, "WATCHLIST_NOT_FOUND")
    assert await bob.shown() == before
    assert await ann.content() == {"Watchlist": ["MSFT"], "Mine": []}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position", -1),
        ("position", 1_000_001),
        ("create_time", timedelta(seconds=1)),
        ("create_time", timedelta(days=-365 * 60)),
        ("create_time", Timestamp(seconds=-(10**15))),
        ("create_time", Timestamp(nanos=-1)),
        ("note", "a\tb"),
    ],
)
async def test_what_cannot_have_been(
    ann: Owner, refusal: Refusal, clock: Any, field: str, value: Any
) -> None:
    if isinstance(value, timedelta):
        value = timestamp(clock.time + value)
    error = await refusal(ann.add("KO", **{field: value}))
    assert (error.code, error.metadata) == (StatusCode.INVALID_ARGUMENT, {"field": field})
    assert await ann.content() == {"Watchlist": []}


async def test_every_change_is_told_and_nothing_else(ann: Owner, rows: Any) -> None:
    tech = (await ann.create("Tech", list_id=OTHER)).watchlist.list_id
    first = (await ann.shown()).watchlists[0].list_id
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: ann.add("A"),
        lambda: ann.bring([item("A"), item("B")]),
        lambda: ann.update("A", note="x"),
        lambda: ann.update("A", first, to_list_id=tech),
        lambda: ann.bring([item("C")]),
        lambda: ann.reorder(["C", "B"]),
        lambda: ann.rename(tech, "Techs"),
        lambda: ann.reorder_lists(tech, first),
        lambda: ann.create("More", list_id="0" * 32),
    ]
    told = 1
    for change in changes:
        await change()
        told += 1
        assert await rows("SELECT count(*) FROM account_events") == [(told,)]
        await change()  # as it is already
        assert await rows("SELECT count(*) FROM account_events") == [(told,)]
    await ann.remove("A", tech)
    await ann.delete(tech)
    kinds = await rows("SELECT DISTINCT kind FROM account_events")
    assert kinds == [("subscriptions_changed",)]
    assert await rows("SELECT count(*) FROM account_events") == [(told + 2,)]


async def test_changes_at_once_leave_an_order_without_ties(ann: Owner, rows: Any) -> None:
    await ann.bring([item(f"S{n}") for n in range(10)])
    tech = (await ann.create("Tech")).watchlist.list_id
    await asyncio.gather(
        *(ann.add(f"T{n}") for n in range(10)),
        *(ann.update(f"S{n}", to_list_id=tech) for n in range(5)),
        *(ann.add(f"U{n}", position=3) for n in range(5)),
        ann.reorder([f"S{n}" for n in (9, 8, 7)]),
    )
    counts = await rows(
        "SELECT count(*), count(DISTINCT position) FROM subscriptions GROUP BY list_id"
    )
    assert sorted(counts) == [(5, 5), (20, 20)]
