"""Follows the market: when a session has closed, all forecasts are made anew."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from prediction_svc.batches import Batch, Draft, Order, RecordedTo, Survey, forecast, survey
from prediction_svc.book import Edition, Forecasts
from prediction_svc.editions import Editions
from prediction_svc.forecasting import Standing
from prediction_svc.judging import Judge, Scored
from prediction_svc.market import (
    LASTING,
    Market,
    MarketClock,
    MarketReader,
    MarketUnavailableError,
    Progress,
    is_before,
)
from prediction_svc.metrics import Metrics
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import HORIZON
from prediction_svc.recording import Recorder
from prediction_svc.training import Training
from prediction_svc.workers import WorkerDiedError, Workers

_log = logging.getLogger("foretick.issuing")
POLL_SECONDS = 0.5
AFTER_CLOSE_SECONDS = 0.1  # a close is final a moment after it, not at it
LONGEST_PAUSE_SECONDS = 30.0
SET_BACK_SECONDS = 15.0  # a clock that is behind for longer isn't late: it was set back
GROWING_SECONDS = 30.0  # a market that fetches is learned from once nothing came for so long


class Issuer:
    """Keeps the forecasts up to date for as long as `run` runs.

    `changed` wakes it: set by whoever has found, trained or been asked for something.
    """

    def __init__(  # noqa: PLR0913 - one place builds it, all by name or kind
        self,
        market: Market,
        reader: MarketReader,
        workers: Workers,
        *,
        editions: Editions,
        records: Recorder,
        training: Training,
        judge: Judge,
        metrics: Metrics,
        database_url: str | None,
        changed: asyncio.Event,
        poll_seconds: float = POLL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._market = market
        self._reader = reader
        self._workers = workers
        self._editions = editions
        self._records = records
        self._training = training
        self._judge = judge
        self._metrics = metrics
        self._database_url = database_url
        self._changed = changed
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._market_answers = True
        self._failures = 0
        self._forget()

    def _forget(self) -> None:
        self._edition: Edition | None = None
        # What the edition says, until it is written down, and what was told before it.
        self._draft: Draft | None = None
        self._earlier: Forecasts = {}
        self._survey: Survey | None = None
        self._is_made, self._is_scored = False, True
        self._progress: Progress | None = None
        self._grown_at = -GROWING_SECONDS
        self._tested = frozenset[str]()  # has been backtested, or cannot be
        self._behind_since: float | None = None

    async def run(self) -> None:
        """Follow the market until cancelled, or until another process has taken over.

        Begins with what is stored. What goes wrong is logged and tried again.
        """
        self._forget()
        self._changed.clear()
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                await self._wait(await self._turn())
        except LeaseLostError:
            _log.warning("forecasts are issued by another process now")
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._judge.close()
            await self._training.close()

    async def _listen(self) -> None:
        """Wake the loop whenever a session has closed."""
        while True:
            try:
                async for _ in self._market.closes():
                    self._changed.set()
            except MarketUnavailableError as error:
                _log.debug("closes are not told (%s); the clock is asked for them", error)
            await asyncio.sleep(self._poll_seconds)

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
            # Not `wait_for`: before Python 3.12 it loses a cancellation that comes with the event.
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _follow(self, clock: MarketClock) -> None:
        edition = self._edition
        if edition is None or clock.market_id != edition.market_id:
            edition = self._edition = await self._turn_to(clock)
        if self._is_late(clock, edition):
            return
        edition = await self._take_score(edition)
        progress = await self._market.progress()
        has_closed = clock.closed_sessions != edition.closed_sessions
        if has_closed or not self._is_made or self._judge.backtested is not None:
            edition = await self._issue(edition, clock)
        elif self._is_news(progress, edition) or (self._survey and self._survey.late):
            edition = await self._supplement(edition, clock)
        self._progress = progress
        if self._survey and not edition.finished:
            edition = replace(edition, finished=self._is_finished(edition, self._survey))
        self._edition, _ = await self._record(edition, clock)
        self._tend(self._edition)

    async def _turn_to(self, clock: MarketClock) -> Edition:
        """Let all replicas serve what is stored of a market, or that its forecasts are made."""
        await self._judge.close()
        self._forget()
        edition = await self._editions.kept(clock.market_id)
        if edition is None:
            edition = Edition(clock.market_id, frozenset(), {}, {})
        edition = await self._editions.publish(edition)
        await self._training.open(clock.market_id)
        self._is_made = (
            edition.finished and edition.recipe_hash == self._training.recipe.fingerprint()
        )
        _log.info("following market %s", clock.market_id)
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

    def _is_news(self, progress: Progress, edition: Edition) -> bool:
        """Whether the market may know a history that it did not."""
        if self._progress is None:  # a replica that has just taken over
            return progress.known not in {0, len(edition.known)}
        return progress != self._progress

    async def _issue(self, edition: Edition, clock: MarketClock) -> Edition:
        """Take in what came of earlier forecasts, then make all of them anew."""
        self._is_made = False
        begun, market_id, order = self._monotonic(), clock.market_id, Order(self._reader, clock)
        fitted = self._training.latest_unscheduled
        since = None if fitted is None else fitted.session_date
        recorded_to = await self._records.recorded_to(market_id)
        found = await self._workers.run(survey, order, self._database_url, since)
        if found.known - edition.known:
            self._grown_at = self._monotonic()
        resolved = await self._records.resolve(market_id, found.outcomes, clock.market_time)
        if resolved:
            _log.info("%d forecasts have their outcomes", resolved)
            self._is_scored = False
        carried = await self._carried(edition, found)
        batch, models = await self._forecast(order, carried, recorded_to)
        self._earlier, self._draft, self._survey = edition.forecasts, batch.draft, found
        latest = models[-1].facts if models else None
        made = replace(
            carried,
            known=found.known,
            forecasts=batch.forecasts,
            refusals={**found.refusals, **batch.refusals},
            model=latest,
            closed_sessions=clock.closed_sessions,
            recipe_hash=self._training.recipe.fingerprint(),
            finished=self._is_finished(carried, found),
        ).scored()
        count = len(made.next_forecasts)
        by = latest.version if latest else "no-learning"
        _log.info("%d forecasts by %s, %d symbols without", count, by, len(made.refusals))
        if found.late:
            _log.warning("no prices in time of %s; again soon", ", ".join(found.late))
        made, is_recorded = await self._record(made, clock)
        if not is_recorded:
            made = await self._editions.publish(made)
        self._metrics.batch.observe(self._monotonic() - begun)
        if latest is not None:
            self._metrics.model_created.set(latest.create_time.timestamp())
        self._is_made = True
        return made

    async def _carried(self, edition: Edition, found: Survey) -> Edition:
        """The edition with what the next forecasts carry on from."""
        standing, number = await self._records.advance(edition, found.groups, self._training.recipe)
        promotion, tested = edition.promotion, self._judge.backtested
        if tested is not None and tested.market_id == edition.market_id:
            if not tested.promotion.continues(promotion):
                standing = dict(tested.standing)
            promotion = tested.promotion
        self._judge.backtested = None
        carried = replace(edition, promotion=promotion, resolved_number=number)
        before = standing.get(HORIZON, Standing())
        standing[HORIZON] = replace(before, directions=carried.directions)
        return replace(carried, standing=standing)

    async def _forecast(
        self, order: Order, carried: Edition, recorded_to: RecordedTo
    ) -> tuple[Batch, list[TrainedModel]]:
        versions = carried.promotion.model_versions if carried.promotion else ()
        models = self._training.models(versions)
        batch = await self._workers.run(
            forecast, order, models, carried.standing, recorded_to, self._training.recipe
        )
        return batch, models

    def _is_finished(self, carried: Edition, found: Survey) -> bool:
        """Whether forecasts would be no better if they were made again before the next close."""
        return (
            not found.late
            and not self._training.missing(found.fits)
            and self._is_promoted(carried, self._training.serving_models(found.fits))
        )

    def _is_promoted(self, edition: Edition, models: Sequence[TrainedModel]) -> bool:
        """Whether the models that should answer have been backtested by the recipe that serves."""
        promotion = edition.promotion
        return (
            promotion is not None
            and promotion.recipe_hash == self._training.recipe.fingerprint()
            and promotion.model_versions == tuple(model.version for model in models)
        )

    async def _supplement(self, edition: Edition, clock: MarketClock) -> Edition:
        """Forecast the symbols that the market has bars of only now."""
        refused = {s for s, each in edition.refusals.items() if each.reason in LASTING}
        have = frozenset(edition.next_forecasts) | refused
        late = frozenset(self._survey.late) if self._survey else frozenset[str]()
        order = Order(self._reader, clock, have - late)
        recorded_to = await self._records.recorded_to(edition.market_id)
        found = await self._workers.run(survey, order, None)
        self._survey = found
        if not (found.known - order.have):
            return edition
        self._grown_at = self._monotonic()
        batch, _ = await self._forecast(order, edition, recorded_to)
        forecasts = {
            horizon: {**edition.forecasts.get(horizon, {}), **made}
            for horizon, made in batch.forecasts.items()
        }
        answered = batch.forecasts.get(HORIZON, {}).keys()
        kept = {s: each for s, each in edition.refusals.items() if s not in answered}
        supplemented = replace(
            edition,
            known=found.known,
            forecasts={**edition.forecasts, **forecasts},
            refusals={**kept, **found.refusals, **batch.refusals},
        ).scored()
        self._earlier = edition.forecasts
        self._draft = batch.draft if self._draft is None else self._draft.joined(batch.draft)
        supplemented, is_recorded = await self._record(supplemented, clock)
        if not is_recorded:
            supplemented = await self._editions.publish(supplemented)
        return supplemented

    async def _record(self, edition: Edition, clock: MarketClock) -> tuple[Edition, bool]:
        """Write the edition down once no better one will come, or before it is too late.

        Returns it as it stands then, and whether it was, and is published.
        """
        draft = self._draft
        if draft is None or not (edition.finished or draft.is_urgent(clock.market_time)):
            return edition, False
        now = await self._market.clock()
        if now.market_id != edition.market_id:
            return edition, False
        standing = await self._records.write_down(edition, draft, now.market_time, self._earlier)
        self._draft, self._is_scored = None, False  # what was issued is part of the record
        self._earlier = {}
        return await self._editions.publish(standing), True

    async def _take_score(self, edition: Edition) -> Edition:
        """Tell the scores of the live record, where it has just been scored."""
        scored, self._judge.scored = self._judge.scored, None
        if scored is None or scored.market_id != edition.market_id:
            return edition
        self._heed(scored)
        of_next = scored.records.get(HORIZON)
        told = replace(
            edition,
            live_scores={
                horizon: {symbol: each.score for symbol, each in record.symbols.items()}
                for horizon, record in scored.records.items()
            },
            live_directions=of_next.decided_directions if of_next else {},
        ).scored()
        return await self._editions.publish(told) if told != edition else told

    def _heed(self, scored: Scored) -> None:
        """Tell what the live record says of coverage, and fit a model where an alarm rings."""
        for horizon, record in scored.records.items():
            alarm, pooled = record.coverage_alarm, record.pooled
            if alarm is not None:
                self._metrics.coverage.labels(horizon).set(alarm.mean)
            rings = {
                "coverage": alarm is not None and alarm.rings,
                "drift": pooled is not None and pooled.drift_alarm,
            }
            for name, is_ringing in rings.items():
                self._metrics.alarm.labels(name, horizon).set(is_ringing)
            if horizon == HORIZON and any(rings.values()) and self._survey and self._survey.latest:
                self._training.refit_on_alarm(self._survey.latest, self._survey.sessions_since)

    def _tend(self, edition: Edition) -> None:
        """Begin what is due in the background: to train, to backtest or to score."""
        found = self._survey
        if found is None:
            return
        is_growing = not (self._progress and self._progress.is_over)
        if is_growing and self._monotonic() - self._grown_at < GROWING_SECONDS:
            return
        self._training.train_missing(found.fits, found.latest)
        if self._judge.is_busy:
            return
        models = self._training.serving_models(found.fits)
        tested = self._tested | (edition.promotion.symbols if edition.promotion else frozenset())
        if not (self._is_promoted(edition, models) and edition.next_forecasts.keys() <= tested):
            self._tested = frozenset(edition.next_forecasts)
            self._judge.backtest(edition.market_id, models, self._training.recipe)
        elif not self._is_scored:
            self._is_scored = True
            self._judge.score(edition.market_id, self._training.recipe)
