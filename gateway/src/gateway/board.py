"""The board: the latest quote and forecast of every symbol that anybody looks at, in memory."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from gateway.model import PREDICTION, QUOTE, Forecast, Forecasts, Quote, Quotes, Reason
from gateway.watchlist import OTHER_MARKET, PENDING, Row

A = TypeVar("A")

# A symbol that nobody has looked at for so long leaves the board.
UNSEEN_SECONDS = 300.0


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Entry:
    """What is known of one symbol; None where nobody has answered for it yet."""

    symbol: str
    looked: float
    quote: Quote | Reason | None = None
    forecast: Forecast | Reason | None = None
    forecast_version: int = 0
    changed: int = 0
    """Number of the board's change that was the last of this symbol."""
    drawn: dict[str, object] = field(default_factory=dict)
    """What was rendered of it, by language; empty again after a change."""


@dataclass(slots=True)
class Side:
    """One service as the board sees it: its market, and since when it cannot be heard."""

    service: str
    market_id: str = ""
    since: datetime | None = None
    reason: Reason | None = None
    """Why it cannot be heard; None while it can."""


class Board:
    """Quotes and forecasts by symbol, each change numbered; prices of two markets never mix.

    ``monotonic`` is in seconds, ``wall`` is the time that outages are told in.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime] = _now,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self.entries: dict[str, Entry] = {}
        self.quotes = Side(QUOTE)
        self.forecasts = Side(PREDICTION)
        self.market_time: datetime | None = None
        self.number = 0
        """Of the last change of any symbol."""
        self.boot = secrets.token_hex(4)
        """Numbers count within one life of this process, which this names."""
        self.listeners: list[Callable[[Iterable[Entry]], None]] = []
        """Called with the entries that a change was about; with none where a side changed."""
        self.wanted: list[Callable[[Sequence[str]], None]] = []
        """Called with symbols that are new here."""
        self._told = asyncio.Event()

    def look(self, symbols: Iterable[str]) -> list[Entry]:
        """The entries of ``symbols``, in their order; new ones are asked for."""
        now = self._monotonic()
        found = []
        fresh = []
        for symbol in symbols:
            entry = self.entries.get(symbol)
            if entry is None:
                entry = self.entries[symbol] = Entry(symbol, now)
                fresh.append(symbol)
            entry.looked = now
            found.append(entry)
        if fresh:
            for want in self.wanted:
                want(fresh)
        return found

    async def answered(self, entries: Sequence[Entry], give_up: float) -> None:
        """Wait until every entry has its answers, but not beyond ``give_up``."""
        if not any(map(self.is_pending, entries)):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(give_up - self._monotonic()):
                while any(map(self.is_pending, entries)):
                    await self._told.wait()

    def is_pending(self, entry: Entry) -> bool:
        """Whether an answer is still to come from a service that can be heard."""
        return (entry.quote is None and self.quotes.reason is None) or (
            entry.forecast is None and self.forecasts.reason is None
        )

    def row(self, entry: Entry) -> Row:
        """What is known of a symbol, with a reason for each part that is not there."""
        quote, price_reason = _split(entry.quote, Quote, self.quotes.reason)
        forecast, forecast_reason = _split(entry.forecast, Forecast, self.forecasts.reason)
        if self.is_mixed:
            forecast, forecast_reason = None, OTHER_MARKET
        return Row(entry.symbol, quote, price_reason, forecast, forecast_reason)

    def rows_for_programs(self, entries: Iterable[Entry]) -> list[Row]:
        """What is known of symbols, without what is old because its service cannot be heard."""
        rows = [self.row(entry) for entry in entries]
        if reason := self.quotes.reason:
            rows = [replace(row, quote=None, price_reason=reason) for row in rows]
        if reason := self.forecasts.reason:
            rows = [replace(row, forecast=None, forecast_reason=reason) for row in rows]
        return rows

    @property
    def token(self) -> str:
        """Names the state of the board, so that whoever saw it can ask what has changed since."""
        return f"{self.boot}-{self.number}"

    @property
    def is_mixed(self) -> bool:
        """Whether the two sides tell of different markets."""
        ours, theirs = self.quotes.market_id, self.forecasts.market_id
        return bool(ours and theirs) and ours != theirs

    def take_quotes(self, quotes: Quotes, *, overrule: bool = False) -> None:
        """Take an answer in; ``overrule`` where it counts even if its version is lower."""
        if self.market_time is None or quotes.market_id != self.quotes.market_id:
            self.market_time = quotes.market_time
        changed = self._turn(self.quotes, quotes.market_id)
        for symbol, quote in quotes.found.items():
            entry = self.entries.get(symbol)
            if entry is None or entry.quote == quote:
                continue
            known = entry.quote
            if isinstance(known, Quote) and quote.version < known.version and not overrule:
                continue
            entry.quote = quote
            changed[symbol] = entry
        for symbol, reason in quotes.missing.items():
            entry = self.entries.get(symbol)
            if entry is not None and entry.quote != reason:
                entry.quote = reason
                changed[symbol] = entry
        self._tell(changed)

    def take_forecasts(self, forecasts: Forecasts, *, overrule: bool = False) -> None:
        """Take an answer in, as `take_quotes` does."""
        changed = self._turn(self.forecasts, forecasts.market_id)
        told: dict[str, Forecast | Reason] = {**forecasts.found, **forecasts.missing}
        for symbol, forecast in told.items():
            entry = self.entries.get(symbol)
            if entry is None or (forecasts.version < entry.forecast_version and not overrule):
                continue
            entry.forecast_version = forecasts.version
            if entry.forecast != forecast:
                entry.forecast = forecast
                changed[symbol] = entry
        self._tell(changed)

    def lost(self, side: Side, reason: Reason) -> None:
        """A service cannot be heard; what it told last stays."""
        if side.reason != reason:
            side.since = side.since or self._wall()
            side.reason = reason
            self._tell(self._unanswered())

    def heard(self, side: Side) -> None:
        """A service can be heard again."""
        if side.reason is not None:
            side.since = side.reason = None
            self._tell(self._unanswered())

    def forget_unseen(self) -> None:
        """Let go of what nobody has looked at for a while."""
        before = self._monotonic() - UNSEEN_SECONDS
        for symbol in [each.symbol for each in self.entries.values() if each.looked < before]:
            del self.entries[symbol]

    def _unanswered(self) -> dict[str, Entry]:
        """What says in its place that an answer is to come, or why there is none."""
        return {
            symbol: entry
            for symbol, entry in self.entries.items()
            if entry.quote is None or entry.forecast is None
        }

    def _turn(self, side: Side, market_id: str) -> dict[str, Entry]:
        """Turn to another market if this is one; the entries that this changes."""
        if market_id == side.market_id:
            return {}
        side.market_id = market_id
        if side is self.quotes:
            for entry in self.entries.values():
                entry.quote = None
        else:
            for entry in self.entries.values():
                entry.forecast, entry.forecast_version = None, 0
        return dict(self.entries)

    def _tell(self, changed: dict[str, Entry]) -> None:
        if changed:
            self.number += 1
        for entry in changed.values():
            entry.changed = self.number
            entry.drawn.clear()
        self._told.set()
        self._told = asyncio.Event()
        for listener in self.listeners:
            listener(changed.values())


def _split(known: object, kind: type[A], down: Reason | None) -> tuple[A | None, Reason | None]:
    if isinstance(known, kind):
        return known, None
    return None, known if isinstance(known, Reason) else down or PENDING
