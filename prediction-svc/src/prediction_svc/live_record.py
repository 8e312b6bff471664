"""The live record: forecasts that were written down before the fact, beside what happened."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from prediction_svc.histories import Floats, Ints
from prediction_svc.ledger_reading import ResolvedForecasts, first_outcome
from prediction_svc.ledger_writing import read_head
from prediction_svc.recipe import LEVELS
from prediction_svc.record import Record
from prediction_svc.schema import QUANTILE_COLUMNS, forecasts, outcomes
from prediction_svc.yardsticks import BASELINES, unpack_all

PORTION = 20_000
"""Rows of the ledger that are looked at together."""

_Columns = dict[str, NDArray[Any]]


def live_record(resolved: ResolvedForecasts, horizon: int) -> Record:
    """The record of resolved forecasts, by target session and symbol.

    Scored is what was recorded first. Those without yardsticks are not among them.
    """
    portion = _Portion(
        resolved.symbols.tolist(),
        resolved.target_days,
        resolved.moves,
        resolved.quantiles,
        resolved.p_up,
        resolved.yardsticks,
    )
    return _record(horizon, len(resolved), [portion])


def read_live_record(connection: Connection, market_id: str, horizon: int) -> Record:
    """`live_record` of all that has resolved in a ledger, read in portions.

    In memory is what is scored, some 300 bytes a forecast, and one portion of rows.
    """
    last = read_head(connection, market_id).count
    table = forecasts.c
    count = select(func.count()).where(table.market_id == market_id, table.horizon == horizon)
    most = connection.execute(count).scalar_one()
    return _record(horizon, most, _portions(connection, market_id, horizon, last))


class _Portion(NamedTuple):
    """Columns of resolved forecasts."""

    symbols: Sequence[str]
    target_days: Ints
    moves: Floats
    quantiles: Floats
    p_up: Floats
    yardsticks: Floats


def _portions(
    connection: Connection, market_id: str, horizon: int, last: int
) -> Iterator[_Portion]:
    names = ("symbol", "target_day", *QUANTILE_COLUMNS, "p_up", "yardsticks")
    query = select(
        *(forecasts.c[name] for name in names),
        first_outcome(outcomes.c.log_move, forecasts).label("log_move"),
    ).where(
        forecasts.c.market_id == market_id,
        forecasts.c.horizon == horizon,
        forecasts.c.yardsticks.is_not(None),
    )
    for first in range(1, last + 1, PORTION):
        within = forecasts.c.number.between(first, min(first + PORTION - 1, last))
        rows = connection.execute(query.where(within)).all()
        if found := [row for row in rows if row.log_move is not None]:
            symbols, days, *quantiles, p_up, packed, moves = zip(*found, strict=True)
            yield _Portion(
                symbols,
                np.array(days, dtype=np.int64),
                np.array(moves, dtype=np.float64),
                np.array(quantiles, dtype=np.float64).T,
                np.array(p_up, dtype=np.float64),
                unpack_all(packed),
            )


def _record(horizon: int, most: int, portions: Iterable[_Portion]) -> Record:
    """Put portions of at most so many forecasts together; none of it is there twice."""
    columns, names, n = _empty(most), dict[str, int](), 0
    for portion in portions:
        kept = np.isfinite(portion.yardsticks[:, 0])
        into = slice(n, n + int(kept.sum()))
        codes = [names.setdefault(symbol, len(names)) for symbol in portion.symbols]
        for name, column in _judged(portion, codes).items():
            columns[name][into] = column[kept]
        n = into.stop
    symbols = np.array(list(names), dtype=np.str_)
    rank = np.argsort(np.argsort(symbols))
    columns = {name: column[:n] for name, column in columns.items()}
    order = np.lexsort((rank[columns["codes"]], columns["target_days"]))
    for column in columns.values():
        column[:] = column[order]
    naive_ones = tuple(columns.pop(name) for name in _BASELINES)
    return Record(
        horizon=horizon, symbols=symbols[columns.pop("codes")], baselines=naive_ones, **columns
    )


_BASELINES = [f"baseline {k}" for k in range(BASELINES)]
_NUMBERS = ("moves", "p_up", "base_rate", "score", "sigma")


def _empty(most: int) -> _Columns:
    """Room for so many; what is never written to costs no memory."""
    levels = (most, len(LEVELS))
    return {
        "codes": np.empty(most, dtype=np.int64),
        "target_days": np.empty(most, dtype=np.int64),
        **{name: np.empty(most) for name in _NUMBERS},
        **{name: np.empty(levels) for name in ("quantiles", *_BASELINES)},
    }


def _judged(portion: _Portion, codes: list[int]) -> _Columns:
    sigma, base_rate, score = portion.yardsticks[:, :3].T
    naive_ones = portion.yardsticks[:, 3:].reshape(-1, BASELINES, len(LEVELS))
    return {
        "codes": np.array(codes, dtype=np.int64),
        "target_days": portion.target_days,
        "moves": portion.moves,
        "p_up": portion.p_up,
        "base_rate": base_rate,
        "score": score,
        "sigma": sigma,
        "quantiles": portion.quantiles,
        **{name: naive_ones[:, k] for k, name in enumerate(_BASELINES)},
    }
