"""The `csv` market: daily bars of files, on a clock that stands still at one session's close."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from quote_svc.calendars import TradingCalendar, load_calendar
from quote_svc.csv_file import NUMBERS, CsvRows, SymbolRows, read_csv
from quote_svc.market import (
    Bars,
    ExchangeClock,
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
    """A `Market` of the bars up to one session; later ones are not even kept."""

    def __init__(
        self,
        description: MarketDescription,
        clock: ExchangeClock,
        listed: dict[str, tuple[Instrument, Bars]],
        problems: dict[str, str],
    ) -> None:
        if clock.last_session is None:
            raise ValueError("the clock must stand at the close of a session")
        self.description = description
        self._now = clock.last_session.close_time
        self._clock = clock
        self._listed = listed
        self._problems = problems
        self._instruments = tuple(instrument for instrument, _ in listed.values())

    async def clock(self) -> MarketClock:
        """See `Market`."""
        return MarketClock(self._now, (self._clock,), next_change_in=None)

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        """See `Market`."""
        answers: dict[str, Quote | SymbolUnavailable] = {}
        for symbol in symbols:
            try:
                answers[symbol] = self._quote(symbol)
            except SymbolUnavailable as unavailable:
                answers[symbol] = unavailable
        return QuoteBatch(self._now, answers)

    async def history(self, symbol: str, start: date | None) -> History:
        """See `Market`."""
        instrument, bars = self._found(symbol)
        return History(instrument, bars.since(start), self._clock.next_session)

    async def search(self, query: str) -> Sequence[Instrument]:
        """See `Market`."""
        return await asyncio.to_thread(matches, self._instruments, query)

    async def universe(self) -> Sequence[Instrument]:
        """See `Market`."""
        return self._instruments

    def _found(self, symbol: str) -> tuple[Instrument, Bars]:
        if symbol in self._problems:
            raise PricesInvalid(symbol, self._problems[symbol])
        if symbol not in self._listed:
            raise SymbolNotFound(symbol)
        return self._listed[symbol]

    def _quote(self, symbol: str) -> Quote:
        instrument, bars = self._found(symbol)
        return Quote(
            instrument=instrument,
            price=float(bars.closes[-1]),
            as_of_time=datetime.fromtimestamp(int(bars.close_seconds[-1]), UTC),
            previous_close=float(bars.closes[-2]) if len(bars) > 1 else None,
            session_date=date_of(int(bars.session_days[-1])),
            state=self._clock.state,
            next_session=self._clock.next_session,
        )


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
    listed = _listed(sound, source, calendar, session)
    description = MarketDescription(
        market_id=f"csv:{rows.content_hash[:16]}",
        kind=MarketKind.CSV,
        display_name=f"Daily bars of {source.path.name}",
        synthetic=False,
        notices=tuple(rows.notices),
    )
    clock = ExchangeClock(
        exchange_code=calendar.exchange_code,
        state=SessionState.CLOSED,
        last_session=session,
        next_session=calendar.following(session.session_date),
    )
    return CsvMarket(description, clock, listed, problems)


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
    sound: Mapping[str, SymbolRows], source: CsvSource, calendar: TradingCalendar, session: Session
) -> dict[str, tuple[Instrument, Bars]]:
    """Each symbol that has bars up to `session`, with these, in order of the symbols."""
    decimals = 0 if _WITHOUT_DECIMALS.fullmatch(source.currency_code) else 2
    listed: dict[str, tuple[Instrument, Bars]] = {}
    for symbol, taken in sound.items():
        bars = _bars(taken, calendar, epoch_day(session.session_date))
        if len(bars):
            instrument = Instrument(
                symbol, symbol, calendar.exchange_code, source.currency_code, decimals
            )
            listed[symbol] = (instrument, bars)
    return listed


def _bars(taken: SymbolRows, calendar: TradingCalendar, last_day: int) -> Bars:
    days = np.array(taken.days, dtype=np.int64)
    order = np.argsort(days)
    order = order[days[order] <= last_day]
    days = days[order]
    columns = np.array(taken.numbers, dtype=np.float64).reshape(-1, len(NUMBERS))[order].T
    opens, highs, lows, closes, volumes = (np.ascontiguousarray(column) for column in columns)
    dividends, split_factors = np.zeros(len(days)), np.ones(len(days))
    close_seconds = calendar.close_seconds(days)
    return Bars(days, opens, highs, lows, closes, volumes, dividends, split_factors, close_seconds)
