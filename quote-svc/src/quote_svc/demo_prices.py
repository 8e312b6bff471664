"""Synthetic prices: each session's ticks are a function of the seed and the session alone.

An instrument's daily log returns come from one of three processes; within a session its price
is a Brownian bridge between them, so that ranges carry the session's volatility as they do for
real stocks. Every random number is drawn from a stream keyed by (seed, symbol, session).
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quote_svc.demo_stocks import DemoStock, Process
from quote_svc.market import Floats

TICKS = 390  # minutes of a session; tick 0 is the open, tick 390 the close
KEPT_SESSIONS = 2000
RHO = 0.45  # of the AR(1) returns
_VARIANCE_MEMORY = 0.97  # AR(1) of the log variance
_VARIANCE_SHOCK = 0.2
_LOG_VARIANCE_SPREAD = _VARIANCE_SHOCK**2 / (1 - _VARIANCE_MEMORY**2)
_NIGHT_SHARE = 0.2  # of a day's variance passes between close and open
# Part of the log distance to the first price that is undone each session: it keeps prices in
# range for years of running, and explains half of 1/10,000 of a return's variance.
_PULL = 1e-4
_BLOCK = 256  # sessions whose daily numbers are drawn together
_DAILY, _PATH = 0, 1  # the kinds of streams
_COMMON = "the market"
Words = NDArray[np.uint64]


class DemoPrices:
    """Makes sessions one after the other, and keeps the bars of the latest."""

    def __init__(self, stocks: Sequence[DemoStock], seed: int) -> None:
        self._streams = _Streams()
        self._keys = [_key(seed, stock.symbol) for stock in stocks]
        self._common_key = _key(seed, _COMMON)
        self._volatility = np.array([stock.volatility for stock in stocks])
        self._share = np.array([stock.market_share for stock in stocks])
        self._learnable = np.array([stock.process is Process.AUTOREGRESSIVE for stock in stocks])
        self._varying = np.array([stock.process is Process.VARYING for stock in stocks])
        self._typical_volume = np.array([float(stock.typical_volume) for stock in stocks])
        self._first_level = np.log([stock.first_price for stock in stocks])
        self._level = self._first_level.copy()
        self._past_return = np.zeros(len(stocks))
        self._log_variance = np.zeros(len(stocks))
        self._daily: Floats = np.empty(0)
        self._made = 0
        self._ticks: Floats = np.empty(0)
        self._bars: Floats = np.empty((5, len(stocks), 0))

    @property
    def first_kept(self) -> int:
        """Index of the first session whose bar is kept."""
        kept: int = self._bars.shape[2]
        return self._made - kept

    def bars(self, stock: int) -> Floats:
        """Opens, highs, lows, closes and volumes: 5 rows, a column for each session kept."""
        return self._bars[:, stock]

    def ticks(self, stock: int) -> Floats:
        """Prices at the `TICKS` + 1 ticks of the latest session made."""
        prices: Floats = self._ticks[stock]
        return prices

    def make_through(self, session: int) -> None:
        """Make every session up to and including `session`."""
        made = []
        while self._made <= session:
            # Bars that would be dropped at once are not made, only what leads on from them.
            shown = self._made >= session - KEPT_SESSIONS
            bar = self._make_next(with_ticks=shown)
            if shown:
                made.append(bar)
        if made:
            # One more than the kept sessions, since the latest may not have closed.
            joined = np.concatenate((self._bars, np.stack(made, axis=2)), axis=2)
            self._bars = joined[:, :, -(KEPT_SESSIONS + 1) :]

    def _make_next(self, *, with_ticks: bool) -> Floats:
        session = self._made
        common, own, variance_shock, night = self._daily_numbers(session)
        innovation = np.sqrt(self._share) * common + np.sqrt(1 - self._share) * own
        self._log_variance = np.where(
            self._varying,
            _VARIANCE_MEMORY * self._log_variance + _VARIANCE_SHOCK * variance_shock,
            0.0,
        )
        scale = np.where(
            self._varying, np.exp(self._log_variance / 2 - _LOG_VARIANCE_SPREAD / 4), 1.0
        ) * np.where(self._learnable, np.sqrt(1 - RHO**2), 1.0)
        spread = self._volatility * scale
        expected = np.where(self._learnable, RHO * self._past_return, 0.0)
        moved = expected + spread * innovation
        change = moved - _PULL * (self._level - self._first_level)
        bar = np.empty(0)
        if with_ticks:
            bar = self._trade(session, spread, change, night)
        self._level = self._level + change
        self._past_return = moved
        self._made += 1
        return bar

    def _trade(self, session: int, spread: Floats, change: Floats, night: Floats) -> Floats:
        """Set the session's ticks and return its bars, one row a field, one column a stock."""
        noise = np.stack(
            [self._streams.normal(key, _PATH, session, TICKS + 1) for key in self._keys]
        )
        gap = _NIGHT_SHARE * change + np.sqrt(_NIGHT_SHARE * (1 - _NIGHT_SHARE)) * spread * night
        steps = noise[:, 1:] * (spread * np.sqrt((1 - _NIGHT_SHARE) / TICKS))[:, None]
        walk = np.concatenate((np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)), axis=1)
        elapsed = np.arange(TICKS + 1) / TICKS
        missed = change - gap - walk[:, -1]
        path = (self._level + gap)[:, None] + walk + missed[:, None] * elapsed
        ticks = np.maximum(np.round(np.exp(path), 2), 0.01)
        size = np.abs(change) / self._volatility
        volume = np.round(self._typical_volume * np.exp(0.25 * noise[:, 0] + 0.2 * size - 0.2))
        self._ticks = ticks
        return np.stack((ticks[:, 0], ticks.max(axis=1), ticks.min(axis=1), ticks[:, -1], volume))

    def _daily_numbers(self, session: int) -> tuple[float, Floats, Floats, Floats]:
        """Standard normal numbers of one session: the market's, and three of each stock."""
        block, row = divmod(session, _BLOCK)
        if row == 0:
            size = _BLOCK * 3
            keys = (self._common_key, *self._keys)
            drawn = [
                self._streams.normal(key, _DAILY, block, size).reshape(_BLOCK, 3) for key in keys
            ]
            self._daily = np.stack(drawn, axis=1)
        numbers = self._daily[row]
        return float(numbers[0, 0]), numbers[1:, 0], numbers[1:, 1], numbers[1:, 2]


def _key(seed: int, symbol: str) -> Words:
    sequence = np.random.SeedSequence((seed, zlib.crc32(symbol.encode())))
    return sequence.generate_state(2, np.uint64).astype(np.uint64)


class _Streams:
    """Standard normal numbers by key, kind and index: Philox counts from wherever it is set."""

    def __init__(self) -> None:
        # One generator for all streams: making one takes ten times as long as setting it.
        self._philox = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state

    def normal(self, key: Words, kind: int, index: int, size: int) -> Floats:
        """`size` numbers that depend on nothing but the key, the kind and the index."""
        counter = np.array((0, index, kind, 0), dtype=np.uint64)
        self._state["state"] = {"counter": counter, "key": key}
        self._philox.state = self._state
        return self._generator.standard_normal(size)
