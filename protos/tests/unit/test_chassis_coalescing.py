import asyncio
from collections.abc import Sequence

import pytest

from foretick_rpc.coalescing import Coalesced


class Slow:
    """Answers keys by their squares, when it is let; a negative one is a fault."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, keys: Sequence[int]) -> list[int]:
        self.batches.append(list(keys))
        await self.may_answer.wait()
        if min(keys) < 0:
            raise ValueError("negative")
        return [key * key for key in keys]


async def asked(coalesced: Coalesced[int, int], *keys: int) -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(coalesced.get(key)) for key in keys]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_meanwhile_goes_together() -> None:
    slow = Slow()
    coalesced = Coalesced(slow, 3)
    first = await asked(coalesced, 1)
    others = await asked(coalesced, 2, 3, 2, 4)
    slow.may_answer.set()
    assert await asyncio.gather(*first, *others) == [1, 4, 9, 4, 16]
    assert slow.batches == [[1], [2, 3, 2], [4]]
    assert await coalesced.get(5) == 25


async def test_a_fault_is_everybodys_of_that_call_and_of_no_other() -> None:
    slow = Slow()
    slow.may_answer.set()
    coalesced = Coalesced(slow, 10)
    for answer in await asyncio.gather(
        *(coalesced.get(key) for key in (-1, 2)), return_exceptions=True
    ):
        assert isinstance(answer, ValueError)
    assert await coalesced.get(3) == 9


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    slow = Slow()
    coalesced = Coalesced(slow, 10)
    leaving, staying = await asked(coalesced, 1, 2)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    slow.may_answer.set()
    assert await staying == 4
