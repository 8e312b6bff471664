"""What is asked of the market, in the words of this service."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple, Protocol

from prediction_svc.histories import History, Ints
from prediction_svc.outcomes import TradedBars

TIMED_OUT = "DEADLINE_EXCEEDED"

Sessions = frozenset[tuple[str, str]]
"""Exchange and ISO date of each exchange's latest closed session."""


def is_before(sessions: Sessions, others: Sessions) -> bool:
    """Whether an exchange had closed fewer sessions at the one time than at the other."""
    later = dict(others)
    return any(day < later.get(exchange, "") for exchange, day in sessions)


class MarketUnavailableError(Exception):
    """The market does not answer now."""


@dataclass(frozen=True)
class MarketClock:
    """What time it is on the market."""

    market_id: str
    market_time: datetime
    closed_sessions: Sessions
    next_change_seconds: float | None
    """Real seconds until an exchange opens or closes; None where the clock stands still."""
    is_synthetic: bool = False
    """Whether its time is made up, and its nights pass in seconds."""


@dataclass(frozen=True)
class SymbolBars:
    """One symbol's closed sessions, and the session to forecast as said by the market."""

    market_id: str
    exchange_code: str
    history: History
    currency_code: str
    price_decimals: int
    next_session_days: Ints
    """The sessions to come, the one to forecast first; days since 1970-01-01."""
    known_next_sessions: int
    """How many of them a calendar knows; weekdays are assumed for the rest."""
    lost_session_days: Ints
    """Sessions that the source has lost for it."""
    next_open: datetime
    next_close: datetime
    traded: TradedBars
    """All of its bars as the market tells them, with dividends and splits."""

    @property
    def next_session_date(self) -> str:
        """ISO date of the session to forecast."""
        return (date(1970, 1, 1) + timedelta(days=int(self.next_session_days[0]))).isoformat()


@dataclass(frozen=True)
class Refusal:
    """Why there is nothing for a symbol: a reason to branch on and a sentence for people.

    TIMED_OUT is the one that may be gone a moment later.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class Fetched:
    """The bars of all symbols of the market, or of some, as they were read together."""

    market_id: str
    known: frozenset[str]
    """All symbols of the market."""
    bars: Mapping[str, SymbolBars]
    refusals: Mapping[str, Refusal]
    """Why there are none of the others that were read."""

    @property
    def histories(self) -> list[History]:
        """Those that have a bar."""
        return [bars.history for bars in self.bars.values() if len(bars.history)]

    def late(self, closed: Sessions) -> list[str]:
        """Symbols that timed out, or whose answer came from before the sessions had closed.

        Replicas of the market differ by a moment, so bars may come from one that is behind.
        """
        last = dict(closed)
        timed_out = [s for s, refusal in self.refusals.items() if refusal.reason == TIMED_OUT]
        behind = [
            symbol
            for symbol, bars in self.bars.items()
            if bars.next_session_date <= last.get(bars.exchange_code, "")
        ]
        return sorted(timed_out + behind)


class MarketReader(Protocol):
    """Reads bars inside a worker process, which it can be sent to; it blocks."""

    def read(self, have: frozenset[str] = frozenset()) -> Fetched:
        """Read all symbols of the market but those at hand. Raises MarketUnavailableError."""


class Progress(NamedTuple):
    """How many histories of its symbols the market knows."""

    market_id: str
    known: int
    failed: int
    """Could not be had yet, and are tried again."""
    total: int

    @property
    def is_over(self) -> bool:
        """Whether no history is on its way."""
        return self.known + self.failed >= self.total


class Market(Protocol):
    """What time it is, and what is new. Each call raises MarketUnavailableError."""

    async def clock(self) -> MarketClock:
        """Return what time it is."""

    async def progress(self) -> Progress:
        """Return how many histories are known by now."""

    def closes(self) -> AsyncIterator[object]:
        """Yield each time that the bars of a session have become final, for as long as it lasts."""
