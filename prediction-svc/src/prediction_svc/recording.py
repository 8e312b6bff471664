"""Writes forecasts down before the fact, and what came of them once it is known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from prediction_svc.batches import Draft, RecordedTo
from prediction_svc.book import Edition, Forecasts, IssuedForecast
from prediction_svc.forecasting import Standing
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_rows import Entry, LedgerForecast, MissedForecast, Outcome
from prediction_svc.metrics import Metrics
from prediction_svc.recipe import HORIZONS, Recipe
from prediction_svc.width import Resolved, advance_all


class Recorder:
    """The ledger, in the words of who issues forecasts. Writing raises LeaseLostError."""

    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics

    async def resolve(
        self, market_id: str, outcomes: Sequence[Outcome], market_time: datetime
    ) -> int:
        """Record what came of forecasts; return how many outcomes are new."""
        if not outcomes:
            return 0
        added, _ = await self._ledger.append_outcomes(market_id, outcomes, market_time)
        return added

    async def advance(
        self, edition: Edition, groups: Mapping[str, str], recipe: Recipe
    ) -> tuple[dict[int, Standing], int]:
        """What stands after all that the ledger has resolved, and the last row that it took in.

        A forecast of a symbol that has no group any longer tells nothing.
        """
        hits = await self._ledger.hits_since(edition.market_id, edition.resolved_number)
        standing = dict(edition.standing)
        for horizon in HORIZONS:
            of_horizon = [hit for hit in hits if hit.horizon == horizon]
            self._metrics.resolved.labels(horizon).inc(len(of_horizon))
            own = [hit for hit in of_horizon if hit.symbol in groups]
            by_close: dict[tuple[str, int], list[bool]] = {}
            for hit in own:
                by_close.setdefault((groups[hit.symbol], hit.resolved_day), []).append(hit.is_hit)
            resolved = [
                Resolved(group, day, sum(which), len(which))
                for (group, day), which in by_close.items()
            ]
            before = standing.get(horizon, Standing())
            states = advance_all(before.states, resolved, horizon, recipe)
            standing[horizon] = replace(before, states=states)
        return standing, max((hit.number for hit in hits), default=edition.resolved_number)

    async def recorded_to(self, market_id: str) -> RecordedTo:
        """The last as-of day that there is a row of, by horizon and symbol."""
        return await self._ledger.recorded_to(market_id)

    async def write_down(
        self, edition: Edition, draft: Draft, market_time: datetime, earlier: Forecasts
    ) -> Edition:
        """Record an edition's forecasts, and those that nobody made in time.

        Returns the edition as it stands in the ledger: what was written down first is what counts,
        told as in the `earlier` forecasts that it came with, and a forecast that came too late has
        no number.
        """
        market_id = edition.market_id
        recorded_to = await self._ledger.recorded_to(market_id)
        appended = await self._ledger.append(market_id, [*draft.missed, *draft.rows], market_time)
        entries = appended.entries
        # One that is new to the ledger was added while its session was open: nobody missed it.
        late = [
            _too_late(each)
            for each in appended.late
            if each.symbol in recorded_to.get(each.horizon, {})
        ]
        if late:
            appended = await self._ledger.append(market_id, late, market_time)
            entries = (*entries, *appended.entries)
        self._count(entries, market_time)
        self._metrics.ledger_head.labels(market_id).set(appended.head.count)
        issued = {horizon: dict(batch) for horizon, batch in edition.forecasts.items()}
        for entry in entries:
            said = entry.said
            own = issued.get(said.horizon, {})
            if isinstance(said, LedgerForecast) and said.symbol in own:
                before = earlier.get(said.horizon, {}).get(said.symbol)
                is_known = before is not None and before.ledger_number == entry.number
                own[said.symbol] = (
                    before if before and is_known else _standing(own[said.symbol], entry, said)
                )
        return replace(edition, forecasts=issued).scored()

    def _count(self, entries: Iterable[Entry], market_time: datetime) -> None:
        """Tell how many of them are new."""
        for entry in entries:
            if entry.issue_time == market_time:
                is_missed = isinstance(entry.said, MissedForecast)
                counter = self._metrics.missed if is_missed else self._metrics.issued
                counter.labels(entry.said.horizon).inc()


def _standing(issued: IssuedForecast, entry: Entry, said: LedgerForecast) -> IssuedForecast:
    """The forecast with the numbers that were written down."""
    same = said.model_version == issued.model_version
    return replace(
        issued,
        target_day=said.target_day,
        log_moves=said.quantiles,
        p_up=said.p_up,
        model_version=said.model_version,
        explanation=issued.explanation if same else None,
        issue_time=entry.issue_time,
        ledger_number=entry.number,
    )


def _too_late(forecast: LedgerForecast) -> MissedForecast:
    return MissedForecast(
        symbol=forecast.symbol,
        horizon=forecast.horizon,
        as_of_day=forecast.as_of_day,
        target_day=forecast.target_day,
        deadline=forecast.deadline,
        reason="TOO_LATE",
    )
