"""The forecasts that are served, in memory."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from foretick_rpc.symbols import parse_symbol
from prediction_svc.jobs import SymbolForecast
from prediction_svc.market import Refusal, Sessions, SymbolBars
from prediction_svc.models import ModelFacts
from prediction_svc.recipe import LEVELS


@dataclass(frozen=True)
class IssuedForecast:
    """The distribution of one symbol's next close, as it is told."""

    made: SymbolForecast
    target_session_date: str
    target_inferred: bool
    currency_code: str
    price_decimals: int
    issue_time: datetime
    ledger_number: int | None = None
    """Its row in the ledger; None for one that is not written down."""

    @property
    def quantile_prices(self) -> list[tuple[float, float]]:
        """Probability and price of each quantile, both rising."""
        moves = zip(LEVELS, self.made.log_moves, strict=True)
        return [(level, self.made.close * math.exp(move)) for level, move in moves]

    @property
    def expected_close(self) -> float:
        """Reference close · exp(median log move)."""
        return self.made.close * math.exp(self.made.log_moves[LEVELS.index(0.5)])


def issue(made: SymbolForecast, bars: SymbolBars, issue_time: datetime) -> IssuedForecast:
    """Join a forecast with what the market says of its symbol."""
    return IssuedForecast(
        made=made,
        target_session_date=bars.next_session_date,
        target_inferred=bars.next_session_inferred,
        currency_code=bars.currency_code,
        price_decimals=bars.price_decimals,
        issue_time=issue_time,
    )


@dataclass(frozen=True)
class Edition:
    """All forecasts made in one batch; never changed, only replaced."""

    market_id: str
    known: frozenset[str]
    forecasts: Mapping[str, IssuedForecast]
    refusals: Mapping[str, Refusal]
    model: ModelFacts | None = None
    """The latest model that forecasts of this edition come from."""
    closed_sessions: Sessions = frozenset()
    """What the clock showed when it was made."""
    recipe_hash: str = ""
    finished: bool = False
    """Whether nothing is left to do for these sessions: no price was late, no model untrained."""


class TrainingState(Enum):
    """Where training is."""

    IDLE = "idle"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True)
class TrainingStatus:
    """Where training is, and what went wrong where it failed."""

    state: TrainingState = TrainingState.IDLE
    message: str = ""


class Book:
    """Holds the latest edition, None before the first, and where training is."""

    def __init__(self) -> None:
        self.edition: Edition | None = None
        self.version = 0
        """Of what is held, as it is stored: the same on every replica. 0 before the first."""
        self.training = TrainingStatus()
        self.changed = asyncio.Event()
        """Set by the next change, which puts a new one in its place."""
        self.ended = False
        """Whether nothing will change any more, since the service stops."""

    def turn_to(self, edition: Edition, version: int) -> None:
        """Hold another edition, and wake who waits for a change."""
        self.edition, self.version = edition, version
        self._wake()

    def end(self) -> None:
        """Let nobody wait for a change any longer."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def market_id(self) -> str:
        """Market of the edition, or nothing."""
        return self.edition.market_id if self.edition else ""

    def find(self, asked: str) -> IssuedForecast | Refusal:
        """Return the forecast of a symbol as somebody wrote it, or why there is none."""
        try:
            symbol = parse_symbol(asked)
        except ValueError as error:
            return Refusal("SYMBOL_MALFORMED", str(error))
        if self.edition is None:
            return Refusal("FORECAST_PENDING", "No forecasts have been made yet.")
        if (forecast := self.edition.forecasts.get(symbol)) is not None:
            return forecast
        if (refusal := self.edition.refusals.get(symbol)) is not None:
            return refusal
        if symbol in self.edition.known:
            return Refusal("FORECAST_PENDING", f"The forecast of {symbol} is being made.")
        return Refusal("SYMBOL_NOT_FOUND", f"{symbol} is not forecast in this market.")
