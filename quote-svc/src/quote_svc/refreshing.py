"""Asks the source for one symbol and keeps what it says; remembers where it failed."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from quote_svc.answers import BasisChanged, Kept, latest, taken_in, taken_whole
from quote_svc.bar_blob import BlobDamaged
from quote_svc.market import (
    Bars,
    SourceUnavailable,
    SymbolNotFound,
    SymbolUnavailable,
    microseconds,
)
from quote_svc.merging import refresh_start, same
from quote_svc.sessions import SessionCalendar, session_at
from quote_svc.source import (
    Nonsense,
    RateLimited,
    Source,
    SourceFailure,
    SourceInstrument,
    SourceQuote,
    StreamedPrice,
    UnknownSymbol,
    Unreachable,
)
from quote_svc.store import Store
from quote_svc.stored_symbol import StoredSymbol

_log = logging.getLogger("foretick.quote.store")
# Longer than any source may take for the two requests that a refresh can need.
_FLIGHT_SECONDS = 120.0
_DENIED_FOR = timedelta(minutes=10)
_FAILED_FOR = timedelta(seconds=10)
_DENIED_RETRY = timedelta(hours=6)
_FIRST_RETRY, _LAST_RETRY = timedelta(seconds=15), timedelta(minutes=2)
_FIRST_PAUSE, _LAST_PAUSE = timedelta(seconds=5), timedelta(minutes=2)
_MOST_REFUSALS = 10_000
_DAY = timedelta(days=1)
# A streamed price further from the last close needs a look at the bars: there may be a split.
_NEEDS_A_LOOK = 0.35

CalendarFor = Callable[[SourceInstrument], SessionCalendar]


@dataclass
class Known:
    """A symbol with prices: what is stored, or soon will be, and how often asking has failed."""

    stored: StoredSymbol
    calendar: SessionCalendar
    failures: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a symbol without prices has none, until when that is not asked again, and by whom."""

    error: SymbolUnavailable
    until: datetime
    retry_at: datetime
    failures: int


class Refresher:
    """Everything known of the market's symbols, and the one way in which it grows."""

    def __init__(
        self,
        source: Source,
        store: Store,
        calendar_for: CalendarFor,
        wall: Callable[[], datetime],
    ) -> None:
        self.known: dict[str, Known] = {}
        self.refusals: dict[str, Refusal] = {}
        self.pause_until: datetime | None = None
        self._pauses = 0
        self._source = source
        self._store = store
        self._calendar_for = calendar_for
        self._wall = wall
        self._calendars: dict[tuple[object, ...], SessionCalendar] = {}
        self._unsaved: set[str] = set()
        self._loading = asyncio.Lock()
        self._loaded = -1

    async def load(self) -> None:
        """Take over what was stored since the last time, unless what is known here is newer."""
        # Whoever comes second waits until the first knows what it has read.
        async with self._loading:
            change, changed = await self._store.load(self._loaded)
            for stored in changed:
                await self._take_over(stored)
            self._loaded = change

    async def _take_over(self, stored: StoredSymbol) -> None:
        symbol = stored.instrument.symbol
        calendar = self._calendars.get(_traded_as(stored.instrument))
        if calendar is None:
            calendar = await asyncio.to_thread(self.calendar, stored.instrument)
        known = self.known.get(symbol)
        if known is None:
            self.known[symbol] = Known(stored, calendar)
            self.refusals.pop(symbol, None)
        elif stored.version >= known.stored.version:
            asked = [each for each in (stored.asked_at, known.stored.asked_at) if each]
            known.stored = replace(stored, asked_at=max(asked, default=None))
            known.calendar = calendar

    def calendar(self, instrument: SourceInstrument) -> SessionCalendar:
        """The calendar of an instrument; may block for as long as it takes to build."""
        key = _traded_as(instrument)
        if key not in self._calendars:
            self._calendars[key] = self._calendar_for(instrument)
        return self._calendars[key]

    def refusal(self, symbol: str) -> SymbolUnavailable | None:
        """Why asking for an unknown symbol again would be too early."""
        refusal = self.refusals.get(symbol)
        return refusal.error if refusal is not None and refusal.until > self._wall() else None

    async def bars(self, symbol: str) -> Bars | None:
        """The bars of a known symbol; None where what is stored is damaged."""
        try:
            return await self._store.bars(symbol)
        except BlobDamaged as damage:
            _log.error("the stored bars of %s are damaged and fetched again: %s", symbol, damage)
            return None

    async def fetch(self, symbol: str) -> None:
        """Ask the source and store what it says; raises SymbolUnavailable for an unknown symbol.

        A known symbol stays known whatever the source answers.
        """
        now = self._wall()
        try:
            await self._fetch(symbol, now)
        except (DatabaseUnavailableError, LeaseLostError) as away:
            # Nothing is wrong with the source or the symbol; what is known goes on being served.
            self.pause_until = now + _FIRST_PAUSE
            if symbol not in self.known:
                raise pending(symbol) from away

    async def _fetch(self, symbol: str, now: datetime) -> None:
        try:
            async with asyncio.timeout(_FLIGHT_SECONDS):
                await self._refresh(symbol, now)
        except UnknownSymbol as unknown:
            await self._denied(symbol, now)
            if symbol not in self.known:
                raise SymbolNotFound(symbol) from unknown
        except (DatabaseUnavailableError, LeaseLostError):
            raise
        except Exception as error:
            failure = _failure_of(error, symbol)
            self._failed(symbol, failure, now)
            if symbol not in self.known:
                raise _unavailable(symbol, failure) from error
        else:
            self._pauses, self.pause_until = 0, None
            self.refusals.pop(symbol, None)

    def accept_price(self, streamed: StreamedPrice) -> None:
        """Take a price that the source pushed, unless it is older or looks like a split."""
        known = self.known.get(streamed.symbol)
        if known is None:
            return
        now, before = self._wall(), known.stored.quote
        told = streamed.quote
        closes = [bar.close for bar in known.stored.tail[-1:]]
        usual = [*closes, before.price] if before is not None else closes
        if latest(told, before, now) is not told or _is_odd(told.price, usual):
            return
        if before is not None and _same_session(known.calendar, before, told):
            told = _continued(before, told)
        self._change(known, replace(known.stored, quote=told, pushed_at=now))

    def asked(self, symbol: str) -> None:
        """Note that people ask for a known symbol."""
        now = self._wall()
        known = self.known[symbol]
        before = known.stored.asked_at
        known.stored = replace(known.stored, asked_at=now)
        # When exactly is forgotten with the process; that it was lately is not.
        if before is None or now - before > timedelta(hours=1):
            self._unsaved.add(symbol)

    async def flush(self) -> None:
        """Store the latest quotes that are not stored yet."""
        if not self._unsaved:
            return
        saving, self._unsaved = self._unsaved, set()
        is_saved = False
        try:
            await self._store.save_latest(lambda: [self.known[symbol].stored for symbol in saving])
            is_saved = True
        finally:
            # Due again, beside what has changed meanwhile.
            if not is_saved:
                self._unsaved |= saving

    def _change(self, known: Known, stored: StoredSymbol) -> None:
        """Let `stored` take the place of what was known, as a later version of it."""
        known.stored = replace(stored, version=self._version_after(known.stored))
        self._unsaved.add(stored.instrument.symbol)

    def _version_after(self, before: StoredSymbol | None) -> int:
        now = microseconds(self._wall())
        return now if before is None else max(now, before.version + 2)

    async def _refresh(self, symbol: str, now: datetime) -> None:
        known = self.known.get(symbol)
        before = None
        since = None
        if known is not None:
            bars = await self.bars(symbol)
            since = refresh_start(bars, known.stored.provenance.gaps, now)
            before = None if bars is None else Kept(known.stored, bars)
        answer = await self._source.history(symbol, since)
        calendar = await asyncio.to_thread(self.calendar, answer.instrument)
        try:
            kept = await asyncio.to_thread(taken_in, answer, since, calendar, now, before)
        except BasisChanged as changed:
            if before is None:
                raise
            _log.info("%s is fetched whole: %s", symbol, changed)
            answer = await self._source.history(symbol, None)
            kept = await asyncio.to_thread(taken_whole, answer, calendar, now, before, str(changed))
        await self._keep(symbol, kept, before, calendar)

    async def _keep(
        self, symbol: str, kept: Kept, before: Kept | None, calendar: SessionCalendar
    ) -> None:
        known = self.known.get(symbol)
        was = None if known is None else known.stored
        stored = replace(kept.stored, version=self._version_after(was))
        if known is not None and before is None:
            basis = known.stored.provenance.adjusted_basis + 1
            provenance = replace(stored.provenance, adjusted_basis=basis)
            stored = replace(stored, provenance=provenance)
        if known is not None:
            # Prices may have been pushed, and people may have asked, meanwhile.
            quote = latest(stored.quote, known.stored.quote, stored.answered_at)
            stored = replace(
                stored,
                quote=quote,
                asked_at=known.stored.asked_at,
                pushed_at=known.stored.pushed_at,
            )
        is_saved = (
            before is None or _differ(stored, before.stored) or not same(kept.bars, before.bars)
        )
        if is_saved:
            await self._store.save(stored, kept.bars)
        elif before is not None:
            stored = replace(stored, provenance=before.stored.provenance)
        if known is None:
            self.known[symbol] = Known(stored, calendar)
            return
        known.calendar, known.failures, known.retry_at = calendar, 0, None
        if is_saved and known.stored is was:
            known.stored = stored
            return
        now = known.stored
        newer = latest(stored.quote, now.quote, self._wall())
        self._change(
            known, replace(stored, quote=newer, asked_at=now.asked_at, pushed_at=now.pushed_at)
        )

    async def _denied(self, symbol: str, now: datetime) -> None:
        """The source says that there is no such symbol: believed at once only of a new one."""
        known = self.known.get(symbol)
        if known is None:
            self._refuse(symbol, SymbolNotFound(symbol), now, _DENIED_FOR, _DAY)
            return
        known.retry_at = now + _DENIED_RETRY
        failure = "The source does not know the symbol at the moment."
        stored = replace(known.stored, failure=failure)
        since, days = stored.unknown_since, stored.unknown_days
        if since is None or now - since >= days * _DAY:
            stored = replace(stored, unknown_since=since or now, unknown_days=days + 1)
            self._change(known, stored)
            await self._store.save_standing(known.stored)
        elif stored != known.stored:
            self._change(known, stored)

    def _failed(self, symbol: str, failure: SourceFailure, now: datetime) -> None:
        _log.warning("%s could not be fetched: %s (%s)", symbol, failure, failure.reason)
        told = failure.retry_after_seconds if isinstance(failure, RateLimited) else None
        known = self.known.get(symbol)
        if isinstance(failure, Unreachable | RateLimited):
            self._pause(now, told)
        if known is None:
            earlier = self.refusals.get(symbol)
            wait = _doubled(_FIRST_RETRY, 0 if earlier is None else earlier.failures, _DAY / 24)
            self._refuse(symbol, _unavailable(symbol, failure), now, _FAILED_FOR, wait)
            return
        if known.stored.failure != str(failure):
            self._change(known, replace(known.stored, failure=str(failure)))
        known.retry_at = now + _doubled(_FIRST_RETRY, known.failures, _LAST_RETRY)
        known.failures += 1

    def _pause(self, now: datetime, told: float | None) -> None:
        """Leave the source alone for a while in the background."""
        if self.pause_until is not None and now < self.pause_until:
            return
        wait = _doubled(_FIRST_PAUSE, self._pauses, _LAST_PAUSE)
        self.pause_until = now + max(wait, timedelta(seconds=told or 0))
        self._pauses += 1

    def _refuse(
        self, symbol: str, error: SymbolUnavailable, now: datetime, people: timedelta,
        background: timedelta,
    ) -> None:  # fmt: skip
        earlier = self.refusals.get(symbol)
        failures = 1 if earlier is None else earlier.failures + 1
        self.refuse(symbol, Refusal(error, now + people, now + background, failures))

    def refuse(self, symbol: str, refusal: Refusal) -> None:
        """Remember why a symbol has no prices."""
        now = self._wall()
        if len(self.refusals) >= _MOST_REFUSALS:
            self.refusals = {
                other: each for other, each in self.refusals.items() if each.retry_at > now
            }
            if len(self.refusals) >= _MOST_REFUSALS:
                self.refusals.pop(next(iter(self.refusals)))
        self.refusals[symbol] = refusal


def _traded_as(instrument: SourceInstrument) -> tuple[object, ...]:
    return instrument.kind, instrument.exchange_code, instrument.timezone


def _failure_of(error: Exception, symbol: str) -> SourceFailure:
    if isinstance(error, SourceFailure):
        return error
    if isinstance(error, TimeoutError):
        return Unreachable(f"The source did not answer for {_FLIGHT_SECONDS:g} seconds.")
    # Whatever it is about this symbol, it is not to take others along.
    _log.error("what the source says of %s cannot be kept", symbol, exc_info=error)
    return Nonsense("What the source says of the symbol could not be kept.")


def _is_odd(price: float, usual: Sequence[float]) -> bool:
    return bool(usual) and all(abs(price / each - 1) > _NEEDS_A_LOOK for each in usual)


def _same_session(calendar: SessionCalendar, one: SourceQuote, other: SourceQuote) -> bool:
    return session_at(calendar, one.as_of_time) == session_at(calendar, other.as_of_time)


def _continued(before: SourceQuote, told: SourceQuote) -> SourceQuote:
    """What was pushed, with what it left out of the same session."""
    lows = [low for low in (before.day_low, told.day_low) if low is not None]
    highs = [high for high in (before.day_high, told.day_high) if high is not None]
    return replace(
        told,
        previous_close=before.previous_close
        if told.previous_close is None
        else told.previous_close,
        day_low=min((*lows, told.price)) if lows else None,
        day_high=max((*highs, told.price)) if highs else None,
        volume=before.volume if told.volume is None else told.volume,
    )


def _differ(one: StoredSymbol, other: StoredSymbol) -> bool:
    """Whether anything but the latest quote is another."""
    return (
        (one.instrument, one.provenance.gaps, one.provenance.checks)
        != (other.instrument, other.provenance.gaps, other.provenance.checks)
        or one.provenance.adjusted_basis != other.provenance.adjusted_basis
        or one.unknown_since != other.unknown_since
        or one.recent_closes != other.recent_closes
    )


def _doubled(first: timedelta, times: int, most: timedelta) -> timedelta:
    return min(first * (1 << min(times, 20)), most)


def pending(symbol: str) -> SourceUnavailable:
    """What is said of a symbol that is still to be fetched."""
    message = "The history is being fetched; ask again in a moment."
    return SourceUnavailable(symbol, "HISTORY_PENDING", message)


def _unavailable(symbol: str, failure: SourceFailure) -> SourceUnavailable:
    return SourceUnavailable(symbol, failure.reason, str(failure))
