"""What all fakes of services have."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from foretick_rpc.errors import AppError
from foretick_rpc.logs import request_id

TICK_SECONDS = 0.01  # how often a fake looks whether it has something new to tell


@dataclass
class Fake:
    """A list of calls, and a knob to fail the next one."""

    calls: Counter[str] = field(default_factory=Counter)
    fail_next: AppError | None = None
    request_ids: set[str] = field(default_factory=set)

    def note(self, call: str) -> None:
        self.calls[call] += 1
        self.request_ids.add(request_id.get())
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error


async def changes(answer: Callable[[], Any], found: str) -> AsyncIterator[Any]:
    """What a watch tells: the answer for all symbols, then each message in it that changed."""
    told = answer()
    told.snapshot = True
    yield told
    while True:
        await asyncio.sleep(TICK_SECONDS)
        now = answer()
        news = type(now)(market_id=now.market_id)
        is_other = now.market_id != told.market_id
        for name in (found, "missing"):
            before = list(getattr(told, name))
            getattr(news, name).extend(
                each for each in getattr(now, name) if is_other or each not in before
            )
        told = now
        if is_other or getattr(news, found) or news.missing:
            if "market_time" in now.DESCRIPTOR.fields_by_name:
                news.market_time.CopyFrom(now.market_time)
            yield news
