"""What the ledger says: forecasts, forecasts that were missed, and what came of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from prediction_svc.schema import QUANTILE_COLUMNS
from prediction_svc.yardsticks import Yardsticks

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_LENGTHS = {
    "symbol": 32,
    "forecaster": 32,
    "model_version": 64,
    "actions_version": 64,
    "currency_code": 16,
    "reason": 64,
}


def micros(instant: datetime) -> int:
    """Microseconds of an instant since the epoch. Raises ValueError where it has no time zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone")
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant_of(microseconds: int) -> datetime:
    """The instant, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


class Key(NamedTuple):
    """What a market has one row of at most; days count from 1970-01-01."""

    as_of_day: int
    symbol: str
    horizon: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerForecast:
    """A forecast as it is written down. Moves are log moves from the reference close."""

    symbol: str
    horizon: int
    as_of_day: int
    target_day: int
    target_inferred: bool
    deadline: datetime
    """The first instant, in market time, at which it is refused."""
    reference_close: float
    """Close of the as-of session as it was traded: later splits are undone."""
    currency_code: str
    actions_version: str
    """Names the splits and dividends that were known; see `outcomes.actions_version`."""
    quantiles: tuple[float, ...]
    """One for each of recipe.LEVELS, never falling."""
    p_up: float
    expected_move: float
    forecaster: str
    model_version: str
    """Empty where nothing was learned."""
    inputs_hash: bytes
    """SHA-256 of all that the numbers were made from, the state of the width control too."""
    yardsticks: Yardsticks | None = None
    """What it is judged by; None where a naive forecaster had too few bars, so it is not scored."""

    @property
    def key(self) -> Key:
        """What the market has one of."""
        return Key(self.as_of_day, self.symbol, self.horizon)

    def columns(self) -> dict[str, object]:
        """The row without its place in the chain. Raises ValueError, naming what is wrong."""
        row: dict[str, object] = {
            "kind": "forecast",
            **_session_columns(self),
            "target_inferred": int(self.target_inferred),
            "forecaster": self.forecaster,
            "model_version": self.model_version,
            "inputs_hash": bytes(self.inputs_hash),
            "actions_version": self.actions_version,
            "currency_code": self.currency_code,
            "reference_close": _number("reference_close", self.reference_close),
            **_quantile_columns(self.quantiles),
            "p_up": _number("p_up", self.p_up),
            "expected_move": _number("expected_move", self.expected_move),
            "reason": "",
            "yardsticks": None if self.yardsticks is None else self.yardsticks.packed(),
        }
        if len(self.inputs_hash) != 32:
            raise ValueError(f"{self.symbol}: inputs_hash must be the 32 bytes of a SHA-256")
        if not self.reference_close > 0:
            raise ValueError(f"{self.symbol}: reference_close must be above 0")
        if not 0 <= self.p_up <= 1:
            raise ValueError(f"{self.symbol}: p_up must be between 0 and 1")
        _check(row)
        return row


@dataclass(frozen=True, kw_only=True, slots=True)
class MissedForecast:
    """A forecast that was not made in time, and never will be."""

    symbol: str
    horizon: int
    as_of_day: int
    target_day: int
    deadline: datetime
    reason: str
    """Why, to branch on: SERVICE_AWAY, CORPORATE_ACTION_PENDING, …"""

    @property
    def key(self) -> Key:
        """What the market has one of."""
        return Key(self.as_of_day, self.symbol, self.horizon)

    def columns(self) -> dict[str, object]:
        """The row without its place in the chain. Raises ValueError, naming what is wrong."""
        numbers = ("reference_close", *QUANTILE_COLUMNS, "p_up", "expected_move")
        nothing = ("inputs_hash", *numbers, "yardsticks")
        texts = ("forecaster", "model_version", "actions_version", "currency_code")
        row: dict[str, object] = {
            "kind": "missed",
            **_session_columns(self),
            "target_inferred": 0,
            **dict.fromkeys(nothing),
            **dict.fromkeys(texts, ""),
            "reason": self.reason,
        }
        _check(row)
        return row


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a forecast.

    log_move = log((close · split_factor + dividend) / reference close). The four numbers and the
    session are None where the forecast stays unresolved.
    """

    forecast_number: int
    revision: int = 0
    """0 for what was recorded first, then one more with each revision."""
    resolved_day: int | None = None
    delayed: bool = False
    """Whether `resolved_day` is not the target session: the stock was not traded in that."""
    close: float | None = None
    split_factor: float | None = None
    dividend: float | None = None
    log_move: float | None = None
    reason: str = ""
    """Why it is unresolved: NOT_TRADED or SESSION_LOST."""

    @property
    def kind(self) -> str:
        """Resolved, unresolved or revised."""
        if self.revision:
            return "revised"
        return "unresolved" if self.log_move is None else "resolved"

    def columns(self) -> dict[str, object]:
        """The row without its place in the chain. Raises ValueError, naming what is wrong."""
        row: dict[str, object] = {
            "kind": self.kind,
            "forecast_number": int(self.forecast_number),
            "revision": int(self.revision),
            "resolved_day": None if self.resolved_day is None else int(self.resolved_day),
            "delayed": int(self.delayed),
            **{
                name: None if value is None else _number(name, value)
                for name in ("close", "split_factor", "dividend", "log_move")
                for value in [getattr(self, name)]
            },
            "reason": self.reason,
        }
        _check(row)
        return row


@dataclass(frozen=True, slots=True)
class Entry:
    """A forecast or a missed one where it stands in the ledger."""

    number: int
    row_hash: bytes
    issue_time: datetime
    """Market time at which it was written down."""
    said: LedgerForecast | MissedForecast


def entry_of(row: Mapping[Any, Any]) -> Entry:
    """Read a row of the forecasts."""
    where: dict[str, Any] = {"deadline": instant_of(row["deadline_micros"])}
    said: LedgerForecast | MissedForecast
    if row["kind"] == "missed":
        said = MissedForecast(
            **where, **{name: row[name] for name in _PLAIN_FIELDS[MissedForecast]}
        )
    else:
        packed = row["yardsticks"]
        said = LedgerForecast(
            **where,
            target_inferred=bool(row["target_inferred"]),
            quantiles=tuple(row[name] for name in QUANTILE_COLUMNS),
            yardsticks=None if packed is None else Yardsticks.unpacked(packed),
            **{name: row[name] for name in _PLAIN_FIELDS[LedgerForecast]},
        )
    return Entry(row["number"], row["row_hash"], instant_of(row["issue_micros"]), said)


_PLAIN_FIELDS = {
    kind: tuple(
        field.name
        for field in fields(kind)
        if field.name not in ("deadline", "target_inferred", "quantiles", "yardsticks")
    )
    for kind in (LedgerForecast, MissedForecast)
}


def _session_columns(said: LedgerForecast | MissedForecast) -> dict[str, object]:
    if said.horizon < 1 or said.target_day <= said.as_of_day:
        raise ValueError(f"{said.symbol}: the target session must come after the as-of session")
    return {
        "symbol": said.symbol,
        "horizon": int(said.horizon),
        "as_of_day": int(said.as_of_day),
        "target_day": int(said.target_day),
        "deadline_micros": micros(said.deadline),
    }


def _quantile_columns(quantiles: tuple[float, ...]) -> dict[str, float]:
    if any(low > high for low, high in pairwise(quantiles)):
        raise ValueError("quantiles must not fall")
    named = zip(QUANTILE_COLUMNS, quantiles, strict=True)
    return {name: _number(name, value) for name, value in named}


def _number(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value}")
    return float(value) + 0.0  # SQLite keeps no sign of a zero


def _check(row: Mapping[str, object]) -> None:
    for name, longest in _TEXT_LENGTHS.items():
        text = row.get(name, "")
        if not isinstance(text, str) or len(text) > longest or not (text.isprintable()):
            raise ValueError(f"{name} must be at most {longest} printable characters: {text!r}")
