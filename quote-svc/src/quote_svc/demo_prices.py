"""Synthetic prices: each session's ticks are a function of the seed and the session alone.

An instrument's daily log returns, dividends included, come from one of three processes; within
a session its price is a Brownian bridge between them, so that ranges carry the session's
volatility as they do for real stocks. Every random number is drawn from a stream keyed by
(seed, symbol, session).
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quote_svc.demo_actions import dividends, split_factors
from quote_svc.demo_stocks import DemoStock, Process
from quote_svc.demo_time import TICKS, ticks_of
from quote_svc.market import Floats

KEPT_SESSIONS = 2000
RHO = 0.45  # of the AR(1) returns
TURMOIL = 3.0  # times the usual volatility
FIELDS = 7  # opens, highs, lows, closes, volumes, dividends, split factors
_VARIANCE_MEMORY = 0.97  # AR(1) of the log variance
_VARIANCE_SHOCK = 0.2
_LOG_VARIANCE_SPREAD = _VARIANCE_SHOCK**2 / (1 - _VARIANCE_MEMORY**2)
_NIGHT_SHARE = 0.2  # of a day's variance passes between close and open
_BLOCK = 256  # sessions whose daily numbers are drawn together
_DAILY, _PATH = 0, 1  # the kinds of streams
_COMMON = "the market"
Words = NDArray[np.uint64]


class DemoPrices:
    """Makes sessions one after the other, and keeps the bars of the latest, as traded."""

    def __init__(
        self, stocks: Sequence[DemoStock], seed: int, turmoil_from: int | None = None
    ) -> None:
        """From the session `turmoil_from` on all stocks are as volatile as in a crisis."""
        self._stocks = stocks
        self._streams = _Streams()
        self._keys = [_key(seed, stock.symbol) for stock in stocks]
        self._common_key = _key(seed, _COMMON)
        self._turmoil_from = turmoil_from
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
        self._noise = np.empty((len(stocks), TICKS + 1))
        self._path: Floats = np.empty(0)
        self._ticks: Floats | None = None
        self._made = 0
        self._bars = _KeptBars(len(stocks))

    @property
    def first_kept(self) -> int:
        """Index of the first session whose bar is kept."""
        return self._made - len(self._bars)

    def bars(self, stock: int) -> Floats:
        """A row for each of `FIELDS`, a column for each session kept.

        Prices are as traded; a session without trade has NaN, and no dividend and no split.
        """
        return self._bars.of(stock)

    def ticks(self, stock: int) -> Floats:
        """Prices at each minute of the latest session made, from the open to the close."""
        if self._ticks is None:
            self._ticks = _prices(self._path)
        prices: Floats = self._ticks[stock]
        return prices

    def make_through(self, session: int) -> None:
        """Make every session up to and including `session`."""
        while self._made <= session:
            # Bars that would be dropped at once are not made, only what leads on from them.
            self._make_next(with_bar=self._made >= session - KEPT_SESSIONS)

    def _make_next(self, *, with_bar: bool) -> None:
        session = self._made
        traded = np.array([stock.trades_in(session) for stock in self._stocks])
        factors = split_factors(self._level - self._first_level, traded)
        self._level = self._level - np.log(factors)
        paid = dividends(self._stocks, session, np.exp(self._level), traded)
        common, own, variance_shock, night = self._daily_numbers(session)
        innovation = np.sqrt(self._share) * common + np.sqrt(1 - self._share) * own
        spread = self._spread(variance_shock)
        if self._turmoil_from is not None and session >= self._turmoil_from:
            spread = TURMOIL * spread
        moved = np.where(self._learnable, RHO * self._past_return, 0.0) + spread * innovation
        # The price gives up what is paid out of it.
        change = np.log(np.exp(moved) - paid * np.exp(-self._level))
        if with_bar:
            bar = self._trade(session, spread, change, night)
            bar[:, ~traded] = np.nan
            self._bars.append(np.concatenate((bar, (paid, factors))))
        self._level = self._level + change
        self._past_return = moved
        self._made += 1

    def _spread(self, variance_shock: Floats) -> Floats:
        """Standard deviation of the session's innovation, one a stock."""
        self._log_variance = np.where(
            self._varying,
            _VARIANCE_MEMORY * self._log_variance + _VARIANCE_SHOCK * variance_shock,
            0.0,
        )
        moving = np.exp(self._log_variance / 2 - _LOG_VARIANCE_SPREAD / 4)
        scale = np.where(self._varying, moving, 1.0)
        scale = np.where(self._learnable, np.sqrt(1 - RHO**2), scale)
        spread: Floats = self._volatility * scale
        return spread

    def _trade(self, session: int, spread: Floats, change: Floats, night: Floats) -> Floats:
        """Set the session's path and return five fields of its bars, one column a stock."""
        ticks = ticks_of(session)
        noise = self._noise[:, : ticks + 1]
        for row, key in enumerate(self._keys):
            self._streams.fill(noise[row], key, _PATH, session)
        gap = _NIGHT_SHARE * change + np.sqrt(_NIGHT_SHARE * (1 - _NIGHT_SHARE)) * spread * night
        path = np.zeros_like(noise)
        np.cumsum(noise[:, 1:], axis=1, out=path[:, 1:])
        path *= (spread * np.sqrt((1 - _NIGHT_SHARE) / ticks))[:, None]
        missed = change - gap - path[:, -1]
        path += missed[:, None] * (np.arange(ticks + 1) / ticks)
        path += (self._level + gap)[:, None]
        self._path, self._ticks = path, None
        size = np.abs(change) / self._volatility
        # The same money changes hands whatever the splits have made of the price.
        turnover = self._typical_volume * np.exp(self._first_level - self._level) * ticks / TICKS
        volume = np.round(turnover * np.exp(0.25 * noise[:, 0] + 0.2 * size - 0.2))
        ends = _prices(np.stack((path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1])))
        return np.concatenate((ends, volume[None]))

    def _daily_numbers(self, session: int) -> tuple[float, Floats, Floats, Floats]:
        """Standard normal numbers of one session: the market's, and three of each stock."""
        block, row = divmod(session, _BLOCK)
        if row == 0:
            drawn = np.empty((len(self._keys) + 1, _BLOCK, 3))
            for out, key in zip(drawn, (self._common_key, *self._keys), strict=True):
                self._streams.fill(out, key, _DAILY, block)
            self._daily = np.ascontiguousarray(drawn.transpose(1, 0, 2))
        numbers = self._daily[row]
        return float(numbers[0, 0]), numbers[1:, 0], numbers[1:, 1], numbers[1:, 2]


def _prices(logs: Floats) -> Floats:
    """Prices in whole cents."""
    cents: Floats = np.maximum(np.round(np.exp(logs), 2), 0.01)
    return cents


def _key(seed: int, symbol: str) -> Words:
    sequence = np.random.SeedSequence((seed, zlib.crc32(symbol.encode())))
    return sequence.generate_state(2, np.uint64).astype(np.uint64)


class _KeptBars:
    """The bars of the latest sessions, in room for twice as many: appending rarely copies."""

    def __init__(self, stocks: int) -> None:
        # One more than the kept sessions, since the latest may not have closed.
        self._most = KEPT_SESSIONS + 1
        self._room = np.empty((FIELDS, stocks, 2 * self._most))
        self._end = 0

    def __len__(self) -> int:
        return min(self._end, self._most)

    def append(self, bar: Floats) -> None:
        """Keep a session's bars: a row a field, a column a stock."""
        if self._end == 2 * self._most:
            self._room[..., : self._most] = self._room[..., self._most :]
            self._end = self._most
        self._room[..., self._end] = bar
        self._end += 1

    def of(self, stock: int) -> Floats:
        """A view of one stock's bars: a row a field, a column a session."""
        return self._room[:, stock, self._end - len(self) : self._end]


class _Streams:
    """Standard normal numbers by key, kind and index: Philox counts from wherever it is set."""

    def __init__(self) -> None:
        # One generator for all streams: making one takes ten times as long as setting it.
        self._philox = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state

    def fill(self, out: Floats, key: Words, kind: int, index: int) -> None:
        """Fill `out` with numbers that depend on nothing but the key, the kind and the index."""
        counter = np.array((0, index, kind, 0), dtype=np.uint64)
        self._state["state"] = {"counter": counter, "key": key}
        self._philox.state = self._state
        self._generator.standard_normal(out=out)
