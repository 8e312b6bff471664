"""The forecasts that are served, in memory."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from foretick_rpc.symbols import parse_symbol
from prediction_svc.explanation import Explanation
from prediction_svc.forecasting import Standing
from prediction_svc.market import Refusal, Sessions
from prediction_svc.models import ModelFacts
from prediction_svc.recipe import HORIZON, LEVELS
from prediction_svc.scores import UNSCORED, Score
from prediction_svc.track_record import Basis

MIDDLE = LEVELS.index(0.5)


@dataclass(frozen=True, slots=True)
class IssuedForecast:
    """The distribution of one symbol's close some sessions ahead, as it is told."""

    symbol: str
    horizon: int
    as_of_day: int
    """Days since 1970-01-01, like the next."""
    target_day: int
    target_inferred: bool
    close: float
    """Of the as-of session, which the moves are relative to."""
    log_moves: tuple[float, ...]
    """One for each of recipe.LEVELS, strictly rising."""
    p_up: float
    model_version: str
    """Empty where nothing was learned."""
    currency_code: str
    price_decimals: int
    issue_time: datetime
    explanation: Explanation | None = None
    """Of the next session's band; None where nothing was learned."""
    score: Score = UNSCORED
    basis: Basis = Basis.BACKTEST
    ledger_number: int | None = None
    """Its row in the ledger; None for one that is not written down."""

    @property
    def quantile_prices(self) -> list[tuple[float, float]]:
        """Probability and price of each quantile, both rising."""
        moves = zip(LEVELS, self.log_moves, strict=True)
        return [(level, self.close * math.exp(move)) for level, move in moves]

    @property
    def expected_close(self) -> float:
        """Reference close · exp(median log move)."""
        return self.close * math.exp(self.log_moves[MIDDLE])


Scores = Mapping[int, Mapping[str, Score]]
"""By horizon and symbol."""


@dataclass(frozen=True)
class Promotion:
    """Models that answer, and what the recipe was worth with them in a backtest."""

    model_versions: tuple[str, ...] = ()
    """None where nothing is learned."""
    recipe_hash: str = ""
    symbols: frozenset[str] = frozenset()
    """What the market had bars of then."""
    scores: Scores = field(default_factory=dict)
    directions: frozenset[str] = frozenset()
    """Symbols whose direction verdict stood at the end of the backtest."""

    def continues(self, other: "Promotion | None") -> bool:
        """Whether the widths that stood before it go on: the same kind of forecaster answers."""
        return (
            other is not None
            and other.recipe_hash == self.recipe_hash
            and bool(other.model_versions) == bool(self.model_versions)
        )


Forecasts = Mapping[int, Mapping[str, IssuedForecast]]
"""By horizon and symbol."""


@dataclass(frozen=True)
class Edition:
    """All forecasts made in one batch; never changed, only replaced."""

    market_id: str
    known: frozenset[str]
    forecasts: Forecasts
    refusals: Mapping[str, Refusal]
    model: ModelFacts | None = None
    """The latest model that forecasts of this edition come from."""
    closed_sessions: Sessions = frozenset()
    """What the clock showed when it was made."""
    recipe_hash: str = ""
    finished: bool = False
    """Whether nothing is left to do for these sessions: no price was late, no model untrained."""
    standing: Mapping[int, Standing] = field(default_factory=dict)
    """What the next batch carries on from, by horizon."""
    resolved_number: int = 0
    """The last row of the ledger that `standing` has taken in."""
    promotion: Promotion | None = None
    """None before the first backtest."""
    live_scores: Scores = field(default_factory=dict)
    live_directions: Mapping[str, bool] = field(default_factory=dict)
    """Whether the direction verdict stands, of the symbols whose live record decides it."""

    @property
    def directions(self) -> frozenset[str]:
        """Symbols whose direction verdict stands: by the backtest until the live record decides."""
        tested = self.promotion.directions if self.promotion else frozenset()
        live = {symbol for symbol, stands in self.live_directions.items() if stands}
        return frozenset(tested - self.live_directions.keys() | live)

    @property
    def next_forecasts(self) -> Mapping[str, IssuedForecast]:
        """Those of the next session."""
        return self.forecasts.get(HORIZON, {})

    def scored(self) -> "Edition":
        """The same with the score beside each forecast: live once there are enough sessions.

        A backtest's is told of forecasts by what was backtested alone.
        """
        return replace(
            self,
            forecasts={
                horizon: {symbol: self._scored(each) for symbol, each in issued.items()}
                for horizon, issued in self.forecasts.items()
            },
        )

    def _scored(self, issued: IssuedForecast) -> IssuedForecast:
        live = self.live_scores.get(issued.horizon, {}).get(issued.symbol, UNSCORED)
        if live.value is not None:
            score, basis = live, Basis.LIVE
        else:
            score, basis = UNSCORED, Basis.BACKTEST
            promotion = self.promotion
            if promotion and bool(promotion.model_versions) == bool(issued.model_version):
                score = promotion.scores.get(issued.horizon, {}).get(issued.symbol, UNSCORED)
        if (issued.score, issued.basis) == (score, basis):
            return issued
        return replace(issued, score=score, basis=basis)


class Book:
    """Holds the latest edition, None before the first."""

    def __init__(self) -> None:
        self.edition: Edition | None = None
        self.version = 0
        """Of what is held, as it is stored: the same on every replica. 0 before the first."""
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

    def find(self, asked: str, horizon: int = HORIZON) -> IssuedForecast | Refusal:
        """Return the forecast of a symbol as somebody wrote it, or why there is none."""
        try:
            symbol = parse_symbol(asked)
        except ValueError as error:
            return Refusal("SYMBOL_MALFORMED", str(error))
        if self.edition is None:
            return Refusal("FORECAST_PENDING", "No forecasts have been made yet.")
        if (forecast := self.edition.forecasts.get(horizon, {}).get(symbol)) is not None:
            return forecast
        if (refusal := self.edition.refusals.get(symbol)) is not None:
            return refusal
        if symbol in self.edition.known:
            return Refusal("FORECAST_PENDING", f"The forecast of {symbol} is being made.")
        return Refusal("SYMBOL_NOT_FOUND", f"{symbol} is not forecast in this market.")
