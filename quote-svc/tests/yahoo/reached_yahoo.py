"""The product's own way to the fake Yahoo: proxy and CA bundle, and a clock set by hand."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fake_yahoo import FakeYahoo
from quote_svc.yahoo_source import AT_ONCE, YahooSource


class HandClock:
    """Monotonic seconds that pass when told to; sleeping passes them at once."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


@asynccontextmanager
async def reached(
    fake: FakeYahoo,
    *,
    rate: float = 1000,
    at_once: int = AT_ONCE,
    deadline: float = 10,
    clock: HandClock | None = None,
) -> AsyncIterator[YahooSource]:
    """A YahooSource that reaches `fake` through the environment alone."""
    clock = clock or HandClock()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fake.environment.items():
            patch.setenv(name, value)
        source = YahooSource(
            ca_bundle=fake.ca_bundle,
            rate=rate,
            at_once=at_once,
            deadline=deadline,
            clock=clock,
            sleep=clock.advance,
        )
        try:
            yield source
        finally:
            await source.close()
