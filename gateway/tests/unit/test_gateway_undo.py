"""What was removed, sealed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.lists import Removal
from gateway.model import SignInKey, Subscription, Watchlist
from gateway.problems import RequestError
from gateway.undo import UndoSeal

ANN, BOB = SignInKey("a" * 32, "x"), SignInKey("b" * 32, "x")
ENTRY = Subscription("AAPL", "1" * 32, "a note\n备注", 3, datetime(2024, 3, 1, 12, tzinfo=UTC))
REMOVALS = (
    Removal((ENTRY,)),
    Removal((), Watchlist("1" * 32, "Tech", 2)),
    Removal((ENTRY, ENTRY), Watchlist("1" * 32, "自选", 2)),
)


class Clock:
    time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize("removal", REMOVALS)
def test_it_comes_out_as_it_went_in(removal: Removal) -> None:
    seal = UndoSeal(b"key", Clock())
    assert seal.unseal(ANN, seal.seal(ANN, removal) or "") == removal


def test_what_no_form_can_carry_is_not_sealed() -> None:
    seal = UndoSeal(b"key", Clock())
    huge = replace(ENTRY, note="x" * 500)
    assert seal.seal(ANN, Removal((huge,) * 500)) is not None
    assert seal.seal(ANN, Removal((huge,) * 1000)) is None


def test_nobody_reads_it_on_the_way() -> None:
    sealed = UndoSeal(b"key", Clock()).seal(ANN, REMOVALS[0])
    assert sealed
    assert "AAPL" not in sealed
    assert len(sealed) < 400


def test_it_is_good_for_an_hour_for_one_account_and_under_one_key() -> None:
    clock = Clock()
    seal = UndoSeal(b"key", clock)
    sealed = seal.seal(ANN, REMOVALS[0]) or ""
    clock.time += 3600
    assert seal.unseal(ANN, sealed) == REMOVALS[0]
    clock.time += 1
    late, clock.time = clock.time, clock.time - 1
    for key, other, text in (
        (BOB, seal, sealed),
        (ANN, UndoSeal(b"other", clock), sealed),
        (ANN, seal, sealed[:-2] + "AA"),
        (ANN, seal, ""),
        (ANN, seal, "é\x00"),
        (ANN, UndoSeal(b"key", lambda: late), sealed),
    ):
        with pytest.raises(RequestError) as caught:
            other.unseal(key, text)
        assert (caught.value.status, caught.value.reason) == (400, "UNDO_EXPIRED")
