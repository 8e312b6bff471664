"""All symbols' sessions in one long table, each symbol on its own calendar.

Rows of one symbol stand together in order of time; symbols stand in order of their names.
Between symbols time is the UTC instant of the close, never the date.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from prediction_svc import rolling
from prediction_svc.histories import Floats, History, Ints
from prediction_svc.recipe import Recipe
from prediction_svc.young import blend_young

VARIANCE_FLOOR = 1e-8  # one basis point a session, so that a halted symbol divides nothing by 0
NEVER = np.iinfo(np.int64).max
WARM_UP = 20  # own returns before a volatility is believed


@dataclass(frozen=True)
class Panel:
    """N rows of S symbols; returns and volatilities are logarithmic, per session."""

    symbols: tuple[str, ...]
    histories: tuple[History, ...]
    starts: Ints
    """S + 1 offsets: the rows of symbol i are starts[i] to starts[i + 1]."""
    symbol_of: Ints
    groups: tuple[str, ...]
    """Names of the G groups, rising."""
    group_of: Ints
    """Index of each symbol's group, shape (S,)."""
    days: Ints
    seconds: Ints
    closes: Floats
    returns: Floats
    """Log move from the previous own session; NaN at the first."""
    next_returns: Floats
    """Log move to the next own session: the label; NaN at the last."""
    next_seconds: Ints
    """Instant at which the label is known; NEVER at the last."""
    sigma: Floats
    return_sigma: Floats
    """EWMA of the returns alone, the reference of scores."""
    long_sd: Floats

    def rows(self, symbol: int) -> slice:
        """Rows of one symbol."""
        return slice(int(self.starts[symbol]), int(self.starts[symbol + 1]))

    @property
    def last_rows(self) -> Ints:
        """The latest row of each symbol."""
        return self.starts[1:] - 1

    @property
    def own_session(self) -> Ints:
        """How many own sessions stand before each row."""
        return np.asarray(
            np.arange(len(self.seconds)) - self.starts[self.symbol_of], dtype=np.int64
        )

    @cached_property
    def instants(self) -> tuple[Ints, Ints]:
        """Distinct instants of closes, rising, and the index of each row's instant in them."""
        unique, index = np.unique(self.seconds, return_inverse=True)
        return unique, index.astype(np.int64)

    def closed_by(self, instants: Ints) -> Ints:
        """How many sessions of each symbol have closed by each instant, shape (instants, S)."""
        counts = [
            np.searchsorted(self.seconds[self.rows(i)], instants, side="right")
            for i in range(len(self.symbols))
        ]
        return np.stack(counts, axis=1).astype(np.int64)


def garman_klass(history: History) -> Floats:
    """Variance of each session from its range; NaN where there is none.

    (ln H/L)²/2 − (2 ln 2 − 1)(ln C/O)²: Garman and Klass (1980), equation 20 without the gap.
    """
    high, low = history.highs, history.lows
    ranged = (high > low) & (history.opens >= low) & (history.opens <= high)
    ranged &= (history.closes >= low) & (history.closes <= high)
    spread = np.log(np.where(ranged, high / low, np.nan))
    body = np.log(np.where(ranged, history.closes / history.opens, np.nan))
    variance: Floats = 0.5 * spread * spread - (2 * np.log(2) - 1) * body * body
    return variance


def volatility(
    histories: Sequence[History], decay: float, least: int = WARM_UP
) -> list[tuple[Floats, Floats]]:
    """σ of each session and that of the returns alone, of each symbol; NaN before `least` returns.

    σ² is the mean of two EWMAs: of squared log returns and of Garman-Klass variances, where a
    session without a range counts with its squared return.
    """
    longest = max(len(history) for history in histories)
    squares = np.full((2, longest, len(histories)), np.nan)
    for i, history in enumerate(histories):
        returns = log_returns(history)
        ranges = garman_klass(history)
        squares[0, : len(history), i] = returns * returns
        squares[1, : len(history), i] = np.where(np.isnan(ranges), returns * returns, ranges)
    levels = rolling.ewma(squares.transpose(1, 0, 2).reshape(longest, -1), decay)
    levels = np.maximum(levels.reshape(longest, 2, -1), VARIANCE_FLOOR)
    found = []
    for i, history in enumerate(histories):
        of_returns, of_ranges = levels[: len(history), :, i].T
        warm = np.arange(len(history)) >= least
        sigma = np.where(warm, np.sqrt((of_returns + of_ranges) / 2), np.nan)
        found.append((sigma, np.where(warm, np.sqrt(of_returns), np.nan)))
    return found


def log_returns(history: History) -> Floats:
    """Log move of each session from the one before; NaN at the first."""
    return rolling.change(np.log(history.closes), 1)


@dataclass(frozen=True)
class Outcomes:
    """What became of each row of a panel over the next own sessions."""

    horizon: int
    moves: Floats
    """Log move to the close `horizon` own sessions later, shape (N,); NaN while it is open."""
    seconds: Ints
    """Instant of that close; NEVER while it is open."""


def outcomes_of(panel: Panel, horizon: int) -> Outcomes:
    """Look `horizon` own sessions ahead of every row."""
    moves = np.full(len(panel.seconds), np.nan)
    seconds = np.full(len(panel.seconds), NEVER)
    for symbol in range(len(panel.symbols)):
        own = panel.rows(symbol)
        logs = np.log(panel.closes[own])
        ahead = slice(own.start, max(own.start, own.stop - horizon))
        moves[ahead] = logs[horizon:] - logs[: max(0, len(logs) - horizon)]
        seconds[ahead] = panel.seconds[own][horizon:]
    return Outcomes(horizon, moves, seconds)


def build_panel(histories: Sequence[History], recipe: Recipe) -> Panel:
    """Lay the histories out, leaving out empty ones. Raises ValueError where all are empty."""
    ordered = tuple(sorted((h for h in histories if len(h)), key=lambda h: h.symbol))
    if not ordered:
        raise ValueError("no symbol has a bar")
    lengths = [len(history) for history in ordered]
    columns: dict[str, list[Floats]] = {
        name: [] for name in ("returns", "next", "sigma", "return_sigma", "long_sd", "own")
    }
    for history, (own, of_returns) in zip(
        ordered, volatility(ordered, recipe.decay, 1), strict=True
    ):
        returns = log_returns(history)
        warm = np.arange(len(history)) >= WARM_UP
        long_sd = rolling.deviation(returns, recipe.long_sessions, least=WARM_UP)
        columns["returns"].append(returns)
        columns["next"].append(np.append(returns[1:], np.nan))
        columns["sigma"].append(np.where(warm, own, np.nan))
        columns["return_sigma"].append(np.where(warm, of_returns, np.nan))
        columns["long_sd"].append(np.maximum(long_sd, np.sqrt(VARIANCE_FLOOR)))
        columns["own"].append(own)  # however few returns
    long = {name: np.concatenate(parts) for name, parts in columns.items()}
    groups = tuple(sorted({history.group for history in ordered}))
    panel = Panel(
        symbols=tuple(history.symbol for history in ordered),
        histories=ordered,
        starts=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        symbol_of=np.repeat(np.arange(len(ordered)), lengths),
        groups=groups,
        group_of=np.array([groups.index(history.group) for history in ordered], dtype=np.int64),
        days=np.concatenate([history.days for history in ordered]),
        seconds=np.concatenate([history.close_seconds for history in ordered]),
        closes=np.concatenate([history.closes for history in ordered]),
        returns=long["returns"],
        next_returns=long["next"],
        next_seconds=np.concatenate([np.append(h.close_seconds[1:], NEVER) for h in ordered]),
        sigma=long["sigma"],
        return_sigma=long["return_sigma"],
        long_sd=long["long_sd"],
    )
    return replace(
        panel,
        sigma=blend_young(panel, long["own"], panel.sigma, recipe.min_bars),
        long_sd=blend_young(panel, long["own"], panel.long_sd, recipe.min_bars),
    )
