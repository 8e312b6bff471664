"""What is asked of the market, in the words of this service."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prediction_svc.histories import History
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
class Universe:
    """The symbols that are forecast."""

    market_id: str
    symbols: frozenset[str]


@dataclass(frozen=True)
class SymbolBars:
    """One symbol's closed sessions, and the session to forecast as said by the market."""

    market_id: str
    exchange_code: str
    history: History
    currency_code: str
    price_decimals: int
    next_session_date: str
    next_session_inferred: bool
    next_open: datetime
    next_close: datetime
    traded: TradedBars
    """All of its bars as the market tells them, with dividends and splits."""


@dataclass(frozen=True)
class Refusal:
    """Why there is nothing for a symbol: a reason to branch on and a sentence for people.

    TIMED_OUT is the one that may be gone a moment later.
    """

    reason: str
    message: str


class Market(Protocol):
    """Where prices and time come from. Each call raises MarketUnavailableError."""

    async def clock(self) -> MarketClock:
        """Return what time it is."""

    async def universe(self) -> Universe:
        """Return the symbols to forecast."""

    async def bars(self, symbol: str) -> SymbolBars | Refusal:
        """Return all bars of one symbol, or why there are none."""
