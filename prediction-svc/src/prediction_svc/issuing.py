"""Follows the market's clock: when a session has closed, all forecasts are made anew."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from prediction_svc import jobs
from prediction_svc.book import Book, Edition, issue
from prediction_svc.histories import History
from prediction_svc.market import (
    TIMED_OUT,
    Market,
    MarketClock,
    MarketUnavailableError,
    Refusal,
    SymbolBars,
    Universe,
)
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.training import Models, Training
from prediction_svc.workers import WorkerDiedError, Workers

_log = logging.getLogger("foretick.issuing")
FETCHES_AT_ONCE = 8
POLL_SECONDS = 2.0
AFTER_CLOSE_SECONDS = 0.1  # a close is final a moment after it, not at it
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class _Fetched:
    bars: dict[str, SymbolBars]
    refusals: dict[str, Refusal]

    @property
    def histories(self) -> list[History]:
        return [bars.history for bars in self.bars.values() if len(bars.history)]


class Issuer:
    """Keeps the book of forecasts up to date for as long as `run` runs."""

    def __init__(
        self,
        market: Market,
        workers: Workers,
        models: Models,
        recipe: Recipe,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.book = Book()
        self._market = market
        self._workers = workers
        self._recipe = recipe
        self._poll_seconds = poll_seconds
        self._models_changed = asyncio.Event()
        self.training = Training(workers, models, recipe, self._models_changed.set)
        self._market_id = ""
        self._issued_after: frozenset[tuple[str, str]] | None = None
        self._market_answers = True
        self._failures = 0

    async def run(self) -> None:
        """Follow the market until cancelled. What goes wrong is logged and tried again."""
        try:
            while True:
                await self._wait(await self._turn())
        finally:
            await self.training.close()

    async def _turn(self) -> float:
        """Do what there is to do; return the seconds until there may be more."""
        try:
            clock = await self._market.clock()
            await self._follow(clock)
        except MarketUnavailableError as error:
            if not self._market_id and self._market_answers:
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
        self._issued_after = None

    async def _follow(self, clock: MarketClock) -> None:
        if clock.market_id != self._market_id:
            self.book.edition = None
            self._issued_after = None
            await self.training.open(clock.market_id)
            self._market_id = clock.market_id
            _log.info("following market %s", clock.market_id)
        if clock.closed_sessions == self._issued_after:
            return
        self._issued_after = None  # until this batch is out
        universe = await self._market.universe()
        if universe.market_id != clock.market_id:
            raise MarketUnavailableError(f"it changed to {universe.market_id} meanwhile")
        if self.book.edition is None:
            self.book.edition = Edition(clock.market_id, universe.symbols, {}, {}, None)
        fetched = await self._fetch(universe)
        self.book.edition = await self._edition(clock, universe, fetched)
        timed_out = [s for s, refusal in fetched.refusals.items() if refusal.reason == TIMED_OUT]
        if timed_out:
            _log.warning("no prices in time of %s; again soon", ", ".join(sorted(timed_out)))
        else:
            self._issued_after = clock.closed_sessions
        self.training.train_missing(fetched.histories)

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

    async def _edition(self, clock: MarketClock, universe: Universe, fetched: _Fetched) -> Edition:
        histories = fetched.histories
        models = self.training.serving_models(histories)
        batch = await self._batch(histories, models)
        forecasts = {
            s: issue(made, fetched.bars[s], clock.market_time) for s, made in batch.items()
        }
        refusals = dict(fetched.refusals)
        for symbol in fetched.bars.keys() - batch.keys():
            refusals[symbol] = self._too_short(fetched.bars[symbol].history)
        used = {made.model_version for made in batch.values()}
        latest = next((model for model in reversed(models) if model.version in used), None)
        if latest is not None and latest != (self.book.edition and self.book.edition.model):
            scores = {s: made.score for s, made in batch.items() if made.model_version}
            await self.training.record_scores(latest.version, scores)
        _log.info(
            "%d forecasts by %s, %d symbols without",
            len(forecasts),
            latest.version if latest else "no-learning",
            len(refusals),
        )
        return Edition(universe.market_id, universe.symbols, forecasts, refusals, latest)

    async def _batch(
        self, histories: Sequence[History], models: Sequence[TrainedModel]
    ) -> jobs.Batch:
        if not histories:
            return {}
        if not models:
            return await self._workers.run(jobs.forecast_without_learning, histories, self._recipe)
        return await self._workers.run(jobs.forecast_with_models, histories, models, self._recipe)

    def _too_short(self, history: History) -> Refusal:
        least = self._recipe.min_bars
        if len(history) < least:
            message = f"{history.symbol} has {len(history)} sessions; {least} are needed."
        else:
            message = "The market's histories are too short for forecasts yet."
        return Refusal("HISTORY_TOO_SHORT", message)
