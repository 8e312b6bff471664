"""What forecasts have been worth, as it is told: of one horizon, pooled and of each symbol."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from prediction_svc.ledger_reading import Counts
from prediction_svc.record import (
    Calibration,
    CoverageAlarm,
    CoveragePoint,
    Estimate,
    RankCorrelation,
)
from prediction_svc.scores import Score
from prediction_svc.verdicts import FIRST_REVIEW, LEAVE_AT, Verdict

FALSE_DIRECTIONS = 0.012
"""Share of symbols without an edge whose direction verdict stands after some 300 sessions."""


class Basis(StrEnum):
    """What was scored."""

    LIVE = "live"
    BACKTEST = "backtest"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Both verdicts; at horizon 1 only."""

    range: Verdict
    direction: Verdict
    summary: str
    """Both in one line for people."""
    skill: Estimate | None = None
    """In percent, against the naive forecaster that was the hardest to beat; None below 150."""
    sessions: int = 0
    """Scored ones that they are about, the last 1,000 at most; dates where pooled."""


@dataclass(frozen=True, slots=True)
class SymbolRecord:
    """What the forecasts of one symbol have been worth."""

    symbol: str
    sessions: int
    """That were scored."""
    score: Score
    """Pinball skill against EWMA-normal over the last 250 of them."""
    coverage: float | None
    """Share of outcomes in the 80 % band over the same; None below 150."""
    verdicts: Verdicts | None


@dataclass(frozen=True, slots=True)
class PooledRecord:
    """What the forecasts of all symbols together have been worth, over all scored dates."""

    skills: tuple[Estimate, ...]
    """Pinball skill in percent against each of a record's baselines."""
    coverage: Estimate
    quantile_calibration: tuple[Calibration, ...]
    up_calibration: tuple[Calibration, ...]
    rank_correlation: RankCorrelation | None
    verdicts: Verdicts | None
    drift_alarm: bool
    """Whether the range verdict was lost at the latest review."""
    coverage_path: tuple[CoveragePoint, ...] = ()
    """Over the last 1,000 target dates at most, rising; none of an older version."""


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """All of it, at one horizon. Days count from 1970-01-01."""

    horizon: int
    forecasts: int
    """That were scored."""
    dates: int
    """Distinct target dates of those."""
    first_target_day: int | None
    last_target_day: int | None
    pooled: PooledRecord | None
    """None below 150 dates."""
    coverage_alarm: CoverageAlarm | None
    """None below 63 dates."""
    symbols: Mapping[str, SymbolRecord]
    """Rising."""
    counts: Counts
    """What the ledger holds; nothing of a backtest."""

    @property
    def decided_directions(self) -> dict[str, bool]:
        """Whether the direction verdict stands, of each symbol of which the last review says so.

        Where t is large enough to keep a verdict and not to gain one, it says neither.
        """
        found = {s: each.verdicts.direction for s, each in self.symbols.items() if each.verdicts}
        return {
            symbol: one.stands
            for symbol, one in found.items()
            if one.stands or (one.t is not None and one.t < LEAVE_AT)
        }

    @property
    def directions(self) -> frozenset[str]:
        """Symbols whose direction verdict stands."""
        return frozenset(symbol for symbol, stands in self.decided_directions.items() if stands)

    @property
    def range_edges(self) -> int:
        """How many symbols' range verdicts stand."""
        found = self.symbols.values()
        return sum(each.verdicts is not None and each.verdicts.range.stands for each in found)

    @property
    def judged_symbols(self) -> int:
        """How many symbols have had a review."""
        return sum(each.sessions >= FIRST_REVIEW for each in self.symbols.values())

    @property
    def direction_edges_by_chance(self) -> float:
        """How many direction verdicts pure chance would give."""
        return FALSE_DIRECTIONS * self.judged_symbols
