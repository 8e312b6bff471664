"""What an upstream source of prices gives, before calendars and the store make sense of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from quote_svc.market import Floats, InstrumentKind, Ints


class SourceFailure(Exception):  # noqa: N818 - the base of the reasons below
    """Why the source gave nothing, in a sentence for people; says nothing of the symbol."""

    reason = "SOURCE_UNREACHABLE"


class Unreachable(SourceFailure):
    """No answer: no connection, a reset, a stall, a 5xx."""


class RateLimited(SourceFailure):
    """The source asks us to slow down."""

    reason = "SOURCE_RATE_LIMITED"

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Nonsense(SourceFailure):
    """An answer that cannot be right: HTML, half a JSON, prices that are none."""

    reason = "SOURCE_NONSENSE"


class UnknownSymbol(Exception):  # noqa: N818 - the reason's own name
    """The source says itself that it doesn't know the symbol."""


@dataclass(frozen=True)
class SourceInstrument:
    """What the source says of an instrument.

    `exchange_code` is the source's own ("NMS", "LSE", "CCC"); `timezone` an IANA name;
    `currency_code` ISO 4217 in major units, whatever units the source quotes in.
    """

    symbol: str
    display_name: str
    kind: InstrumentKind
    exchange_code: str
    timezone: str
    currency_code: str
    price_decimals: int


@dataclass(frozen=True, eq=False)
class SourceBars:
    """Daily bars as the source gives them, oldest first, columns of equal length.

    `session_days` are days since 1970-01-01 on the exchange's own calendar. Prices are in major
    units, adjusted for splits and not for dividends; a price that the source lost is NaN.
    The last bar may be of a session that is still open.
    """

    session_days: Ints
    opens: Floats
    highs: Floats
    lows: Floats
    closes: Floats
    volumes: Floats
    dividends: Floats
    split_factors: Floats


@dataclass(frozen=True)
class SourceQuote:
    """The latest price, in major units; what the source doesn't say is None."""

    price: float
    as_of_time: datetime
    previous_close: float | None = None
    day_low: float | None = None
    day_high: float | None = None
    volume: float | None = None


@dataclass(frozen=True)
class SourceHistory:
    """One answer of the source: who, bars since the start asked for, and the latest price."""

    instrument: SourceInstrument
    bars: SourceBars
    quote: SourceQuote | None


@dataclass(frozen=True)
class StreamedPrice:
    """A price that the source pushed."""

    symbol: str
    quote: SourceQuote


class Source(Protocol):
    """An upstream. Every call raises a SourceFailure where the source fails."""

    async def history(self, symbol: str, start: date | None) -> SourceHistory:
        """The bars from `start` on (None: at least 8 years); raises UnknownSymbol."""
        ...

    async def search(self, query: str) -> Sequence[SourceInstrument]:
        """Instruments that `query` may mean, best first."""
        ...
