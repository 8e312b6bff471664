"""What many ask for at once is read once."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from subscription_svc.admission import Admission
from subscription_svc.sign_ins import Caller, SignInKey
from subscription_svc.subscriptions import Subscriptions

CALLERS = 16


class CountingAdmission:
    """Lets nobody pass, and notes for whom it was asked."""

    def __init__(self) -> None:
        self.reads: list[Sequence[SignInKey]] = []

    async def read_many(
        self, keys: Sequence[SignInKey], _work: Callable[..., Any]
    ) -> tuple[Mapping[SignInKey, Caller], dict[str, Any]]:
        self.reads.append(keys)
        await asyncio.sleep(0)
        return {}, {}


async def test_lists_that_are_asked_for_at_once_are_read_together() -> None:
    admission = CountingAdmission()
    service = Subscriptions(cast(Admission, admission), lambda: datetime.now(UTC))
    keys = [SignInKey("ann", f"sign-in {number % 4}") for number in range(CALLERS)]
    answers = await asyncio.gather(*(service.batch_list([key, keys[0]]) for key in keys))
    assert [[each.key for each in answer] for answer in answers] == [[key, keys[0]] for key in keys]
    assert admission.reads == [keys[:4]]
