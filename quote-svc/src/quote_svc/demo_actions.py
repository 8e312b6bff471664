"""Splits and dividends of the demo market, and what they do to prices of the past."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quote_svc.demo_stocks import DemoStock
from quote_svc.market import Floats

DIVIDEND_EVERY = 63  # sessions, four times a year
_SPLIT_ABOVE = np.log(1.5)
_MERGE_BELOW = -np.log(4.0)


def split_factors(distances: Floats, traded: NDArray[np.bool_]) -> Floats:
    """New shares for an old one as of the coming session's open, one a stock; mostly 1.

    `distances` are the last log closes less the logs of the first prices. Two shares are made
    of one above one and a half times that price, and one of two below a quarter of it:
    prices stay in range for years of running. Only a stock that is `traded` is split.
    """
    factors = np.where(distances > _SPLIT_ABOVE, 2.0, 1.0)
    factors[distances < _MERGE_BELOW] = 0.5
    factors[~traded] = 1.0
    return factors


def dividends(
    stocks: Sequence[DemoStock], session: int, prices: Floats, traded: NDArray[np.bool_]
) -> Floats:
    """What each stock pays on a share with this session as its ex-date, in whole cents.

    `prices` are the last closes, on the session's own split basis.
    """
    due = np.array([_is_ex_date(stock, session) for stock in stocks]) & traded
    rates = np.array([stock.dividend_yield for stock in stocks]) / 4
    paid: Floats = np.where(due, np.round(prices * rates, 2), 0.0)
    return paid


def _is_ex_date(stock: DemoStock, session: int) -> bool:
    return session % DIVIDEND_EVERY == zlib.crc32(stock.symbol.encode()) % DIVIDEND_EVERY


def split_adjusted(bars: Floats) -> Floats:
    """Bars as traded, rows as in `DemoPrices.bars`, on the basis of the last of them.

    Prices and dividends before a split are divided by its factor, and volumes multiplied. The
    factors are powers of two: prices lose nothing to rounding.
    """
    factors = bars[6]
    later = np.ones(bars.shape[1])
    later[:-1] = np.cumprod(factors[:0:-1])[::-1]
    adjusted = bars.copy()
    adjusted[:4] /= later
    adjusted[4] *= later
    adjusted[5] /= later
    return adjusted
