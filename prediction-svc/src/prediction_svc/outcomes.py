"""Which outcomes are due, as pure functions of histories as the market tells them."""

import hashlib
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from prediction_svc.eligibility import PENDING_SESSIONS, split_like
from prediction_svc.histories import Floats, Ints
from prediction_svc.ledger_rows import Outcome

HALTED_SESSIONS = 10
"""A stock that was not traded in its target session resolves within so many after it."""
REVISED_MOVE = 0.001
"""A revision moves the outcome by more than this, 0.1 %."""


@dataclass(frozen=True)
class TradedBars:
    """What outcomes depend on: one symbol's columns of equal length, oldest first.

    Prices are adjusted for splits and not for dividends, as the market tells them; a dividend is
    that of its ex-date, a split factor the new units for an old one from its session on.
    """

    days: Ints
    closes: Floats
    volumes: Floats
    dividends: Floats
    split_factors: Floats

    @property
    def later_splits(self) -> Floats:
        """The product of the split factors after each session."""
        later = np.ones(len(self.days))
        later[:-1] = np.cumprod(self.split_factors[:0:-1])[::-1]
        return later

    @property
    def closes_as_traded(self) -> Floats:
        """Closes with later splits undone."""
        return self.closes * self.later_splits

    @property
    def traded(self) -> Ints:
        """Positions of the bars of sessions in which there was a trade.

        Where no session has a volume, as of funds and currencies, that says nothing of trades.
        """
        there = np.isfinite(self.closes) & (self.closes > 0)
        if np.any(self.volumes > 0):
            there &= ~(self.volumes == 0)
        return np.flatnonzero(there).astype(np.int64)


class OpenForecast(NamedTuple):
    """A forecast that the ledger has no outcome of yet, or one that may be revised."""

    number: int
    symbol: str
    horizon: int
    as_of_day: int
    target_day: int
    reference_close: float
    next_revision: int = 0
    recorded_move: float = math.nan
    """The log move that was recorded last, NaN for none."""


def actions_version(bars: TradedBars, as_of_day: int) -> str:
    """Name the splits and dividends up to a session, in 16 hex digits; the same on any basis."""
    known = bars.days <= as_of_day
    paid = bars.dividends * bars.later_splits
    acted = np.flatnonzero(known & ((paid != 0) | (bars.split_factors != 1)))
    lines = [f"{bars.days[i]} {paid[i]:.6g} {bars.split_factors[i]:.6g}\n" for i in acted]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def due_outcomes(
    forecasts: Iterable[OpenForecast],
    bars: TradedBars,
    session_days: Ints,
    lost_days: Collection[int] = (),
) -> list[Outcome]:
    """What is to be recorded of one symbol's forecasts now.

    Args:
        forecasts: those of the symbol without an outcome, and those that may be revised.
        bars: its bars; of none where the market has lost the symbol.
        session_days: sessions of its exchange that have closed, rising, at least from the first
            target on.
        lost_days: sessions that the source says it has lost for the symbol.
    """
    resolver = _Resolver(bars, session_days, frozenset(lost_days))
    made = (resolver.outcome(forecast) for forecast in forecasts)
    return [outcome for outcome in made if outcome is not None]


class _Resolver:
    def __init__(self, bars: TradedBars, session_days: Ints, lost_days: frozenset[int]) -> None:
        self._bars = bars
        self._sessions = session_days
        self._lost_days = lost_days
        self._later = bars.later_splits
        self._traded = bars.traded
        self._traded_days = bars.days[self._traded]
        self._jump_days = _jump_days(bars)

    def outcome(self, forecast: OpenForecast) -> Outcome | None:
        """What is due of a forecast: nothing where it must wait, or where nothing is new."""
        place = int(np.searchsorted(self._sessions, forecast.target_day))
        window = self._sessions[place : place + HALTED_SESSIONS + 1]
        if len(window) == 0:
            return None
        row = self._first_trade(forecast.target_day, int(window[0]), int(window[-1]))
        if row is not None:
            if self._awaits_a_split(forecast.as_of_day, int(self._bars.days[row])):
                return None
            resolved = self._resolved(forecast, row)
            return resolved if _is_new(resolved, forecast) else None
        if len(window) <= HALTED_SESSIONS or forecast.next_revision:
            return None
        is_lost = int(window[0]) in self._lost_days
        reason = "SESSION_LOST" if is_lost else "NOT_TRADED"
        return Outcome(forecast_number=forecast.number, reason=reason)

    def _first_trade(self, target_day: int, first_day: int, last_day: int) -> int | None:
        """Row of the bar that resolves a target: its own, or the first trade after it.

        No later one does where the source lost the session: the stock may have been traded then.
        """
        place = int(np.searchsorted(self._traded_days, target_day))
        if place == len(self._traded):
            return None
        day = int(self._traded_days[place])
        if day > last_day or (first_day in self._lost_days and day > first_day):
            return None
        return int(self._traded[place])

    def _awaits_a_split(self, as_of_day: int, last_day: int) -> bool:
        """Whether a jump on the way may yet be explained: 5 more sessions are waited for."""
        place = int(np.searchsorted(self._jump_days, last_day, side="right")) - 1
        if place < 0 or (jump := int(self._jump_days[place])) <= as_of_day:
            return False
        closed_since = len(self._sessions) - np.searchsorted(self._sessions, jump, side="right")
        return bool(closed_since < PENDING_SESSIONS)

    def _resolved(self, forecast: OpenForecast, row: int) -> Outcome:
        bars = self._bars
        known = int(np.searchsorted(bars.days, forecast.as_of_day, side="right"))
        # Units of the last bar's basis that one unit of the as-of session has become.
        units = float(np.prod(bars.split_factors[known:]))
        split_factor = float(np.prod(bars.split_factors[known : row + 1]))
        dividend = float(bars.dividends[known : row + 1].sum()) * units
        close = float(bars.closes[row] * self._later[row])
        return Outcome(
            forecast_number=forecast.number,
            revision=forecast.next_revision,
            resolved_day=int(bars.days[row]),
            delayed=int(bars.days[row]) != forecast.target_day,
            close=close,
            split_factor=split_factor,
            dividend=dividend,
            log_move=log_move(close, split_factor, dividend, forecast.reference_close),
        )


def log_move(close: float, split_factor: float, dividend: float, reference_close: float) -> float:
    """Log return of one unit from the reference close, all of it as traded."""
    return math.log((close * split_factor + dividend) / reference_close)


def _jump_days(bars: TradedBars) -> Ints:
    """Sessions whose move, dividend included, looks like a split that the source has not told."""
    there = np.flatnonzero(np.isfinite(bars.closes) & (bars.closes > 0))
    closes, paid = bars.closes[there], bars.dividends[there]
    moves = np.log((closes[1:] + paid[1:]) / closes[:-1])
    return bars.days[there[1:][split_like(moves)]]


def _is_new(outcome: Outcome, forecast: OpenForecast) -> bool:
    if outcome.log_move is None or math.isnan(forecast.recorded_move):
        return True
    return abs(outcome.log_move - forecast.recorded_move) > REVISED_MOVE
