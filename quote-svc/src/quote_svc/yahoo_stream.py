"""Prices that Yahoo pushes: yfinance's AsyncWebSocket, and what it takes to rely on it.

Its own `listen` is not used: it swallows cancellation, and spins once the other side has closed.
"""

import asyncio
import json
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from yfinance import AsyncWebSocket

from quote_svc.source import SourceQuote, StreamedPrice
from quote_svc.yahoo_bars import minor_divisor

_log = logging.getLogger("foretick.quote.yahoo")
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0
_QUIET_SECONDS = 60.0
_REGULAR_HOURS = 1  # of market_hours; 0 is before, 2 after the session
_CLOCKS_DIFFER_BY = timedelta(minutes=1)


class _Socket(AsyncWebSocket):  # type: ignore[misc]  # yfinance has no types
    """Trusts the CA bundle, doesn't print, and takes its heartbeat with it."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        super().__init__(verbose=False)
        self._ws: Any = None
        self._trust = trust

    async def _connect(self) -> None:
        if self._ws is None:
            self._ws = await connect(self.url, ssl=self._trust)

    async def close(self) -> None:
        heartbeat = self._heartbeat_task
        await super().close()
        if heartbeat is not None:
            await asyncio.wait([heartbeat])
            if not heartbeat.cancelled():
                heartbeat.exception()  # it met the same end as the connection

    def messages(self) -> AsyncIterator[str | bytes]:
        """What arrives, until the other side closes; raises ConnectionClosed if it breaks."""
        messages: AsyncIterator[str | bytes] = aiter(self._ws)
        return messages

    def decoded(self, text: str | bytes) -> dict[str, Any] | None:
        """A pricing message's fields; None for another message. Raises ValueError."""
        envelope = json.loads(text)
        if not isinstance(envelope, dict) or not isinstance(envelope.get("message"), str):
            return None
        fields: dict[str, Any] = self._decode_message(envelope["message"])
        return fields

    @property
    def followed(self) -> set[str]:
        """The symbols that the other side has been told of."""
        return set(self._subscriptions)


class YahooStream:
    """Keeps a connection to Yahoo's stream and hands each price in it to `deliver`.

    `unit_of` says in which unit Yahoo quotes a symbol ("GBp"): messages don't always. A price
    whose unit nobody knows is not delivered. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        deliver: Callable[[StreamedPrice], None],
        unit_of: Callable[[str], str | None],
        *,
        ca_bundle: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._deliver = deliver
        self._unit_of = unit_of
        self._trust = ssl.create_default_context(
            cafile=None if ca_bundle is None else str(ca_bundle)
        )
        self._clock = clock
        self._sleep = sleep
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._connected = False
        self._last_price = -math.inf
        self._times: dict[str, datetime] = {}
        self._pause = _FIRST_PAUSE

    @property
    def streaming(self) -> bool:
        """Whether prices come in: if none has for a minute, quotes have to be polled."""
        return self._connected and self._clock() - self._last_price < _QUIET_SECONDS

    def follow(self, symbols: Iterable[str]) -> None:
        """From now on these symbols and no others."""
        self._wanted = frozenset(symbols)
        self._changed.set()

    async def run(self) -> None:
        """Connects, and again after each failure, until it is cancelled."""
        while True:
            try:
                await self._stream()
                _log.info("Yahoo closed its stream")
            except (OSError, WebSocketException) as error:
                _log.warning("Yahoo's stream broke: %s", error)
            finally:
                self._connected = False
            pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
            await self._sleep(pause)

    async def _stream(self) -> None:
        while not self._wanted:
            self._changed.clear()
            await self._changed.wait()
        async with _Socket(self._trust) as socket:
            self._connected = True
            listening = asyncio.create_task(self._listen(socket))
            subscribing = asyncio.create_task(self._subscribe(socket))
            try:
                await asyncio.wait((listening, subscribing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (listening, subscribing):
                    task.cancel()
                ends = await asyncio.gather(listening, subscribing, return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception):
                    raise end

    async def _subscribe(self, socket: _Socket) -> None:
        while True:
            self._changed.clear()
            wanted, followed = self._wanted, socket.followed
            if followed - wanted:
                await socket.unsubscribe(sorted(followed - wanted))
            if wanted - followed:
                await socket.subscribe(sorted(wanted - followed))
            await self._changed.wait()

    async def _listen(self, socket: _Socket) -> None:
        async for text in socket.messages():
            try:
                fields = socket.decoded(text)
            except (ValueError, DecodeError) as error:
                _log.warning("a message of Yahoo's stream cannot be read: %s", error)
                continue
            price = None if fields is None else self._price(fields)
            if price is not None:
                self._last_price = self._clock()
                self._pause = _FIRST_PAUSE
                self._deliver(price)

    def _price(self, fields: dict[str, Any]) -> StreamedPrice | None:
        """The price of a message; None where it isn't one that can be served."""
        symbol = str(fields.get("id"))
        unit = fields.get("currency") or self._unit_of(symbol)
        value = _positive(fields.get("price"))
        if symbol not in self._wanted or not unit or value is None:
            return None
        if fields.get("market_hours") != _REGULAR_HOURS:
            return None
        moment = datetime.fromtimestamp(int(fields.get("time", 0)) / 1000, UTC)
        latest = self._times.get(symbol)
        if (latest and moment < latest) or moment > datetime.now(UTC) + _CLOCKS_DIFFER_BY:
            return None
        self._times[symbol] = moment
        divisor = minor_divisor(unit)
        low, high = _positive(fields.get("day_low")), _positive(fields.get("day_high"))
        if low is None or high is None or not low <= value <= high:
            low = high = None
        before = _positive(fields.get("previous_close"))
        volume = _positive(fields.get("day_volume"))
        return StreamedPrice(
            symbol,
            SourceQuote(
                price=value / divisor,
                as_of_time=moment,
                previous_close=None if before is None else before / divisor,
                day_low=None if low is None else low / divisor,
                day_high=None if high is None else high / divisor,
                volume=volume,
            ),
        )


def _positive(value: object) -> float | None:
    """A number above zero; 64-bit integers come as text. None for all else."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
