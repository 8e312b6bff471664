"""A batch of forecasts as a worker makes it: from the market's bars to rows of the ledger.

The worker reads the bars itself and keeps those of the latest closes, so the serving process never
holds any.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from sqlalchemy import Connection

from foretick_rpc.database import peek
from foretick_rpc.errors import DatabaseUnavailableError, StartupError
from prediction_svc.book import MIDDLE, Forecasts, IssuedForecast
from prediction_svc.deadlines import deadline
from prediction_svc.eligibility import why_not
from prediction_svc.features import KeptFeatures
from prediction_svc.fits import EPOCH, Fit, fits_of, latest_fit
from prediction_svc.forecasting import Standing
from prediction_svc.histories import History, Ints
from prediction_svc.jobs import SymbolForecast, forecast_horizons
from prediction_svc.ledger_reading import read_open
from prediction_svc.ledger_rows import LedgerForecast, MissedForecast, Outcome
from prediction_svc.market import (
    Fetched,
    MarketClock,
    MarketReader,
    MarketUnavailableError,
    Refusal,
    SymbolBars,
)
from prediction_svc.models import TrainedModel
from prediction_svc.outcomes import OpenForecast, actions_version, due_outcomes
from prediction_svc.recipe import HORIZONS, Recipe
from prediction_svc.yardsticks import Yardsticks

# What a forecast was made from: more sessions than any feature looks back.
_HASHED_RETURNS = 600
# An outcome is looked at again for so long: a source may revise its bars, or lose one.
_LOOK_BACK_DAYS = 40
# So many sessions of each symbol are counted since an earlier one: more are as good as these.
_COUNTED = 250
# Part of the time between close and deadline that is kept for writing down what is there.
_RESERVE = 0.25

RecordedTo = Mapping[int, Mapping[str, int]]
"""The last as-of day in the ledger by horizon and symbol, since 1970-01-01."""


@dataclass(frozen=True)
class Order:
    """What forecasts are made of: all symbols as of some closes, but those at hand."""

    reader: MarketReader
    clock: MarketClock
    have: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Survey:
    """What there is to do after the closes of an order."""

    known: frozenset[str]
    refusals: Mapping[str, Refusal]
    """Of symbols that have no bars."""
    late: tuple[str, ...]
    """Symbols whose bars may be there a moment later."""
    groups: Mapping[str, str]
    """Group of each symbol that has bars."""
    fits: tuple[Fit, ...]
    """All fixed dates within the bars, rising."""
    latest: Fit | None
    """The latest closed session as a date to fit a model at."""
    sessions_since: int | None
    """How many have closed since the day that was given; None where none was."""
    outcomes: tuple[Outcome, ...]
    """What came of the forecasts that were given."""


@dataclass(frozen=True)
class Draft:
    """What is to be written down."""

    rows: tuple[LedgerForecast, ...] = ()
    missed: tuple[MissedForecast, ...] = ()
    windows: frozenset[tuple[datetime, datetime]] = frozenset()
    """From when to when, in market time, waiting for better forecasts would risk being too late."""

    def joined(self, other: "Draft") -> "Draft":
        """Both of them."""
        rows = {row.key: row for row in (*self.rows, *other.rows)}
        missed = {row.key: row for row in (*self.missed, *other.missed)}
        return Draft(tuple(rows.values()), tuple(missed.values()), self.windows | other.windows)

    def is_urgent(self, market_time: datetime) -> bool:
        """Whether it must be written down now."""
        return any(begin <= market_time < end for begin, end in self.windows)


@dataclass(frozen=True)
class Batch:
    """The forecasts of an order."""

    forecasts: Forecasts
    refusals: Mapping[str, Refusal]
    """Of symbols that have bars, and no forecast."""
    draft: Draft


class _Shelf:
    """The bars of the latest closes, in the process that reads them."""

    def __init__(self) -> None:
        self._key: object = None
        self._fetched: Fetched | None = None

    def read(self, order: Order) -> Fetched:
        """Read what the order wants anew, and keep it with what is there of the same closes."""
        kept = self._kept(order) if order.have else None
        fresh = order.reader.read(order.have if kept else frozenset())
        if fresh.market_id != order.clock.market_id:
            raise MarketUnavailableError(f"it changed to {fresh.market_id} meanwhile")
        if kept is not None:
            bars = {s: each for s, each in kept.bars.items() if s not in fresh.refusals}
            refusals = {s: each for s, each in kept.refusals.items() if s not in fresh.bars}
            fresh = Fetched(
                fresh.market_id,
                fresh.known,
                {**bars, **fresh.bars},
                {**refusals, **fresh.refusals},
            )
        self._key, self._fetched = _key(order), fresh
        return fresh

    def get(self, order: Order) -> Fetched:
        """What was read of these closes; read anew where another process had done that."""
        return self._kept(order) or self.read(order)

    def _kept(self, order: Order) -> Fetched | None:
        return self._fetched if self._key == _key(order) else None


def _key(order: Order) -> object:
    return order.reader, order.clock.market_id, order.clock.closed_sessions


_shelf = _Shelf()
_kept = KeptFeatures()  # of what is on the shelf


def survey(order: Order, database_url: str | None, since: date | None = None) -> Survey:
    """Read the bars, and see what came of the forecasts that are due.

    Args:
        order: which bars.
        database_url: where forecasts are written down; None to see after none of them.
        since: from which day on sessions are counted.

    Raises MarketUnavailableError and DatabaseUnavailableError.
    """
    fetched = _shelf.read(order)
    due = {} if database_url is None else _due(order.clock, database_url)
    days = {day for each in fetched.histories for day in each.days[-_COUNTED:].tolist()}
    return Survey(
        known=fetched.known,
        refusals=fetched.refusals,
        late=tuple(
            symbol
            for symbol in fetched.late(order.clock.closed_sessions)
            if symbol not in order.have
        ),
        groups={s: bars.history.group for s, bars in fetched.bars.items()},
        fits=tuple(fits_of(fetched.histories)),
        latest=latest_fit(fetched.histories),
        sessions_since=(None if since is None else sum(day > (since - EPOCH).days for day in days)),
        outcomes=tuple(_outcomes(due, fetched.bars)),
    )


def _due(clock: MarketClock, database_url: str) -> dict[str, list[OpenForecast]]:
    """The forecasts without outcome whose targets have closed, and all of the last weeks."""
    closes = (date.fromisoformat(day) for _, day in clock.closed_sessions)
    last = max(((day - EPOCH).days for day in closes), default=0)
    days = last, last - _LOOK_BACK_DAYS

    def work(connection: Connection) -> dict[str, list[OpenForecast]]:
        return read_open(connection, clock.market_id, *days)

    try:
        return asyncio.run(peek(database_url, "prediction_svc", work))
    except StartupError as error:
        raise DatabaseUnavailableError(str(error)) from error


def forecast(
    order: Order,
    models: Sequence[TrainedModel],
    standing: Mapping[int, Standing],
    recorded_to: RecordedTo,
    recipe: Recipe,
) -> Batch:
    """Forecast the symbols of an order at all horizons. Raises MarketUnavailableError."""
    fetched = _shelf.get(order)
    named = fetched.bars.keys() - order.have
    made: dict[int, dict[str, SymbolForecast]] = {}
    if fetched.histories:
        whole = {horizon: standing.get(horizon, Standing()) for horizon in HORIZONS}
        batches = forecast_horizons(
            fetched.histories, models, whole, recipe, asked=named, kept=_kept
        )
        made = {
            horizon: {
                symbol: one
                for symbol, one in batch.items()
                if horizon <= len(fetched.bars[symbol].next_session_days)
            }
            for horizon, batch in batches.items()
        }
    forecasts = {
        horizon: {s: _issue(one, fetched.bars[s], order.clock) for s, one in batch.items()}
        for horizon, batch in made.items()
    }
    answered = set().union(*made.values())
    return Batch(
        forecasts=forecasts,
        refusals={s: _why_not(fetched.bars[s].history, recipe) for s in named if s not in answered},
        draft=_draft(fetched, made, order.clock, recorded_to, recipe),
    )


def _issue(made: SymbolForecast, bars: SymbolBars, clock: MarketClock) -> IssuedForecast:
    return IssuedForecast(
        symbol=made.symbol,
        horizon=made.horizon,
        as_of_day=made.as_of_day,
        target_day=int(bars.next_session_days[made.horizon - 1]),
        target_inferred=made.horizon > bars.known_next_sessions,
        close=made.close,
        log_moves=made.log_moves,
        p_up=made.p_up,
        model_version=made.model_version,
        currency_code=bars.currency_code,
        price_decimals=bars.price_decimals,
        issue_time=clock.market_time,
        explanation=made.explanation,
    )


def _why_not(history: History, recipe: Recipe) -> Refusal:
    reason = why_not(history, recipe)
    if reason is not None:
        return Refusal(reason.reason, reason.message)
    message = "The market's histories are too short for forecasts yet."
    return Refusal("HISTORY_TOO_SHORT", message)


def _draft(
    fetched: Fetched,
    made: Mapping[int, Mapping[str, SymbolForecast]],
    clock: MarketClock,
    recorded_to: RecordedTo,
    recipe: Recipe,
) -> Draft:
    universe = _universe_hash(fetched, recipe)
    rows, windows = [], set()
    for batch in made.values():
        for symbol, one in batch.items():
            bars = fetched.bars[symbol]
            # An answer that lags ends after the opening of the session that it says is next.
            if bars.next_open < _close(bars.history, -1):
                continue
            row = _row(one, bars, clock, universe)
            rows.append(row)
            closed = _close(bars.history, -1)
            windows.add((row.deadline - _RESERVE * (row.deadline - closed), row.deadline))
    missed = [
        each
        for horizon, symbols in recorded_to.items()
        for symbol, last in symbols.items()
        if symbol in fetched.bars
        for each in _missed(fetched.bars[symbol], horizon, last, recipe)
    ]
    return Draft(tuple(rows), tuple(missed), frozenset(windows))


def _row(
    made: SymbolForecast, bars: SymbolBars, clock: MarketClock, universe: bytes
) -> LedgerForecast:
    as_of = int(np.searchsorted(bars.traded.days, made.as_of_day, side="right")) - 1
    gap = timedelta(0) if clock.is_synthetic else None  # its nights pass in seconds
    return LedgerForecast(
        symbol=made.symbol,
        horizon=made.horizon,
        as_of_day=made.as_of_day,
        target_day=int(bars.next_session_days[made.horizon - 1]),
        target_inferred=made.horizon > bars.known_next_sessions,
        deadline=deadline(_close(bars.history, -1), bars.next_open, bars.next_close, gap=gap),
        reference_close=float(bars.traded.closes_as_traded[as_of]),
        currency_code=bars.currency_code,
        actions_version=actions_version(bars.traded, made.as_of_day),
        quantiles=made.log_moves,
        p_up=made.p_up,
        expected_move=made.log_moves[MIDDLE],
        forecaster="scale-model" if made.model_version else "no-learning",
        model_version=made.model_version,
        inputs_hash=_inputs_hash(universe, made, bars.history),
        yardsticks=_yardsticks(made),
    )


def _yardsticks(made: SymbolForecast) -> Yardsticks | None:
    if not made.baselines or not made.sigma > 0:
        return None
    return Yardsticks(made.sigma, made.base_rate, made.rank_score, made.baselines)


def _universe_hash(fetched: Fetched, recipe: Recipe) -> bytes:
    """SHA-256 of the recipe and of all symbols, since each forecast depends on the others."""
    names = (recipe.fingerprint(), *sorted(fetched.known))
    return hashlib.sha256("\n".join(names).encode()).digest()


def _inputs_hash(universe: bytes, made: SymbolForecast, history: History) -> bytes:
    """SHA-256 of the universe, the model, the width and the symbol's own returns.

    Returns rather than prices, which later splits change.
    """
    digest = hashlib.sha256(universe)
    digest.update(f"{made.model_version}\n{made.width_state}\n".encode())
    digest.update(np.diff(np.log(history.closes[-_HASHED_RETURNS:])).tobytes())
    return digest.digest()


def _missed(
    bars: SymbolBars, horizon: int, recorded_to: int, recipe: Recipe
) -> Iterable[MissedForecast]:
    """The sessions after the last recorded one and before the latest: nobody can forecast them."""
    days = bars.history.days
    first = int(np.searchsorted(days, recorded_to, side="right"))
    targets = np.concatenate((days, bars.next_session_days))
    for row in range(first, len(days) - 1):
        if row + horizon < len(targets):
            yield MissedForecast(
                symbol=bars.history.symbol,
                horizon=horizon,
                as_of_day=int(days[row]),
                target_day=int(targets[row + horizon]),
                # When the next session opened is not known any more; by its close it was too late.
                deadline=_close(bars.history, row + 1),
                reason=_why_missed(bars.history.first(row + 1), recipe),
            )


def _why_missed(history: History, recipe: Recipe) -> str:
    withheld = why_not(history, recipe)
    return "SERVICE_AWAY" if withheld is None else withheld.reason


def _outcomes(
    due: Mapping[str, Sequence[OpenForecast]], bars: Mapping[str, SymbolBars]
) -> Iterable[Outcome]:
    codes = {each.exchange_code for each in bars.values()}
    sessions = {code: _sessions(code, bars.values()) for code in codes}
    for symbol, forecasts in due.items():
        if (own := bars.get(symbol)) is not None:
            lost = set(own.lost_session_days.tolist())
            yield from due_outcomes(forecasts, own.traded, sessions[own.exchange_code], lost)


def _sessions(exchange_code: str, bars: Iterable[SymbolBars]) -> Ints:
    """Sessions of an exchange that have closed: those in which any of its symbols has a bar."""
    own = [each.history.days for each in bars if each.exchange_code == exchange_code]
    return np.unique(np.concatenate(own)) if own else np.empty(0, dtype=np.int64)


def _close(history: History, row: int) -> datetime:
    return datetime.fromtimestamp(int(history.close_seconds[row]), UTC)
