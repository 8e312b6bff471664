"""What published forecasts have been worth: the same functions for the ledger and a backtest."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prediction_svc.crowd import PEERS
from prediction_svc.histories import Floats, Ints
from prediction_svc.quantiles import pinball_loss
from prediction_svc.recipe import LEVELS
from prediction_svc.scores import hac_lags, hac_variance
from prediction_svc.verdicts import REVIEWED_SESSIONS, by_target_date, direction_gains, hac_t
from prediction_svc.width import COVERAGE, hits_of

DRAWS = 1000
SHORTEST_BLOCK = 20
ALARM_SESSIONS, BEFORE_ALARM_SESSIONS = 63, 250
ALARM_ERRORS = 3.0
_SESSIONS_A_LAG = 6
_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Record:
    """n published forecasts of one horizon whose outcomes are known, oldest first.

    Moves and quantiles are logarithmic; quantiles and each baseline have the shape (n, levels).
    """

    horizon: int
    symbols: NDArray[np.str_]
    target_days: Ints
    """Days since 1970-01-01."""
    moves: Floats
    """What happened."""
    quantiles: Floats
    p_up: Floats
    base_rate: Floats
    score: Floats
    """Rank scores."""
    sigma: Floats
    """EWMA σ of the returns at the as-of close, · √horizon."""
    baselines: tuple[Floats, ...]
    """EWMA-normal, EWMA × empirical, 250-day sd × empirical."""

    def __len__(self) -> int:
        return len(self.moves)

    def where(self, kept: NDArray[np.bool_] | Ints) -> "Record":
        """Those of a mask, or at some places in their order."""
        names = ("symbols", "target_days", "moves", "quantiles", "p_up", "base_rate", "score")
        shorter = {name: getattr(self, name)[kept] for name in (*names, "sigma")}
        return replace(self, baselines=tuple(b[kept] for b in self.baselines), **shorter)

    @cached_property
    def losses(self) -> Floats:
        """Pinball losses, our own and then each baseline's: shape (n, 1 + baselines)."""
        losses = np.empty((len(self), 1 + len(self.baselines)))
        for begin in range(0, len(self), _AT_ONCE):
            rows = slice(begin, begin + _AT_ONCE)
            for k, quantiles in enumerate((self.quantiles, *self.baselines)):
                losses[rows, k] = pinball_loss(self.moves[rows], quantiles[rows])
        return losses

    @property
    def range_gains(self) -> Floats:
        """(Baseline's pinball loss − ours) / σ, shape (n, baselines): all must be beaten."""
        return np.asarray((self.losses[:, 1:] - self.losses[:, :1]) / self.sigma[:, None])

    @property
    def direction_gains(self) -> Floats:
        """Brier gain over the base rate, shape (n,)."""
        return direction_gains(self.p_up, self.base_rate, self.moves)

    @cached_property
    def rows_by_symbol(self) -> dict[str, Ints]:
        """Where the forecasts of each symbol are, oldest first, by symbol."""
        symbols, places = np.unique(self.symbols, return_inverse=True)
        return dict(zip(symbols.tolist(), rows_by_place(places), strict=True))


def rows_by_place(places: Ints) -> list[Ints]:
    """Where 0, 1, 2, … are among `places`, each rising. None is missing."""
    order = np.argsort(places, kind="stable")
    return np.split(order, np.cumsum(np.bincount(places))[:-1]) if len(places) else []


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def pooled_skill(record: Record, baseline: int) -> Estimate:
    """1 − Σ pinball loss / Σ the baseline's, with a block bootstrap over target dates."""
    own, naive = record.losses[:, 0], record.losses[:, 1 + baseline]
    sums = _daily_sums(record.target_days, own, naive)
    return _bootstrapped(1 - sums[:, 0].sum() / sums[:, 1].sum(), sums, record.horizon, flip=True)


def pooled_coverage(record: Record) -> Estimate:
    """Share of outcomes inside the 80 % band, with a block bootstrap over target dates."""
    hits = hits_of(record.moves, record.quantiles).astype(np.float64)
    sums = _daily_sums(record.target_days, hits, np.ones(len(hits)))
    return _bootstrapped(float(hits.mean()), sums, record.horizon, flip=False)


def _daily_sums(target_days: Ints, *columns: Floats) -> Floats:
    _, day = np.unique(target_days, return_inverse=True)
    return np.stack([np.bincount(day, column) for column in columns], axis=1)


def _bootstrapped(value: float, sums: Floats, horizon: int, *, flip: bool) -> Estimate:
    # Künsch's (1989) moving blocks, wrapped round; overlapping outcomes need long ones
    days = len(sums)
    block = min(days, max(SHORTEST_BLOCK, 2 * horizon))
    random = np.random.default_rng(days)
    starts = random.integers(0, days, (DRAWS, -(-days // block)))
    padded = np.concatenate((np.zeros((1, 2)), np.cumsum(np.concatenate((sums, sums)), axis=0)))
    drawn = (padded[starts + block] - padded[starts]).sum(axis=1)
    ratios = drawn[:, 0] / np.maximum(drawn[:, 1], 1e-300)
    low, high = np.quantile(1 - ratios if flip else ratios, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


@dataclass(frozen=True)
class Calibration:
    """Forecasts that said nearly the same, and how often it came true."""

    said: float
    happened: float
    count: int


def quantile_calibration(record: Record) -> list[Calibration]:
    """For each level the share of outcomes at or below its quantile."""
    below = (record.moves[:, None] <= record.quantiles).mean(axis=0)
    return [
        Calibration(level, float(share), len(record))
        for level, share in zip(LEVELS, below, strict=True)
    ]


def up_calibration(record: Record, bins: int = 10) -> list[Calibration]:
    """Mean P(up) and share of up moves in bins of equally many forecasts, rising by P(up).

    Bins that would be empty are left out.
    """
    order = np.argsort(record.p_up, kind="stable")
    up = record.moves > 0
    return [
        Calibration(float(record.p_up[part].mean()), float(up[part].mean()), len(part))
        for part in np.array_split(order, bins)
        if len(part)
    ]


@dataclass(frozen=True)
class RankCorrelation:
    """Mean over target dates of the rank correlation between scores and moves."""

    value: float
    t: float
    """HAC, of 5 lags or twice the horizon."""
    dates: int


def rank_correlation(record: Record) -> RankCorrelation | None:
    """Rank IC: Spearman's correlation on each date with at least 20 symbols; None without any.

    A date on which all scores are equal counts as 0.
    """
    _, places = np.unique(record.target_days, return_inverse=True)
    days = [
        _correlation(_ranks(record.score[own]), _ranks(record.moves[own]))
        for own in rows_by_place(places)
        if len(own) >= PEERS
    ]
    if not days:
        return None
    series = np.array(days)
    t = hac_t(series, hac_lags(record.horizon))
    return RankCorrelation(float(series.mean()), t, len(days))


def _ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    return np.asarray((ends - (count - 1) / 2)[place], dtype=np.float64)


def _correlation(one: Floats, other: Floats) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / size if size > 0 else 0.0


@dataclass(frozen=True)
class CoverageAlarm:
    """Mean coverage of the last 63 target dates against what chance allows."""

    rings: bool
    mean: float
    low: float
    high: float


def coverage_alarm(record: Record) -> CoverageAlarm | None:
    """Whether the 63-session mean coverage leaves .8 ± 3 HAC standard errors.

    The errors are those of daily coverage over up to 250 sessions before the 63, so that what
    rings the bell does not muffle it; over the 63 themselves while fewer came before. The variance
    of a mean of 63 is made of autocovariances up to lag 62, and later sessions make up for earlier
    ones, since the width control sees to it: with few lags the errors would come out twice too
    large. More lags than a sixth of the sessions they are taken from are noise. None before 63
    dates.
    """
    hits = hits_of(record.moves, record.quantiles).astype(np.float64)
    daily = by_target_date(record.target_days, hits)
    if len(daily) < ALARM_SESSIONS:
        return None
    window, before = daily[-ALARM_SESSIONS:], daily[:-ALARM_SESSIONS][-BEFORE_ALARM_SESSIONS:]
    known = before if len(before) >= ALARM_SESSIONS else window
    lags = min(ALARM_SESSIONS - 1, len(known) // _SESSIONS_A_LAG)
    variance = hac_variance(known - known.mean(), lags) * len(known) / ALARM_SESSIONS
    reach = ALARM_ERRORS * math.sqrt(variance)
    mean = float(window.mean())
    return CoverageAlarm(abs(mean - COVERAGE) > reach, mean, COVERAGE - reach, COVERAGE + reach)


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """Mean coverage of 63 target dates, the last of which is `day`, days since 1970-01-01."""

    day: int
    mean: float


def coverage_path(record: Record, last: int = REVIEWED_SESSIONS) -> list[CoveragePoint]:
    """Coverage over 63 target dates as it moved on, of the last dates, rising; see the alarm."""
    hits = hits_of(record.moves, record.quantiles).astype(np.float64)
    daily = by_target_date(record.target_days, hits)
    days = np.unique(record.target_days)[ALARM_SESSIONS - 1 :]
    if not len(days):
        return []
    means = np.convolve(daily, np.full(ALARM_SESSIONS, 1 / ALARM_SESSIONS), mode="valid")
    return [
        CoveragePoint(day, mean)
        for day, mean in zip(days[-last:].tolist(), means[-last:].tolist(), strict=True)
    ]


def in_words(skill: Estimate | None, stands: tuple[bool, bool], sessions: int, basis: str) -> str:
    """One line for people of both verdicts, range and direction.

    `skill` is the range's, in percent, needed where that stands; `basis` is live or backtest.
    """
    range_stands, direction_stands = stands
    none, over = "no demonstrated edge", f"{sessions:,} sessions, {basis}"
    told = none
    if range_stands and skill is not None:
        interval = f"{skill.low:.1f} to {skill.high:.1f}; {over}"
        told = f"sharper than naive by {skill.value:.1f} % ({interval})"
    direction = f"right more often than naive ({over})" if direction_stands else none
    return f"Range: {told} · Direction: {direction}"
