import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from gateway.known_sign_ins import LONGEST_SECONDS, REMEMBERED, KnownSignIns
from gateway.model import Account, SignInKey, Subscriptions, Watchlist

NOW = datetime(2020, 1, 2, 12, 0, tzinfo=UTC)
KEY = SignInKey("ann", "first")
OTHER_DEVICE = SignInKey("ann", "second")
SOMEBODY = SignInKey("bob", "third")
NEXT_WEEK = NOW + timedelta(days=7)


def lists(account_id: str) -> Subscriptions:
    account = Account(account_id, f"{account_id}@example.org", None, False, None)
    return Subscriptions(account, (Watchlist("first", "Watchlist"),), ())


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(clock: Clock) -> KnownSignIns:
    known = KnownSignIns(clock, lambda: NOW + timedelta(seconds=clock.seconds))
    known.hear()
    for key in (KEY, OTHER_DEVICE, SOMEBODY):
        known.keep(key, lists(key.account_id), NEXT_WEEK, known.moment)
    return known


def all_known(known: KnownSignIns) -> list[SignInKey]:
    return [key for key in (KEY, OTHER_DEVICE, SOMEBODY) if known.get(key)]


def test_what_was_answered_is_known_for_a_while(known: KnownSignIns, clock: Clock) -> None:
    assert known.get(KEY) == lists("ann")
    clock.seconds = LONGEST_SECONDS - 0.1
    assert known.get(KEY) == lists("ann")
    clock.seconds = LONGEST_SECONDS
    assert known.get(KEY) is None


def test_nothing_outlives_its_sign_in(known: KnownSignIns, clock: Clock) -> None:
    known.keep(KEY, lists("ann"), NOW + timedelta(seconds=3), known.moment)
    clock.seconds = 2.9
    assert known.get(KEY)
    clock.seconds = 3
    assert known.get(KEY) is None
    known.keep(KEY, lists("ann"), NOW, known.moment)
    assert known.get(KEY) is None


def test_a_revoked_sign_in_is_dropped_alone(known: KnownSignIns) -> None:
    known.drop("ann", hashlib.sha256(b"first").hexdigest())
    assert all_known(known) == [OTHER_DEVICE, SOMEBODY]


def test_what_happens_to_an_account_drops_all_its_sign_ins(known: KnownSignIns) -> None:
    known.drop("ann")
    assert all_known(known) == [SOMEBODY]
    known.drop("nobody")
    assert all_known(known) == [SOMEBODY]


def test_an_answer_that_something_overtook_is_not_kept(known: KnownSignIns) -> None:
    asked = known.moment
    known.drop("ann")
    known.keep(KEY, lists("ann"), NEXT_WEEK, asked)
    assert known.get(KEY) is None


def test_nothing_is_known_while_events_may_be_missed(known: KnownSignIns) -> None:
    asked = known.moment
    known.lose()
    assert all_known(known) == []
    known.keep(KEY, lists("ann"), NEXT_WEEK, known.moment)
    assert known.get(KEY) is None
    known.hear()
    known.keep(KEY, lists("ann"), NEXT_WEEK, asked)
    assert known.get(KEY) is None, "it was asked while events were missed"
    known.keep(KEY, lists("ann"), NEXT_WEEK, known.moment)
    assert known.get(KEY)


def test_the_memory_is_bounded(known: KnownSignIns) -> None:
    for number in range(REMEMBERED):
        known.keep(SignInKey("crowd", str(number)), lists("crowd"), NEXT_WEEK, known.moment)
    assert all_known(known) == []
    assert known.get(SignInKey("crowd", "0"))
