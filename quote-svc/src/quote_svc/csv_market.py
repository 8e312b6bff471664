"""The `csv` market: daily bars of files, on a clock that stands still at one session's close."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from quote_svc.calendars import TradingCalendar, load_calendar
from quote_svc.control import ClockStandsStill, NoSessionsLeft
from quote_svc.csv_file import NUMBERS, CsvRows, SymbolRows, read_csv
from quote_svc.market import (
    RECENT_CLOSES,
    Bars,
    ExchangeClock,
    FetchProgress,
    History,
    Instrument,
    MarketClock,
    MarketDescription,
    MarketKind,
    MarketUnusable,
    PricesInvalid,
    Quote,
    QuoteBatch,
    Session,
    SessionState,
    SymbolNotFound,
    SymbolUnavailable,
    date_of,
    epoch_day,
)
from quote_svc.search import matches

_log = logging.getLogger("foretick.quote.csv")
# ISO 4217 currencies without a minor unit.
_WITHOUT_DECIMALS = re.compile("BIF|CLP|DJF|GNF|ISK|JPY|KMF|KRW|PYG|RWF|UGX|VND|VUV|XAF|XOF|XPF")


@dataclass(frozen=True)
class CsvSource:
    """Where the bars are, and what they don't say themselves."""

    path: Path
    exchange_code: str
    currency_code: str
    as_of: date | None


class CsvMarket:
    """A `Market` of the bars up to one session, and the `ClockControl` that moves it on.

    The clock stands still at the close of a session. Stepping leaves no trace in the files: the
    next start is at `QUOTE_AS_OF` again.
    """

    def __init__(
        self,
        description: MarketDescription,
        calendar: TradingCalendar,
        session: Session,
        listed: dict[str, tuple[Instrument, Bars]],
        problems: dict[str, str],
    ) -> None:
        """`listed` holds all bars; those after `session`, where the clock stands, stay unseen."""
        self.description = description
        self._calendar = calendar
        self._listed = listed
        self._problems = problems
        self._last_day = max(int(bars.session_days[-1]) for _, bars in listed.values())
        self._stand_at(session)

    def _stand_at(self, session: Session) -> None:
        self._session = session
        self._day = epoch_day(session.session_date)
        self._next_session = self._calendar.following(session.session_date)
        self._ahead = self._calendar.ahead(self._next_session.session_date)
        self._instruments = tuple(
            instrument
            for instrument, bars in self._listed.values()
            if bars.session_days[0] <= self._day
        )

    async def clock(self) -> MarketClock:
        """See `Market`."""
        exchange = ExchangeClock(
            exchange_code=self._calendar.exchange_code,
            state=SessionState.CLOSED,
            last_session=self._session,
            next_session=self._next_session,
        )
        return MarketClock(self._session.close_time, (exchange,), next_change_in=None)

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        """See `Market`."""
        answers: dict[str, Quote | SymbolUnavailable] = {}
        for symbol in symbols:
            try:
                answers[symbol] = self._quote(symbol)
            except SymbolUnavailable as unavailable:
                answers[symbol] = unavailable
        return QuoteBatch(self._session.close_time, answers)

    async def history(self, symbol: str, start: date | None) -> History:
        """See `Market`."""
        instrument, bars, count = self._found(symbol)
        seen = Bars(*(getattr(bars, column.name)[:count] for column in fields(bars)))
        return History(instrument, seen.since(start), self._next_session, self._ahead)

    async def search(self, query: str) -> Sequence[Instrument]:
        """See `Market`."""
        return await asyncio.to_thread(matches, self._instruments, query)

    async def universe(self) -> Sequence[Instrument]:
        """See `Market`."""
        return self._instruments

    async def hold(self) -> None:
        """See `ClockControl`; it stands still anyway."""

    async def step(self, sessions: int) -> None:
        """See `ClockControl`; the clock goes no further than the last bar's session."""
        days = self._calendar.days
        coming = int(np.searchsorted(days, self._day, side="right"))
        left = int(np.searchsorted(days, self._last_day, side="right")) - coming
        if sessions > left:
            raise NoSessionsLeft(
                f"the last bar is of {date_of(self._last_day)}, and the clock stands at the close "
                f"of {self._session.session_date}: it can be stepped {max(left, 0)} sessions, "
                f"not {sessions}"
            )
        self._stand_at(self._calendar.latest(date_of(int(days[coming + sessions - 1]))))

    async def run(self) -> None:
        """See `ClockControl`; it cannot."""
        raise ClockStandsStill("daily bars have no time of their own: step the clock instead")

    def _found(self, symbol: str) -> tuple[Instrument, Bars, int]:
        """The instrument, its bars, and how many of them can be seen."""
        if symbol in self._problems:
            raise PricesInvalid(symbol, self._problems[symbol])
        if symbol not in self._listed:
            raise SymbolNotFound(symbol)
        instrument, bars = self._listed[symbol]
        count = int(np.searchsorted(bars.session_days, self._day, side="right"))
        if not count:
            raise SymbolNotFound(symbol)
        return instrument, bars, count

    def _quote(self, symbol: str) -> Quote:
        instrument, bars, count = self._found(symbol)
        last = count - 1
        day = int(bars.session_days[last])
        stale_reason = ""
        if day < self._day:
            stale_reason = f"there is no bar after {date_of(day)}"
        return Quote(
            instrument=instrument,
            price=float(bars.closes[last]),
            as_of_time=datetime.fromtimestamp(int(bars.close_seconds[last]), UTC),
            previous_close=float(bars.closes[last - 1]) if last else None,
            session_date=date_of(day),
            state=SessionState.CLOSED,
            next_session=self._next_session,
            day_low=float(bars.lows[last]),
            day_high=float(bars.highs[last]),
            volume=float(bars.volumes[last]),
            stale=bool(stale_reason),
            stale_reason=stale_reason,
            recent_closes=tuple(bars.closes[max(count - RECENT_CLOSES, 0) : count].tolist()),
        )

    async def progress(self) -> FetchProgress | None:
        """See `Market`; the files are all there is."""
        return None

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[Session]:
        """See `Market`."""
        if exchange_code != self._calendar.exchange_code:
            return ()
        return self._calendar.opened_after(day, self._session.close_time)


def load_csv_market(source: CsvSource, today: date) -> CsvMarket:
    """Read the files and set the clock; blocks for as long as that takes.

    Raises MarketUnusable where nothing can be served.
    """
    rows = read_csv(source.path, today)
    calendar = _calendar(rows, source, today)
    _refuse_days_without_session(rows, calendar)
    problems = {symbol: taken.problem for symbol, taken in rows.symbols.items() if taken.problem}
    for message in (*rows.notices, *problems.values()):
        _log.warning("refused: %s", message)
    sound = {symbol: taken for symbol, taken in sorted(rows.symbols.items()) if not taken.problem}
    if not sound:
        raise _nothing_usable(rows, source)
    session = calendar.latest(_as_of(sound, source))
    listed = _listed(sound, source, calendar)
    description = MarketDescription(
        market_id=f"csv:{rows.content_hash[:16]}",
        kind=MarketKind.CSV,
        display_name=f"Daily bars of {source.path.name}",
        synthetic=False,
        notices=tuple(rows.notices),
    )
    return CsvMarket(description, calendar, session, listed, problems)


def _calendar(rows: CsvRows, source: CsvSource, today: date) -> TradingCalendar:
    """The exchange's sessions over every day that a readable row or the clock is of."""
    if source.as_of is not None and source.as_of > today:
        raise MarketUnusable(f"QUOTE_AS_OF: {source.as_of} lies in the future")
    days = [day for taken in rows.symbols.values() if taken.days for day in _ends(taken)]
    if not days:
        raise _nothing_usable(rows, source)
    last = date_of(max(days))
    return load_calendar(source.exchange_code, date_of(min(days)), max(last, source.as_of or last))


def _nothing_usable(rows: CsvRows, source: CsvSource) -> MarketUnusable:
    problems = (taken.problem for taken in rows.symbols.values() if taken.problem)
    why = next(problems, next(iter(rows.notices), ""))
    return MarketUnusable(f"QUOTE_CSV_PATH: no symbol of {source.path} has usable prices: {why}")


def _ends(taken: SymbolRows) -> tuple[int, int]:
    return min(taken.days), max(taken.days)


def _refuse_days_without_session(rows: CsvRows, calendar: TradingCalendar) -> None:
    """A row on a day without trading is broken; it comes before the symbol's other problem."""
    for taken in rows.symbols.values():
        traded = calendar.are_sessions(np.array(taken.days, dtype=np.int64))
        if not traded.all():
            index = int(np.argmin(traded))
            taken.problem = (
                f"{rows.place(taken, index)}, column date: {date_of(taken.days[index])} "
                f"is not a session of {calendar.exchange_code}"
            )


def _as_of(sound: Mapping[str, SymbolRows], source: CsvSource) -> date:
    """The day that the clock stands at: the one that was set, else the last with a bar."""
    ends = [day for taken in sound.values() for day in _ends(taken)]
    first, last = date_of(min(ends)), date_of(max(ends))
    if source.as_of is not None and source.as_of < first:
        raise MarketUnusable(f"QUOTE_AS_OF: {source.as_of} is before the first bar, of {first}")
    return source.as_of or last


def _listed(
    sound: Mapping[str, SymbolRows], source: CsvSource, calendar: TradingCalendar
) -> dict[str, tuple[Instrument, Bars]]:
    """Each symbol with all of its bars, in order of the symbols."""
    decimals = 0 if _WITHOUT_DECIMALS.fullmatch(source.currency_code) else 2
    return {
        symbol: (
            Instrument(symbol, symbol, calendar.exchange_code, source.currency_code, decimals),
            _bars(taken, calendar),
        )
        for symbol, taken in sound.items()
    }


def _bars(taken: SymbolRows, calendar: TradingCalendar) -> Bars:
    days = np.array(taken.days, dtype=np.int64)
    order = np.argsort(days)
    days = days[order]
    columns = np.array(taken.numbers, dtype=np.float64).reshape(-1, len(NUMBERS))[order].T
    opens, highs, lows, closes, volumes = (np.ascontiguousarray(column) for column in columns)
    dividends, split_factors = np.zeros(len(days)), np.ones(len(days))
    close_seconds = calendar.close_seconds(days)
    return Bars(days, opens, highs, lows, closes, volumes, dividends, split_factors, close_seconds)
