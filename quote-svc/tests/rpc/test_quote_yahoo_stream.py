"""yfinance's AsyncWebSocket, over TLS and the proxy, under the supervisor."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yfinance.pricing_pb2 import PricingData

from fake_yahoo import FakeYahoo
from quote_svc.source import StreamedPrice
from quote_svc.yahoo_stream import YahooStream
from reached_yahoo import HandClock

NOW = datetime.now(UTC).replace(microsecond=0)
UNITS = {"AAPL": "USD", "VOD.L": "GBp"}


@pytest.fixture
def yahoo() -> Iterator[FakeYahoo]:
    with FakeYahoo() as fake:
        yield fake


def message(symbol: str, price: float, moment: datetime = NOW, **fields: Any) -> bytes:
    """A pricing message as Yahoo sends it; `market_hours` 1 is the session itself."""
    serialized: bytes = PricingData(
        id=symbol,
        price=price,
        time=int(moment.timestamp() * 1000),
        **{"market_hours": 1, **fields},
    ).SerializeToString()
    return serialized


class Followed:
    """A stream under way, what it delivered, and the pauses before it connected again."""

    def __init__(self, yahoo: FakeYahoo, clock: HandClock) -> None:
        self.delivered: asyncio.Queue[StreamedPrice] = asyncio.Queue()
        self.pauses: list[float] = []
        self.stream = YahooStream(
            self.delivered.put_nowait,
            UNITS.get,
            ca_bundle=yahoo.ca_bundle,
            clock=clock,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def next(self) -> StreamedPrice:
        async with asyncio.timeout(10):
            return await self.delivered.get()


@asynccontextmanager
async def following(
    yahoo: FakeYahoo, *symbols: str, clock: HandClock | None = None
) -> AsyncIterator[Followed]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in yahoo.environment.items():
            patch.setenv(name, value)
        followed = Followed(yahoo, clock or HandClock())
        followed.stream.follow(symbols)
        running = asyncio.create_task(followed.stream.run())
        try:
            await asyncio.to_thread(yahoo.wait_for_subscriptions, 1)
            yield followed
        finally:
            running.cancel()
            ends = await asyncio.gather(running, return_exceptions=True)
            assert isinstance(ends[0], asyncio.CancelledError)


async def test_prices_arrive_in_major_units(yahoo: FakeYahoo) -> None:
    async with following(yahoo, "AAPL", "VOD.L") as followed:
        assert yahoo.subscriptions == [{"AAPL", "VOD.L"}]
        yahoo.push(message("AAPL", 244.87, previous_close=241.5, day_low=240, day_high=245.5))
        apple = await followed.next()
        assert apple.symbol == "AAPL"
        assert apple.quote.price == 244.87
        assert apple.quote.previous_close == 241.5
        assert (apple.quote.day_low, apple.quote.day_high) == (240, 245.5)
        assert apple.quote.as_of_time == NOW
        yahoo.push(message("VOD.L", 71.5, day_volume=9_000_000_000))
        vodafone = await followed.next()
        assert vodafone.quote.price == pytest.approx(0.715)
        assert vodafone.quote.volume == 9e9
        assert vodafone.quote.previous_close is None


async def test_what_cannot_be_a_price_of_the_session_is_left_out(yahoo: FakeYahoo) -> None:
    async with following(yahoo, "AAPL", "NEW") as followed:
        yahoo.push(message("AAPL", 0))
        yahoo.push(message("AAPL", -3))
        yahoo.push(message("AAPL", float("nan")))
        yahoo.push(message("AAPL", 250, market_hours=0))
        yahoo.push(message("AAPL", 250, market_hours=2))
        yahoo.push(message("AAPL", 250, NOW + timedelta(hours=1)))
        yahoo.push(message("MSFT", 410))
        yahoo.push(message("NEW", 10))  # of which nobody knows the unit
        yahoo.push(b"\xff\xff\xff")
        yahoo.push_text("not JSON")
        yahoo.push_text('{"type": "pricing", "message": "?"}')
        yahoo.push_text("[]")
        yahoo.push(message("AAPL", 245))
        assert (await followed.next()).quote.price == 245
        yahoo.push(message("AAPL", 244, NOW - timedelta(seconds=5)))
        yahoo.push(message("NEW", 10, currency="USD"))
        assert (await followed.next()).symbol == "NEW"


async def test_another_set_of_symbols_is_subscribed_to(yahoo: FakeYahoo) -> None:
    async with following(yahoo, "AAPL") as followed:
        followed.stream.follow(["VOD.L"])
        await asyncio.to_thread(yahoo.wait_for_subscriptions, 2)
        assert yahoo.subscriptions == [{"AAPL"}, {"VOD.L"}]


async def test_a_stream_that_ends_is_taken_up_again(yahoo: FakeYahoo) -> None:
    async with following(yahoo, "AAPL") as followed:
        yahoo.drop_streams()
        await asyncio.to_thread(yahoo.wait_for_subscriptions, 2)
        assert yahoo.subscriptions == [{"AAPL"}, {"AAPL"}]
        yahoo.drop_streams()
        await asyncio.to_thread(yahoo.wait_for_subscriptions, 3)
        assert followed.pauses == [1, 2]
        yahoo.push(message("AAPL", 245))
        await followed.next()
        yahoo.drop_streams()
        await asyncio.to_thread(yahoo.wait_for_subscriptions, 4)
        assert followed.pauses == [1, 2, 1]


async def test_quotes_have_to_be_polled_unless_prices_come_in(yahoo: FakeYahoo) -> None:
    clock = HandClock()
    async with following(yahoo, "AAPL", clock=clock) as followed:
        assert not followed.stream.streaming
        yahoo.push(message("AAPL", 245))
        await followed.next()
        assert followed.stream.streaming
        clock.advance(60)
        assert not followed.stream.streaming


async def test_without_a_way_to_yahoo_it_keeps_trying(yahoo: FakeYahoo) -> None:
    with FakeYahoo() as stranger:
        yahoo.ca_bundle = stranger.ca_bundle
        clock = HandClock()
        tried = asyncio.Event()
        followed = Followed(yahoo, clock)

        async def sleep(seconds: float) -> None:
            followed.pauses.append(seconds)
            if len(followed.pauses) == 10:
                tried.set()
                await asyncio.Event().wait()

        followed.stream = YahooStream(
            followed.delivered.put_nowait, UNITS.get, ca_bundle=stranger.ca_bundle, sleep=sleep
        )
        with pytest.MonkeyPatch.context() as patch:
            for name, value in yahoo.environment.items():
                patch.setenv(name, value)
            followed.stream.follow(["AAPL"])
            running = asyncio.create_task(followed.stream.run())
            async with asyncio.timeout(10):
                await tried.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert followed.pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert not followed.stream.streaming
