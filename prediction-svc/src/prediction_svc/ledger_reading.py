"""Reading the ledger: what is open, and what has resolved, as columns for scoring."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    ScalarSelect,
    Select,
    func,
    select,
)

from prediction_svc.histories import Floats, Ints
from prediction_svc.ledger_rows import Entry, entry_of
from prediction_svc.outcomes import OpenForecast
from prediction_svc.schema import QUANTILE_COLUMNS, forecasts, outcomes
from prediction_svc.yardsticks import unpack_all

Texts = NDArray[np.str_]


@dataclass(frozen=True)
class ResolvedForecasts:
    """Forecasts of one horizon and what came of them: columns of length n.

    In order of symbol and as-of session. Days count from 1970-01-01; moves are log moves.
    """

    symbols: Texts
    as_of_days: Ints
    target_days: Ints
    reference_closes: Floats
    quantiles: Floats
    """Shape (n, 7)."""
    p_up: Floats
    expected_moves: Floats
    yardsticks: Floats
    """Shape (n, 24), as `yardsticks.unpack_all` tells them; NaN where none were written down."""
    model_versions: Texts
    resolved_numbers: Ints
    """Of the rows that resolved them: the order of resolution."""
    delayed: NDArray[np.bool_]
    moves: Floats
    """As they were recorded first, which is what is scored."""
    revised_moves: Floats
    """As they were recorded last; the same where nothing was revised."""

    def __len__(self) -> int:
        return len(self.moves)


@dataclass(frozen=True)
class Counts:
    """What became of the forecasts of one horizon; the rest of the issued is open."""

    issued: int
    missed: int
    resolved: int
    unresolved: int


def read_open(
    connection: Connection,
    market_id: str,
    last_closed_day: int,
    revisable_from_day: int,
    open_from_day: int = 0,
) -> dict[str, list[OpenForecast]]:
    """The forecasts to look at after a close, by symbol.

    Of those whose targets lie from `open_from_day` to `last_closed_day` the ones that have no
    outcome, and those that have one and whose targets are `revisable_from_day` or later: their
    bars may have changed.
    """
    looked_at = (
        select(
            *(forecasts.c[name] for name in _OPEN_COLUMNS),
            _latest(outcomes.c.revision, forecasts).label("revision"),
        )
        .where(
            forecasts.c.market_id == market_id,
            forecasts.c.kind == "forecast",
            forecasts.c.target_day.between(open_from_day, last_closed_day),
        )
        .add_columns(forecasts.c.market_id)
        .subquery()
    )
    query = (
        select(looked_at, _latest(outcomes.c.log_move, looked_at).label("log_move"))
        .where(looked_at.c.revision.is_(None) | (looked_at.c.target_day >= revisable_from_day))
        .order_by(looked_at.c.number)
    )
    found: dict[str, list[OpenForecast]] = defaultdict(list)
    for row in connection.execute(query):
        known = {name: getattr(row, name) for name in _OPEN_COLUMNS}
        forecast = OpenForecast(
            **known,
            next_revision=0 if row.revision is None else row.revision + 1,
            recorded_move=math.nan if row.log_move is None else row.log_move,
        )
        found[forecast.symbol].append(forecast)
    return dict(found)


def read_resolved(  # noqa: PLR0913 - what narrows it, by name
    connection: Connection,
    market_id: str,
    horizon: int,
    *,
    symbol: str | None = None,
    last: int = 1000,
    from_day: int = 0,
) -> ResolvedForecasts:
    """Each symbol's last resolved forecasts of a horizon; the unresolved are not among them.

    Only those of one symbol where it is named, and of as-of sessions from `from_day` on: whoever
    has read the rest sees by the numbers of the rows that resolved them which are new.
    """
    issued = (
        select(
            *(forecasts.c[name] for name in ("market_id", *_FORECAST_COLUMNS)),
            first_outcome(outcomes.c.number, forecasts).label("resolved_number"),
        )
        .where(
            forecasts.c.market_id == market_id,
            forecasts.c.horizon == horizon,
            forecasts.c.as_of_day >= from_day,
            *([] if symbol is None else [forecasts.c.symbol == symbol]),
        )
        .subquery()
    )
    newest_first = func.row_number().over(
        partition_by=issued.c.symbol, order_by=issued.c.as_of_day.desc()
    )
    ranked = (
        select(issued, newest_first.label("age"))
        .where(issued.c.resolved_number.is_not(None))
        .subquery()
    )
    query = (
        select(
            ranked,
            first_outcome(outcomes.c.delayed, ranked).label("delayed"),
            first_outcome(outcomes.c.log_move, ranked).label("log_move"),
            _latest(outcomes.c.log_move, ranked).label("revised_move"),
        )
        .where(ranked.c.age <= last)
        .order_by(ranked.c.symbol, ranked.c.as_of_day)
    )
    rows = connection.execute(query).all()
    names = list(query.selected_columns.keys())
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    return _resolved(columns or dict.fromkeys(names, ()))


def read_entries(connection: Connection, market_id: str, symbol: str, last: int) -> list[Entry]:
    """A symbol's last rows, forecasts and missed ones, the newest first."""
    query = (
        select(forecasts)
        .where(forecasts.c.market_id == market_id, forecasts.c.symbol == symbol)
        .order_by(forecasts.c.as_of_day.desc(), forecasts.c.horizon)
        .limit(last)
    )
    return [entry_of(row._mapping) for row in connection.execute(query)]


def read_recorded_to(connection: Connection, market_id: str) -> dict[int, dict[str, int]]:
    """The last as-of day of each horizon and symbol that has a row."""
    query = (
        select(
            forecasts.c.horizon, forecasts.c.symbol, func.max(forecasts.c.as_of_day).label("last")
        )
        .where(forecasts.c.market_id == market_id)
        .group_by(forecasts.c.horizon, forecasts.c.symbol)
    )
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(query):
        found[row.horizon][row.symbol] = row.last
    return dict(found)


class Hit(NamedTuple):
    """Whether the 80 % band of a forecast held what happened, by the row that resolved it."""

    number: int
    horizon: int
    symbol: str
    resolved_day: int
    is_hit: bool


def read_hits(connection: Connection, market_id: str, number: int) -> list[Hit]:
    """Hits and misses of the forecasts that were resolved by rows after a number, in order."""
    query = (
        select(
            outcomes.c.number,
            forecasts.c.horizon,
            forecasts.c.symbol,
            outcomes.c.resolved_day,
            outcomes.c.log_move.between(forecasts.c.q10, forecasts.c.q90).label("is_hit"),
        )
        .join_from(
            outcomes,
            forecasts,
            (forecasts.c.market_id == outcomes.c.market_id)
            & (forecasts.c.number == outcomes.c.forecast_number),
        )
        .where(
            outcomes.c.market_id == market_id,
            outcomes.c.number > number,
            outcomes.c.kind == "resolved",
        )
        .order_by(outcomes.c.number)
    )
    rows = connection.execute(query)
    return [Hit(*row[:-1], bool(row.is_hit)) for row in rows]  # type: ignore[call-arg]


def read_counts(connection: Connection, market_id: str, horizon: int) -> Counts:
    """How many forecasts were issued, missed, resolved and left unresolved."""
    issued = (
        select(
            forecasts.c.kind,
            first_outcome(outcomes.c.kind, forecasts, resolved=False).label("outcome"),
        )
        .where(forecasts.c.market_id == market_id, forecasts.c.horizon == horizon)
        .subquery()
    )
    query = select(issued, func.count().label("rows")).group_by(*issued.c)
    found = {(row.kind, row.outcome): row.rows for row in connection.execute(query)}
    return Counts(
        issued=sum(count for (kind, _), count in found.items() if kind == "forecast"),
        missed=found.get(("missed", None), 0),
        resolved=found.get(("forecast", "resolved"), 0),
        unresolved=found.get(("forecast", "unresolved"), 0),
    )


_OPEN_COLUMNS = ("number", "symbol", "horizon", "as_of_day", "target_day", "reference_close")
_FORECAST_COLUMNS = (
    "number",
    "symbol",
    "as_of_day",
    "target_day",
    "reference_close",
    *QUANTILE_COLUMNS,
    "p_up",
    "expected_move",
    "yardsticks",
    "model_version",
)


# A forecast's outcome is looked up for each by itself: PostgreSQL, before it has counted the rows
# of a young table, joins the two by comparing every pair.


def _latest(column: ColumnElement[Any], of: FromClause) -> ScalarSelect[Any]:
    """A column of the latest outcome of each forecast."""
    latest = _outcome(column, of).order_by(outcomes.c.revision.desc()).limit(1)
    return latest.correlate(of).scalar_subquery()


def first_outcome(
    column: ColumnElement[Any], of: FromClause, *, resolved: bool = True
) -> ScalarSelect[Any]:
    """A column of the first outcome of each forecast, by default only where that resolved it."""
    first = _outcome(column, of).where(outcomes.c.revision == 0)
    if resolved:
        first = first.where(outcomes.c.kind == "resolved")
    return first.correlate(of).scalar_subquery()


def _outcome(column: ColumnElement[Any], of: FromClause) -> Select[Any]:
    return select(column).where(
        outcomes.c.market_id == of.c.market_id, outcomes.c.forecast_number == of.c.number
    )


def _resolved(columns: dict[str, tuple[Any, ...]]) -> ResolvedForecasts:
    def floats(name: str) -> Floats:
        return np.array(columns[name], dtype=np.float64)

    def ints(name: str) -> Ints:
        return np.array(columns[name], dtype=np.int64)

    return ResolvedForecasts(
        symbols=np.array(columns["symbol"], dtype=np.str_),
        as_of_days=ints("as_of_day"),
        target_days=ints("target_day"),
        reference_closes=floats("reference_close"),
        quantiles=np.stack([floats(name) for name in QUANTILE_COLUMNS], axis=1),
        p_up=floats("p_up"),
        expected_moves=floats("expected_move"),
        yardsticks=unpack_all(columns["yardsticks"]),
        model_versions=np.array(columns["model_version"], dtype=np.str_),
        resolved_numbers=ints("resolved_number"),
        delayed=np.array(columns["delayed"], dtype=bool),
        moves=floats("log_move"),
        revised_moves=floats("revised_move"),
    )
