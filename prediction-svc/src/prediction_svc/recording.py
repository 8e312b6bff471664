"""Writes forecasts down before the fact, and what came of them once it is known."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from prediction_svc.book import Edition, IssuedForecast
from prediction_svc.deadlines import deadline
from prediction_svc.histories import History, Ints
from prediction_svc.jobs import SymbolForecast
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_rows import Entry, LedgerForecast, MissedForecast, Outcome
from prediction_svc.market import MarketClock, SymbolBars
from prediction_svc.outcomes import OpenForecast, actions_version, due_outcomes
from prediction_svc.recipe import HORIZON, LEVELS
from prediction_svc.scores import UNSCORED

_EPOCH = date(1970, 1, 1)
_MIDDLE = LEVELS.index(0.5)
# An outcome is looked at again for so long: a source may revise its bars, or lose one.
_LOOK_BACK_DAYS = 40
# What a forecast was made from: more sessions than any feature looks back.
_HASHED_RETURNS = 600
# Part of the time between close and deadline that is kept for writing down what is there.
_RESERVE = 0.25


def can_be_recorded(bars: SymbolBars) -> bool:
    """Whether the bars end before the session to forecast; those of a lagging answer need not."""
    return len(bars.history) > 0 and bars.next_open >= _close(bars.history, -1)


def deadline_of(bars: SymbolBars, clock: MarketClock) -> datetime:
    """Until when, in market time, a forecast from these bars can be written down."""
    gap = timedelta(0) if clock.is_synthetic else None  # its nights pass in seconds
    return deadline(_close(bars.history, -1), bars.next_open, bars.next_close, gap=gap)


def must_be_recorded_now(bars: Iterable[SymbolBars], clock: MarketClock) -> bool:
    """Whether waiting for better forecasts would risk that one comes too late."""

    def is_near(each: SymbolBars) -> bool:
        last = deadline_of(each, clock)
        begin = last - _RESERVE * (last - _close(each.history, -1))
        return begin <= clock.market_time < last

    return any(is_near(each) for each in bars if can_be_recorded(each))


class Recorder:
    """The ledger, in the words of who issues forecasts. Writing raises LeaseLostError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def write_down(
        self,
        edition: Edition,
        bars: Mapping[str, SymbolBars],
        clock: MarketClock,
        earlier: Mapping[str, IssuedForecast],
    ) -> Edition:
        """Record the edition's forecasts, and those that nobody made in time.

        Returns the edition as it stands in the ledger: what was written down first is what counts,
        told as in the `earlier` edition that it came with, and a forecast that came too late has no
        number.
        """
        market_id, now = edition.market_id, clock.market_time
        recorded_to = await self._ledger.recorded_to(market_id, HORIZON)
        rows = [
            _row(edition, each, bars[symbol], clock)
            for symbol, each in edition.forecasts.items()
            if can_be_recorded(bars[symbol])
        ]
        missed = [
            each
            for symbol, last in recorded_to.items()
            if symbol in bars
            for each in _missed(bars[symbol].history, last)
        ]
        appended = await self._ledger.append(market_id, [*missed, *rows], now)
        # One that is new to the ledger was added while its session was open: nobody missed it.
        late = [_too_late(each) for each in appended.late if each.symbol in recorded_to]
        if late:
            await self._ledger.append(market_id, late, now)
        issued = dict(edition.forecasts)
        for entry in appended.entries:
            if isinstance(entry.said, LedgerForecast):
                symbol = entry.said.symbol
                before = earlier.get(symbol)
                issued[symbol] = (
                    before
                    if before is not None and before.ledger_number == entry.number
                    else _standing(issued[symbol], entry, entry.said)
                )
        return replace(edition, forecasts=issued)

    async def resolve(
        self, market_id: str, bars: Mapping[str, SymbolBars], market_time: datetime
    ) -> int:
        """Record what came of forecasts whose sessions have closed; return how many outcomes."""
        last = max((int(each.traded.days[-1]) for each in bars.values()), default=0)
        found = await self._ledger.open_forecasts(market_id, last, last - _LOOK_BACK_DAYS)
        outcomes = await asyncio.to_thread(_outcomes, found, bars)
        if not outcomes:
            return 0
        added, _ = await self._ledger.append_outcomes(market_id, outcomes, market_time)
        return added


def _row(
    edition: Edition, issued: IssuedForecast, bars: SymbolBars, clock: MarketClock
) -> LedgerForecast:
    made = issued.made
    as_of = int(np.searchsorted(bars.traded.days, made.as_of_day, side="right")) - 1
    return LedgerForecast(
        symbol=made.symbol,
        horizon=HORIZON,
        as_of_day=made.as_of_day,
        target_day=(date.fromisoformat(issued.target_session_date) - _EPOCH).days,
        target_inferred=issued.target_inferred,
        deadline=deadline_of(bars, clock),
        reference_close=float(bars.traded.closes_as_traded[as_of]),
        currency_code=issued.currency_code,
        actions_version=actions_version(bars.traded, made.as_of_day),
        quantiles=made.log_moves,
        p_up=made.p_up,
        expected_move=made.log_moves[_MIDDLE],
        forecaster="scale-model" if made.model_version else "no-learning",
        model_version=made.model_version,
        inputs_hash=_inputs_hash(edition, made, bars.history),
    )


def _inputs_hash(edition: Edition, made: SymbolForecast, history: History) -> bytes:
    """SHA-256 of the recipe, the universe, the model, the width and the symbol's own returns.

    Returns rather than prices, which later splits change.
    """
    returns = np.diff(np.log(history.closes[-_HASHED_RETURNS:]))
    digest = hashlib.sha256()
    for part in (edition.recipe_hash, *sorted(edition.known), made.model_version, made.width_state):
        digest.update(part.encode() + b"\n")
    digest.update(returns.tobytes())
    return digest.digest()


def _standing(issued: IssuedForecast, entry: Entry, said: LedgerForecast) -> IssuedForecast:
    """The forecast with the numbers that were written down, and the score of what made them."""
    same_forecaster = said.model_version == issued.made.model_version
    made = replace(
        issued.made,
        log_moves=said.quantiles,
        p_up=said.p_up,
        model_version=said.model_version,
        score=issued.made.score if same_forecaster else UNSCORED,
    )
    return replace(
        issued,
        made=made,
        target_session_date=(_EPOCH + timedelta(days=said.target_day)).isoformat(),
        issue_time=entry.issue_time,
        ledger_number=entry.number,
    )


def _missed(history: History, recorded_to: int) -> list[MissedForecast]:
    """The sessions after the last recorded one and before the latest: nobody can forecast them."""
    days = history.days
    first = int(np.searchsorted(days, recorded_to, side="right"))
    return [
        MissedForecast(
            symbol=history.symbol,
            horizon=HORIZON,
            as_of_day=int(days[row]),
            target_day=int(days[row + 1]),
            # When the target session opened is not known any more; by its close it was too late.
            deadline=_close(history, row + 1),
            reason="SERVICE_AWAY",
        )
        for row in range(first, len(days) - 1)
    ]


def _too_late(forecast: LedgerForecast) -> MissedForecast:
    return MissedForecast(
        symbol=forecast.symbol,
        horizon=forecast.horizon,
        as_of_day=forecast.as_of_day,
        target_day=forecast.target_day,
        deadline=forecast.deadline,
        reason="TOO_LATE",
    )


def _outcomes(
    found: Mapping[str, list[OpenForecast]], bars: Mapping[str, SymbolBars]
) -> list[Outcome]:
    codes = {each.exchange_code for each in bars.values()}
    sessions = {code: _sessions(code, bars.values()) for code in codes}
    return [
        outcome
        for symbol, forecasts in found.items()
        if symbol in bars
        for outcome in due_outcomes(
            forecasts, bars[symbol].traded, sessions[bars[symbol].exchange_code]
        )
    ]


def _sessions(exchange_code: str, bars: Iterable[SymbolBars]) -> Ints:
    """Sessions of an exchange that have closed: those in which any of its symbols has a bar."""
    own = [each.history.days for each in bars if each.exchange_code == exchange_code]
    return np.unique(np.concatenate(own)) if own else np.empty(0, dtype=np.int64)


def _close(history: History, row: int) -> datetime:
    return datetime.fromtimestamp(int(history.close_seconds[row]), UTC)
