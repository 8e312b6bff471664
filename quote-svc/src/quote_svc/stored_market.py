"""The market of a source elsewhere: served from the store, whatever the source does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from foretick_rpc.symbols import parse_symbol
from quote_svc.background import background, repeated
from quote_svc.errands import LOOK_EVERY_SECONDS, Errands
from quote_svc.exchange_codes import CALENDARS
from quote_svc.flights import all_done
from quote_svc.market import (
    MOST_SESSIONS,
    ExchangeClock,
    FetchProgress,
    History,
    Instrument,
    MarketClock,
    MarketDescription,
    Quote,
    QuoteBatch,
    Session,
    SourceUnavailable,
    SymbolUnavailable,
)
from quote_svc.quoting import instrument_of, quote_of
from quote_svc.refreshing import CalendarFor, Known, Refresher, pending
from quote_svc.scheduling import Scheduler, is_polled
from quote_svc.search import matches
from quote_svc.sessions import Moment, SessionCalendar, as_heard, moment
from quote_svc.source import Source, SourceFailure, SourceInstrument, StreamedPrice
from quote_svc.store import Shared, Store
from quote_svc.universe import members
from quote_svc.upstream import Upstream

_log = logging.getLogger("foretick.quote.store")
_FOLLOW_EVERY_SECONDS = 0.5
_FETCHING = timedelta(seconds=5)
_NEVER = datetime.min.replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Upkeep:
    """What is fetched unasked, and how the market treats time.

    `seeds` are fetched in the background in their order, `poll` is how often quotes of open
    exchanges are renewed, `patience` how long a caller waits for a symbol not known yet, `at_once`
    how many that people wait for are fetched together.
    """

    seeds: tuple[str, ...] = ()
    poll: timedelta = timedelta(seconds=15)
    patience: timedelta = timedelta(seconds=4)
    at_once: int = 8
    wall: Callable[[], datetime] = _now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class StoredMarket:
    """A `Market` over any `Source`."""

    def __init__(
        self,
        description: MarketDescription,
        source: Source,
        shared: Shared,
        calendar_for: CalendarFor,
        upkeep: Upkeep,
    ) -> None:
        self.description = description
        self._lease = shared.lease
        self._holds = False
        self._upkeep = upkeep
        market_id = description.market_id
        store = Store(shared.database, market_id, shared.lease.require)
        self._refresher = Refresher(source, store, calendar_for, upkeep.wall)
        self._instruments: dict[str, tuple[SourceInstrument, Instrument]] = {}
        self._errands = Errands(shared.database, market_id, upkeep.wall, upkeep.sleep)
        self._upstream = Upstream(
            source, self._refresher, self._errands, lambda: self.holds, upkeep.at_once
        )
        self._scheduler = Scheduler(
            self._refresher, self._upstream.flights, upkeep.seeds, upkeep.poll, upkeep.wall
        )

    @property
    def holds(self) -> bool:
        """Whether this replica asks the source, and writes what it says, for all replicas."""
        return self._holds and self._lease.held

    async def open(self) -> None:
        """Take over what is stored."""
        await self._refresher.load()

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Ask the source for all replicas while this is entered, which the lease must allow."""
        await self._refresher.load()
        self._holds = True
        try:
            # Who waits for an errand of this replica's own asks again, and is answered from here.
            await self._upstream.flights.stop()
            yield
        finally:
            self._holds = False
            try:
                await self.close()
            except (DatabaseUnavailableError, LeaseLostError):
                _log.warning("the latest prices could not be stored")
            except Exception:  # noqa: BLE001 - logged; the lease has to be given back
                _log.exception("the latest prices could not be stored")

    async def step(self) -> float:
        """What the holder does next in the background; the seconds to wait before it does more."""
        return await self._scheduler.step() if self.holds else LOOK_EVERY_SECONDS

    async def serve(self) -> float:
        """Do the other replicas' errands, and let them see the latest prices; as `step`."""
        if self.holds:
            await self._upstream.serve()
            await self._refresher.flush()
        return LOOK_EVERY_SECONDS

    async def follow(self) -> float:
        """What the others do in the background: see what the holder has stored; as `step`."""
        if not self.holds:
            await self._refresher.load()
            await self._errands.pass_on()
        return _FOLLOW_EVERY_SECONDS

    async def close(self) -> None:
        """Break off what is under way, and store the latest quotes."""
        await self._upstream.stop()
        await self._refresher.flush()

    async def clock(self) -> MarketClock:
        """See `Market`; the exchanges are those of the universe's known instruments."""
        now = self._upkeep.wall()
        traded: dict[str, list[Known]] = {}
        for known in self._universe(now):
            traded.setdefault(known.calendar.code, []).append(known)
        moments = {code: _moment_of(traded[code], now) for code in sorted(traded)}
        changes = [
            change
            for at in moments.values()
            for change in (at.next_session.open_time, at.next_session.close_time, at.final_next)
            if change > now
        ]
        if any(at.final_next <= now for at in moments.values()):
            changes.append(now + _FETCHING)
        exchanges = tuple(
            ExchangeClock(code, at.state, at.last_final, at.next_session)
            for code, at in moments.items()
        )
        return MarketClock(now, exchanges, min(changes) - now if changes else None)

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        """See `Market`; what is not known yet is fetched, for as long as a caller waits."""
        missing = await self._fetched(symbols)
        now = self._upkeep.wall()
        moments: dict[SessionCalendar, Moment] = {}
        answers: dict[str, Quote | SymbolUnavailable] = {}
        for symbol in symbols:
            if symbol in missing:
                answers[symbol] = missing[symbol]
                continue
            known = self._refresher.known[symbol]
            self._refresher.asked(symbol)
            if not self.holds:
                self._errands.look_at(symbol)
            if known.calendar not in moments:
                moments[known.calendar] = moment(known.calendar, now)
            try:
                answers[symbol] = self._quote(known, moments[known.calendar])
            except LookupError:
                message = "No price is known of the symbol yet."
                answers[symbol] = SourceUnavailable(symbol, "HISTORY_PENDING", message)
        return QuoteBatch(now, answers)

    async def history(self, symbol: str, start: date | None) -> History:
        """See `Market`. Only quotes are taken as people's asking: forecasters read histories."""
        if not self.holds:
            # Who has just heard of a session's final bars may ask here for them.
            with suppress(DatabaseUnavailableError):
                await self._refresher.load()
        missing = await self._fetched([symbol])
        if symbol in missing:
            raise missing[symbol]
        bars = await self._refresher.bars(symbol)
        if bars is None:
            await self._waited_for([symbol])
            bars = await self._refresher.bars(symbol)
        known = self._refresher.known[symbol]
        if bars is None:
            why = (
                known.stored.failure or "The stored history was damaged and is being fetched again."
            )
            raise SourceUnavailable(symbol, "HISTORY_PENDING", why)
        at = moment(known.calendar, self._upkeep.wall())
        at = as_heard(known.calendar, at, known.stored.answered_at)
        instrument = instrument_of(known.stored, known.calendar)
        return History(
            instrument,
            bars.since(start),
            at.next_session,
            known.calendar.ahead(at.next_session.session_date),
            tuple(gap.day for gap in known.stored.provenance.gaps),
        )

    async def search(self, query: str) -> Sequence[Instrument]:
        """See `Market`: what the source finds, then what else is stored."""
        known = [
            instrument_of(each.stored, each.calendar) for each in self._refresher.known.values()
        ]
        stored = await asyncio.to_thread(matches, known, query)
        try:
            told = await self._upstream.search(query)
        except SourceFailure as failure:
            _log.warning("searched in the store alone: %s", failure)
            return stored
        found = _instruments(told)
        exact = [each for each in stored if each.symbol == query.strip().upper()]
        merged = {each.symbol: each for each in (*exact, *found, *stored)}
        return tuple(merged.values())

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[Session]:
        """See `Market`."""
        now = self._upkeep.wall()
        for each in self._universe(now):
            if each.calendar.code == exchange_code:
                until = (now + timedelta(days=1)).date()
                sessions = each.calendar.sessions(day + timedelta(days=1), until)
                return [each for each in sessions if each.open_time <= now][-MOST_SESSIONS:]
        return ()

    async def universe(self) -> Sequence[Instrument]:
        """See `Market`."""
        listed = self._universe(self._upkeep.wall())
        return tuple(self._instrument(each) for each in listed if each.stored.sessions)

    async def progress(self) -> FetchProgress:
        """How far the fetching of the universe has come."""
        known, refusals = self._refresher.known, self._refresher.refusals
        stored = (each.stored for each in known.values())
        mine = members(self._upkeep.seeds, stored, self._upkeep.wall())
        there = sum(symbol in known for symbol in mine)
        failed = sum(symbol not in known and symbol in refusals for symbol in mine)
        return FetchProgress(known=there, failed=failed, total=len(mine))

    def accept_price(self, streamed: StreamedPrice) -> None:
        """Take a price that the source pushed; polling of its symbol rests meanwhile."""
        if self.holds:
            self._refresher.accept_price(streamed)

    def polled_symbols(self) -> frozenset[str]:
        """The symbols whose prices are wanted live now: watched, and their exchange open."""
        if not self.holds:
            return frozenset()
        now = self._upkeep.wall()
        return frozenset(
            symbol
            for symbol, known in self._refresher.known.items()
            if is_polled(known, moment(known.calendar, now))
        )

    def _instrument(self, known: Known) -> Instrument:
        """The instrument, made once: a universe is asked for often and seldom another."""
        source = known.stored.instrument
        made = self._instruments.get(source.symbol)
        if made is None or made[0] is not source:
            made = source, instrument_of(known.stored, known.calendar)
            self._instruments[source.symbol] = made
        return made[1]

    def _quote(self, known: Known, at: Moment) -> Quote:
        patience = 3 * self._upkeep.poll + timedelta(seconds=30)
        at = as_heard(known.calendar, at, known.stored.answered_at)
        return quote_of(known.stored, known.calendar, at, patience)

    def _universe(self, now: datetime) -> list[Known]:
        known = self._refresher.known
        mine = members(self._upkeep.seeds, (each.stored for each in known.values()), now)
        return [known[symbol] for symbol in sorted(mine) if symbol in known]

    async def _fetched(self, symbols: Sequence[str]) -> dict[str, SymbolUnavailable]:
        """Fetch those of `symbols` that are not known; why the ones that still aren't are not."""
        known = self._refresher.known
        cold = [symbol for symbol in symbols if symbol not in known]
        if not cold:
            return {}
        refused = {symbol: self._refresher.refusal(symbol) for symbol in cold}
        missing = {symbol: error for symbol, error in refused.items() if error is not None}
        missing |= await self._waited_for([symbol for symbol in cold if symbol not in missing])
        return missing

    async def _waited_for(self, symbols: Sequence[str]) -> dict[str, SymbolUnavailable]:
        """Fetch `symbols`, all who want one waiting for the same fetch; what failed, and why."""
        tasks = {symbol: self._upstream.flights.start(symbol, urgent=True) for symbol in symbols}
        await all_done(tasks.values(), self._upkeep.sleep(self._upkeep.patience.total_seconds()))
        missing: dict[str, SymbolUnavailable] = {}
        for symbol, task in tasks.items():
            if not task.done() or task.cancelled():
                missing[symbol] = pending(symbol)
                continue
            try:
                task.result()
            except SymbolUnavailable as unavailable:
                missing[symbol] = unavailable
        return missing


def _instruments(told: Sequence[SourceInstrument]) -> list[Instrument]:
    """What the source found, of which no calendar is opened before its prices are asked for."""
    found = []
    for each in told:
        try:
            symbol = parse_symbol(each.symbol)
        except ValueError:
            _log.info("the source found %r, which is no symbol here", each.symbol)
            continue
        code = CALENDARS.get(each.exchange_code, each.exchange_code)
        name, currency = each.display_name, each.currency_code
        found.append(Instrument(symbol, name, code, currency, each.price_decimals, each.kind))
    return found


def _moment_of(traded: Sequence[Known], now: datetime) -> Moment:
    """Where an exchange is: a session is final once all its symbols that can be had were."""
    calendar = traded[0].calendar
    sound = [known.stored.answered_at for known in traded if not known.stored.failure]
    return as_heard(calendar, moment(calendar, now), min(sound, default=_NEVER))


@asynccontextmanager
async def opened_stored_market(
    description: MarketDescription,
    source: Source,
    shared: Shared,
    calendar_for: CalendarFor,
    upkeep: Upkeep,
) -> AsyncIterator[StoredMarket]:
    """The market with its background running; on leaving what is under way is broken off."""
    market = StoredMarket(description, source, shared, calendar_for, upkeep)
    await market.open()
    held = asyncio.Event()

    async def hold() -> None:
        # A group waits for what it has cancelled, so that the last write is over before it ends.
        async with market.holding(), asyncio.TaskGroup() as group:
            held.set()
            group.create_task(repeated(market.step, upkeep.sleep))
            if not shared.database.is_exclusive:
                group.create_task(repeated(market.serve, upkeep.sleep))

    async with background(shared.lease.run(hold), repeated(market.follow, upkeep.sleep)):
        if shared.database.is_exclusive:
            await held.wait()
        yield market
