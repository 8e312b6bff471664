"""What is known of one symbol, and what forecasts have been worth, as plain values."""

import math
from dataclasses import dataclass
from datetime import datetime

from gateway.model import Forecast, Instrument, Reason, Score, Session

LEAST_SCORED = 150
"""Scored sessions, or target dates where pooled, below which nothing is said."""
COVERED = 0.8
_LOW, _MEDIAN, _HIGH = (
    1,
    3,
    5,
)  # of the quantiles that the ledger keeps: .05 .10 .25 .50 .75 .90 .95


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an edge is demonstrated; ``t`` is None before the first review."""

    stands: bool
    t: float | None
    reviewed: int


@dataclass(frozen=True, slots=True)
class SymbolRecord:
    """What the forecasts of one symbol have been worth; verdicts are of horizon 1 alone.

    ``range_skill`` is in percent, against the naive forecaster that was the hardest to beat.
    """

    symbol: str
    score: Score
    coverage: float | None
    range: Verdict | None
    direction: Verdict | None
    range_skill: Interval | None
    sessions: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds to the logarithm of the expected size of the move."""

    feature: str
    value: float | None
    part: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a band is as wide as it is: bias + contributions + others = prediction."""

    prediction: float
    bias: float
    contributions: tuple[Contribution, ...]
    others: float

    @property
    def size(self) -> float:
        """The size of the move that is expected, in units of σ."""
        return math.exp(self.prediction)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of the ledger that says what came of a forecast."""

    number: int
    row_hash: str
    state: str
    recorded: datetime | None
    session: str
    delayed: bool
    close: float | None
    log_move: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A forecast as it stands in the ledger, and what came of it, oldest first.

    ``log_moves`` has seven quantiles of the log move; none of a forecast that was missed.
    """

    number: int
    row_hash: str
    symbol: str
    horizon: int
    as_of_session: str
    target_session: str
    issued: datetime | None
    deadline: datetime | None
    reference_close: float | None
    currency: str
    log_moves: tuple[float, ...]
    up_probability: float | None
    model_version: str
    state: str
    reason: str
    outcomes: tuple[Outcome, ...]

    @property
    def band(self) -> tuple[float, float] | None:
        """Prices of the 10 % and the 90 % quantile, as traded."""
        if self.reference_close is None or not self.log_moves:
            return None
        low, high = (self.log_moves[place] for place in (_LOW, _HIGH))
        return self.reference_close * math.exp(low), self.reference_close * math.exp(high)

    @property
    def band_moves(self) -> tuple[float, float] | None:
        """The band against the reference close, in percent."""
        if not self.log_moves:
            return None
        return percent_of(self.log_moves[_LOW]), percent_of(self.log_moves[_HIGH])

    @property
    def median_move(self) -> float | None:
        """The median against the reference close, in percent."""
        return percent_of(self.log_moves[_MEDIAN]) if self.log_moves else None

    @property
    def scored(self) -> Outcome | None:
        """What was recorded first, which is what counts; None while there is nothing."""
        return self.outcomes[0] if self.outcomes else None

    @property
    def held(self) -> bool | None:
        """Whether what counts lies in the 80 % band; None where nothing does."""
        if self.scored is None or self.scored.log_move is None or not self.log_moves:
            return None
        return self.log_moves[_LOW] <= self.scored.log_move <= self.log_moves[_HIGH]


def percent_of(log_move: float) -> float:
    """A log move as a simple one, in percent."""
    return 100 * math.expm1(log_move)


@dataclass(frozen=True, slots=True)
class Entries:
    """A page of the ledger; ``next_page`` is empty after the last."""

    market_id: str
    entries: tuple[Entry, ...]
    next_page: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """All that prediction-svc knows of one symbol; ``missing`` says why there are no forecasts."""

    market_id: str
    forecasts: tuple[Forecast, ...]
    missing: Reason | None
    explanation: Explanation | None
    live: SymbolRecord | None
    backtest: SymbolRecord | None
    ledger: Entries


@dataclass(frozen=True, slots=True)
class Bar:
    """One session that has closed; prices are adjusted for splits and not for dividends."""

    date: str
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """What a company did: ``amount`` is a dividend per unit, or new units for an old one."""

    date: str
    kind: str
    amount: float


@dataclass(frozen=True, slots=True)
class History:
    """Daily bars of closed sessions: the latest of them, oldest first, and all for programs."""

    market_id: str
    instrument: Instrument
    decimals: int
    first_date: str
    sessions: int
    bars: tuple[Bar, ...]
    lowest: float | None
    """Close of the last 250 sessions."""
    highest: float | None
    actions: tuple[CorporateAction, ...]
    """Oldest first."""
    lost_dates: tuple[str, ...]
    """Sessions that the source has lost."""
    last_close_time: datetime | None
    next_session: Session | None
    next_dates: tuple[str, ...]
    known_next: int
    """How many of these a calendar knows; weekdays are assumed for the rest."""
    packed: bytes
    """All bars as columns: JSON, compressed by gzip."""
    version: str
    """Of what is packed."""


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """Forecasts that said nearly the same, and how often it came true."""

    said: float
    happened: float
    count: int


@dataclass(frozen=True, slots=True)
class CoverageAlarm:
    """Mean coverage of the last 63 target dates, and what chance allows."""

    rings: bool
    mean: Interval


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Mean over target dates of the rank correlation between scores and moves."""

    value: float
    t: float
    dates: int


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What the forecasts of all symbols have been worth, at one horizon and on one basis.

    What is measured is None or empty below `LEAST_SCORED` dates.
    """

    market_id: str
    horizon: int
    basis: str
    forecasts: int
    dates: int
    first_target: str
    last_target: str
    skills: dict[str, Interval]
    """In percent, by baseline."""
    coverage: Interval | None
    quantile_calibration: tuple[CalibrationPoint, ...]
    up_calibration: tuple[CalibrationPoint, ...]
    rank_correlation: RankCorrelation | None
    range: Verdict | None
    direction: Verdict | None
    coverage_alarm: CoverageAlarm | None
    coverage_path: tuple[tuple[str, float], ...]
    """(ISO date, mean coverage of the 63 dates up to it)."""
    drift_alarm: bool
    judged_symbols: int
    range_edges: int
    direction_edges: int
    direction_edges_by_chance: float
    issued: int
    missed: int
    resolved: int
    unresolved: int

    @property
    def hardest(self) -> Interval | None:
        """Skill against the naive forecaster that was the hardest to beat."""
        return min(self.skills.values(), key=lambda each: each.value, default=None)

    @property
    def unresolved_share(self) -> float | None:
        """Of all outcomes that were due; None where none was."""
        due = self.resolved + self.unresolved
        return self.unresolved / due if due else None


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The last row of a market's ledger; ``row_hash`` is empty where there is none."""

    market_id: str
    row_count: int
    row_hash: str
