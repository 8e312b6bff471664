"""Follows the market's clock: when a session has closed, all forecasts are made anew."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Self

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from prediction_svc import jobs
from prediction_svc.book import Edition, IssuedForecast, issue
from prediction_svc.eligibility import why_not
from prediction_svc.fits import fits_of, latest_fit
from prediction_svc.histories import History
from prediction_svc.market import (
    TIMED_OUT,
    Market,
    MarketClock,
    MarketUnavailableError,
    Refusal,
    Sessions,
    SymbolBars,
    Universe,
    is_before,
)
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.recording import must_be_recorded_now
from prediction_svc.training import Models, Training, Trainings
from prediction_svc.workers import WorkerDiedError, Workers

_log = logging.getLogger("foretick.issuing")
FETCHES_AT_ONCE = 8
POLL_SECONDS = 2.0
AFTER_CLOSE_SECONDS = 0.1  # a close is final a moment after it, not at it
LONGEST_PAUSE_SECONDS = 30.0
LASTING = frozenset({"PRICES_INVALID", "SYMBOL_NOT_FOUND"})  # reasons that stay for a session
SET_BACK_SECONDS = 15.0  # a clock that is behind for longer isn't late: it was set back


class Editions(Protocol):
    """Where editions are kept, for every replica to serve. Writing raises LeaseLostError."""

    async def kept(self, market_id: str) -> Edition | None:
        """Return the latest edition of a market."""

    async def publish(self, edition: Edition) -> None:
        """Keep an edition as the latest of all markets."""


class Records(Protocol):
    """Where forecasts are written down before the fact. Writing raises LeaseLostError."""

    async def write_down(
        self,
        edition: Edition,
        bars: Mapping[str, SymbolBars],
        clock: MarketClock,
        earlier: Mapping[str, IssuedForecast],
    ) -> Edition:
        """Record an edition; return it as it stands, given the forecasts told before it."""

    async def resolve(
        self, market_id: str, bars: Mapping[str, SymbolBars], market_time: datetime
    ) -> int:
        """Record what came of earlier forecasts; return how many outcomes."""


@dataclass
class _Held:
    """Reads the histories that are at hand."""

    histories: list[History] = field(default_factory=list)

    def read(self) -> Self:
        return self


@dataclass(frozen=True)
class _Fetched:
    bars: dict[str, SymbolBars]
    refusals: dict[str, Refusal]

    @property
    def histories(self) -> list[History]:
        return [bars.history for bars in self.bars.values() if len(bars.history)]

    def late(self, closed: Sessions) -> list[str]:
        """Symbols that timed out, or whose answer came from before the sessions had closed.

        Replicas of the market differ by a moment, so bars may come from one that is behind.
        """
        last = dict(closed)
        timed_out = [s for s, refusal in self.refusals.items() if refusal.reason == TIMED_OUT]
        behind = [
            symbol
            for symbol, bars in self.bars.items()
            if bars.next_session_date <= last.get(bars.exchange_code, "")
        ]
        return sorted(timed_out + behind)

    def is_whole(self, closed: Sessions) -> bool:
        """Whether asking again before the next close would bring nothing else."""
        lasting = all(refusal.reason in LASTING for refusal in self.refusals.values())
        return lasting and not self.late(closed)


class Issuer:
    """Keeps the forecasts up to date for as long as `run` runs."""

    def __init__(  # noqa: PLR0913 - one place builds it, all by name or kind
        self,
        market: Market,
        workers: Workers,
        models: Models,
        *,
        trainings: Trainings,
        editions: Editions,
        records: Records,
        recipe: Recipe,
        poll_seconds: float = POLL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._market = market
        self._workers = workers
        self._editions = editions
        self._records = records
        self._recipe = recipe
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._models_changed = asyncio.Event()
        self._held = _Held()
        self.training = Training(
            workers,
            self._held,
            models,
            trainings,
            recipe,
            done=self._models_changed.set,
        )
        self._edition: Edition | None = None
        # What the edition was made from, until it is written down, and what was told before it.
        self._unrecorded: Mapping[str, SymbolBars] | None = None
        self._earlier: Mapping[str, IssuedForecast] = {}
        self._done_for: Sessions | None = None
        self._behind_since: float | None = None
        self._market_answers = True
        self._failures = 0

    async def run(self) -> None:
        """Follow the market until cancelled, or until another process has taken over.

        Begins with what is stored. What goes wrong is logged and tried again.
        """
        self._edition = self._unrecorded = self._done_for = self._behind_since = None
        self._models_changed.clear()
        try:
            while True:
                await self._wait(await self._turn())
        except LeaseLostError:
            _log.warning("forecasts are issued by another process now")
        finally:
            await self.training.close()

    async def _turn(self) -> float:
        """Do what there is to do; return the seconds until there may be more."""
        try:
            clock = await self._market.clock()
            await self._follow(clock)
        except LeaseLostError:
            raise
        except DatabaseUnavailableError:
            return self._poll_seconds  # the database itself says so in the log
        except MarketUnavailableError as error:
            if self._edition is None and self._market_answers:
                _log.info("waiting for the market")
            elif self._market_answers:
                _log.warning("the market does not answer (%s); forecasts stay as they are", error)
            self._market_answers = False
            return self._poll_seconds
        except WorkerDiedError as error:
            return self._retry_pause(str(error))
        except Exception as error:  # noqa: BLE001 - logged; the old forecasts stay
            _log.exception("forecasts were not made")
            return self._retry_pause(type(error).__name__)
        if not self._market_answers:
            _log.info("the market answers again")
        self._market_answers, self._failures = True, 0
        if clock.next_change_seconds is None:
            return self._poll_seconds
        return min(clock.next_change_seconds + AFTER_CLOSE_SECONDS, self._poll_seconds)

    def _retry_pause(self, what: str) -> float:
        self._failures += 1
        pause = min(self._poll_seconds * 2.0 ** (self._failures - 1), LONGEST_PAUSE_SECONDS)
        _log.warning("forecasts were not made (%s); again in %g s", what, pause)
        return pause

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._models_changed.wait(), seconds)
        except TimeoutError:
            return
        self._models_changed.clear()
        self._done_for = None

    async def _follow(self, clock: MarketClock) -> None:
        if self._edition is None or clock.market_id != self._edition.market_id:
            self._edition = await self._turn_to(clock)
        if self._is_late(clock, self._edition):
            return
        if clock.closed_sessions == self._done_for:
            await self._record(self._edition, clock)
            return
        self._done_for = None  # until this batch is out
        universe = await self._universe(clock)
        fetched = await self._fetch(universe)
        resolved = await self._records.resolve(clock.market_id, fetched.bars, clock.market_time)
        if resolved:
            _log.info("%d forecasts have their outcomes", resolved)
        self._earlier = self._edition.forecasts
        self._edition = await self._make(clock, universe, fetched)
        self._unrecorded = fetched.bars
        if not await self._record(self._edition, clock):
            await self._editions.publish(self._edition)
        if late := fetched.late(clock.closed_sessions):
            _log.warning("no prices in time of %s; again soon", ", ".join(late))
        else:
            self._done_for = clock.closed_sessions
        self._held.histories = fetched.histories
        self.training.train_missing(fits_of(fetched.histories), latest_fit(fetched.histories))

    async def _record(self, edition: Edition, clock: MarketClock) -> bool:
        """Write the edition down once no better one will come, or before it is too late.

        Returns whether it was, and is published as it stands then.
        """
        bars = self._unrecorded
        if bars is None or not (edition.finished or must_be_recorded_now(bars.values(), clock)):
            return False
        now = await self._market.clock()
        if now.market_id != edition.market_id:
            return False
        self._edition = await self._records.write_down(edition, bars, now, self._earlier)
        self._unrecorded = None
        await self._editions.publish(self._edition)
        return True

    async def _turn_to(self, clock: MarketClock) -> Edition:
        """Let all replicas serve what is stored of a market, or that its forecasts are made."""
        market_id = clock.market_id
        edition = await self._editions.kept(market_id)
        if edition is None:
            universe = await self._universe(clock)
            edition = Edition(market_id, universe.symbols, {}, {})
        await self._editions.publish(edition)
        await self.training.open(market_id)
        is_current = edition.finished and edition.recipe_hash == self._recipe.fingerprint()
        self._done_for = edition.closed_sessions if is_current else None
        self._behind_since = None
        _log.info("following market %s", market_id)
        return edition

    def _is_late(self, clock: MarketClock, edition: Edition) -> bool:
        """Whether the clock is behind the latest edition, and hasn't been for long.

        Of several replicas of the market one may be behind for a moment. But a market can also
        be set back.
        """
        if not is_before(clock.closed_sessions, edition.closed_sessions):
            self._behind_since = None
            return False
        now = self._monotonic()
        if self._behind_since is None:
            self._behind_since = now
        return now - self._behind_since < SET_BACK_SECONDS

    async def _universe(self, clock: MarketClock) -> Universe:
        universe = await self._market.universe()
        if universe.market_id != clock.market_id:
            raise MarketUnavailableError(f"it changed to {universe.market_id} meanwhile")
        return universe

    async def _fetch(self, universe: Universe) -> _Fetched:
        turns = asyncio.Semaphore(FETCHES_AT_ONCE)

        async def one(symbol: str) -> SymbolBars | Refusal:
            async with turns:
                return await self._market.bars(symbol)

        symbols = sorted(universe.symbols)
        fetches = [asyncio.ensure_future(one(symbol)) for symbol in symbols]
        try:
            answers = await asyncio.gather(*fetches)
        finally:
            for fetch in fetches:
                fetch.cancel()
        found = dict(zip(symbols, answers, strict=True))
        bars = {s: answer for s, answer in found.items() if isinstance(answer, SymbolBars)}
        if any(answer.market_id != universe.market_id for answer in bars.values()):
            raise MarketUnavailableError("it changed while histories were read")
        refusals = {s: answer for s, answer in found.items() if isinstance(answer, Refusal)}
        if not bars and {refusal.reason for refusal in refusals.values()} == {TIMED_OUT}:
            raise MarketUnavailableError("no history came in time")
        return _Fetched(bars, refusals)

    async def _make(self, clock: MarketClock, universe: Universe, fetched: _Fetched) -> Edition:
        histories = fetched.histories
        models = self.training.serving_models(fits_of(histories))
        batch = await self._batch(histories, models)
        forecasts = {
            s: issue(made, fetched.bars[s], clock.market_time) for s, made in batch.items()
        }
        refusals = dict(fetched.refusals)
        for symbol in fetched.bars.keys() - batch.keys():
            refusals[symbol] = self._why_not(fetched.bars[symbol].history)
        used = {made.model_version for made in batch.values()}
        latest = next((model for model in reversed(models) if model.version in used), None)
        told = latest.facts if latest else None
        _log.info(
            "%d forecasts by %s, %d symbols without",
            len(forecasts),
            latest.version if latest else "no-learning",
            len(refusals),
        )
        return Edition(
            market_id=universe.market_id,
            known=universe.symbols,
            forecasts=forecasts,
            refusals=refusals,
            model=told,
            closed_sessions=clock.closed_sessions,
            recipe_hash=self._recipe.fingerprint(),
            finished=fetched.is_whole(clock.closed_sessions)
            and not self.training.missing(fits_of(histories)),
        )

    async def _batch(
        self, histories: Sequence[History], models: Sequence[TrainedModel]
    ) -> jobs.Batch:
        if not histories:
            return {}
        if not models:
            return await self._workers.run(jobs.forecast_without_learning, histories, self._recipe)
        return await self._workers.run(jobs.forecast_with_models, histories, models, self._recipe)

    def _why_not(self, history: History) -> Refusal:
        reason = why_not(history, self._recipe)
        if reason is not None:
            return Refusal(reason.reason, reason.message)
        message = "The market's histories are too short for forecasts yet."
        return Refusal("HISTORY_TOO_SHORT", message)
