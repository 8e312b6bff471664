"""The market as the rest of the service sees it: one interface, and the words that it speaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from enum import Enum, auto
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# So many sessions ahead are told with a history.
SESSIONS_AHEAD = 20
# So many sessions of an exchange are remembered for whoever asks what happened to them.
MOST_SESSIONS = 2000
# So many closes are told with a quote.
RECENT_CLOSES = 30
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MarketUnusable(Exception):  # noqa: N818 - a state of the market, said in its own words
    """Why a market cannot be served at all, in a sentence that names the setting to change."""


class MarketDown(Exception):  # noqa: N818 - a state of the market, said in its own words
    """Nothing is answered for now, in a sentence for people."""


class SymbolUnavailable(Exception):  # noqa: N818 - the base of two reasons
    """Why a symbol has no prices here, in a sentence for people."""

    def __init__(self, symbol: str, message: str) -> None:
        super().__init__(message)
        self.symbol = symbol
        self.message = message


class SymbolNotFound(SymbolUnavailable):
    """The market doesn't have the symbol."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol, f"{symbol} is not traded on this market.")


class PricesInvalid(SymbolUnavailable):
    """The source has the symbol, but its prices are broken; the message says where."""


class SourceUnavailable(SymbolUnavailable):
    """Nothing is known of the symbol yet, because its source cannot be asked now."""

    def __init__(self, symbol: str, reason: str, message: str) -> None:
        """`reason` is one of SOURCE_RATE_LIMITED, _UNREACHABLE, _NONSENSE, HISTORY_PENDING."""
        super().__init__(symbol, message)
        self.reason = reason


class MarketKind(Enum):
    """The kinds of source that prices come from."""

    CSV = auto()
    DEMO = auto()
    YAHOO = auto()


class InstrumentKind(Enum):
    """What kind of thing is traded."""

    STOCK = auto()
    ETF = auto()
    INDEX = auto()
    FUND = auto()
    FX = auto()
    CRYPTO = auto()
    FUTURE = auto()


class SessionState(Enum):
    """Where an exchange, or one instrument of it, is in its day."""

    PRE = auto()
    OPEN = auto()
    POST = auto()
    CLOSED = auto()
    HALTED = auto()


class PriceSource(Enum):
    """What a price was read from."""

    FINAL_BAR = auto()
    LATEST_TRADE = auto()


@dataclass(frozen=True)
class MarketDescription:
    """Who the market is. `notices` are sentences that people must know of its prices."""

    market_id: str
    kind: MarketKind
    display_name: str
    synthetic: bool
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Instrument:
    """What can be bought and sold."""

    symbol: str
    display_name: str
    exchange_code: str
    currency_code: str
    price_decimals: int
    kind: InstrumentKind = InstrumentKind.STOCK


@dataclass(frozen=True)
class Session:
    """One trading day of one exchange; `inferred` where no calendar knows the day."""

    session_date: date
    open_time: datetime
    close_time: datetime
    inferred: bool = False


@dataclass(frozen=True)
class ExchangeClock:
    """What one exchange is doing: `next_session` is the first whose close is not final."""

    exchange_code: str
    state: SessionState
    last_session: Session | None
    next_session: Session


@dataclass(frozen=True)
class MarketClock:
    """What time it is. `next_change_in` is real time; None where the clock stands still."""

    market_time: datetime
    exchanges: tuple[ExchangeClock, ...]
    next_change_in: timedelta | None


@dataclass(frozen=True)
class Quote:
    """The latest price of an instrument, in major units, with the instant that it is of.

    `day_low`, `day_high` and `volume` are the session's so far; `recent_closes` are the last final
    ones, at most `RECENT_CLOSES`, oldest first. A quote is `stale` where it should be newer than
    it is; `version` rises with every change of it.
    """

    instrument: Instrument
    price: float
    as_of_time: datetime
    previous_close: float | None
    session_date: date
    state: SessionState
    next_session: Session
    day_low: float | None = None
    day_high: float | None = None
    volume: float | None = None
    stale: bool = False
    stale_reason: str = ""
    version: int = 0
    source: PriceSource = PriceSource.FINAL_BAR
    recent_closes: tuple[float, ...] = ()


@dataclass(frozen=True)
class QuoteBatch:
    """An answer for each symbol asked for: its quote, or why there is none."""

    market_time: datetime
    answers: Mapping[str, Quote | SymbolUnavailable]


@dataclass(frozen=True, eq=False)
class Bars:
    """Daily bars as read-only columns of equal length, oldest first.

    `session_days` are days since 1970-01-01, `close_seconds` the instants of the closes in
    seconds since the epoch; prices are in major units, adjusted for splits, not for dividends.
    """

    session_days: Ints
    opens: Floats
    highs: Floats
    lows: Floats
    closes: Floats
    volumes: Floats
    dividends: Floats
    split_factors: Floats
    close_seconds: Ints

    def __post_init__(self) -> None:
        for column in self._columns():
            column.flags.writeable = False
        if len({column.shape for column in self._columns()}) != 1:
            raise ValueError("columns of bars differ in length")

    def __len__(self) -> int:
        return len(self.session_days)

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return tuple(getattr(self, column.name) for column in fields(self))

    def since(self, start: date | None) -> "Bars":
        """The bars of the sessions on or after `start`; all of them for None."""
        if start is None:
            return self
        first = int(np.searchsorted(self.session_days, epoch_day(start)))
        return Bars(*(column[first:] for column in self._columns()))


@dataclass(frozen=True)
class Ahead:
    """The coming `SESSIONS_AHEAD` sessions, as days since 1970-01-01, rising.

    A calendar knows the first `known` of them; an ordinary week is assumed for the rest.
    """

    days: tuple[int, ...]
    known: int


@dataclass(frozen=True)
class History:
    """The bars of one instrument whose sessions have closed, and the session after them.

    `ahead` begins with `next_session`; `lost_days` are the sessions that the source has lost, as
    days since 1970-01-01, rising.
    """

    instrument: Instrument
    bars: Bars = field(repr=False)
    next_session: Session
    ahead: Ahead
    lost_days: tuple[int, ...] = ()


@dataclass(frozen=True)
class FetchProgress:
    """How far the fetching of the universe's histories has come, in instruments."""

    known: int
    failed: int
    total: int


class Market(Protocol):
    """Where prices come from and what time it is there.

    Symbols are as `foretick_rpc.symbols.parse_symbol` returns them. Methods are async because a
    market may have to fetch; one whose source fails as a whole raises.
    """

    @property
    def description(self) -> MarketDescription:
        """Who the market is."""
        ...

    async def clock(self) -> MarketClock:
        """What time it is, and where each exchange is in its day."""
        ...

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        """The latest quotes, all as of one instant."""
        ...

    async def history(self, symbol: str, start: date | None) -> History:
        """The closed sessions on or after `start`; raises SymbolUnavailable."""
        ...

    async def search(self, query: str) -> Sequence[Instrument]:
        """Every instrument that `query` may mean, best match first."""
        ...

    async def universe(self) -> Sequence[Instrument]:
        """The instruments with valid prices, in order of their symbols."""
        ...

    async def progress(self) -> FetchProgress | None:
        """How far the fetching of histories has come; None where nothing is fetched."""
        ...

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[Session]:
        """The sessions after `day` that have opened by now, oldest first; the latest 2,000 of them.

        Their bars are final up to the `last_session` of the exchange's clock. Empty for an
        exchange that the clock doesn't name.
        """
        ...


def epoch_day(day: date) -> int:
    """Days from 1970-01-01 to `day`."""
    return day.toordinal() - _EPOCH_ORDINAL


def date_of(days: int) -> date:
    """The date that is `days` after 1970-01-01."""
    return date.fromordinal(days + _EPOCH_ORDINAL)


def microseconds(instant: datetime) -> int:
    """Microseconds from 1970-01-01 to `instant`."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def iso_date(text: str) -> date:
    """The date that `text` writes as YYYY-MM-DD, and in no other of ISO 8601's ways.

    Raises ValueError.
    """
    day = date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError(f"{text} is not YYYY-MM-DD")
    return day
