"""What forecasts have been worth, found out in the background.

Models answer once they have been backtested; and after each close the ledger is scored.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import LeaseLostError
from prediction_svc.backtesting import BacktestedMarket, backtest_market, score_market
from prediction_svc.market import MarketReader, MarketUnavailableError
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.track_record import Basis, TrackRecord
from prediction_svc.workers import Progress, WorkerDiedError, Workers

_log = logging.getLogger("foretick.judging")
RETRY_SECONDS = 5.0


class Records(Protocol):
    """Where track records are kept, for every replica to tell. Writing raises LeaseLostError."""

    async def save(self, market_id: str, basis: Basis, records: Mapping[int, TrackRecord]) -> None:
        """Keep the records of a market by horizon."""


@dataclass(frozen=True)
class Scored:
    """The live record of a market, by horizon."""

    market_id: str
    records: Mapping[int, TrackRecord]


class Judge:
    """One judgement at a time; `done` is called when one has been reached.

    What it found lies in `backtested` and `scored` until somebody takes it away.
    """

    def __init__(  # noqa: PLR0913 - one place builds it, all by name or kind
        self,
        workers: Workers,
        reader: MarketReader,
        track_records: Records,
        *,
        database_url: str,
        done: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._workers = workers
        self._reader = reader
        self._track_records = track_records
        self._database_url = database_url
        self._done = done
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self.backtested: BacktestedMarket | None = None
        self.scored: Scored | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a judgement is under way, or lies to be taken away."""
        under_way = self._task is not None and not self._task.done()
        return under_way or self.backtested is not None or self.scored is not None

    def backtest(self, market_id: str, models: Sequence[TrainedModel], recipe: Recipe) -> None:
        """Begin to replay a recipe with some models, or without any."""
        judge = partial(self._backtest, market_id, models, recipe)
        self._task = asyncio.create_task(self._run(judge))

    def score(self, market_id: str, recipe: Recipe) -> None:
        """Begin to score the ledger."""
        self._task = asyncio.create_task(self._run(partial(self._score, market_id, recipe)))

    async def close(self) -> None:
        """Stop what is under way, and forget what was found."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = self.backtested = self.scored = None

    async def _run(self, judge: Callable[[], Awaitable[None]]) -> None:
        """Try until there is a judgement, unless what fails will not be better the next time."""
        while True:
            try:
                await judge()
            except LeaseLostError:
                return _log.info("judging ends here: another process has taken over")
            except DatabaseUnavailableError:
                await self._sleep(RETRY_SECONDS)  # the database itself says so in the log
            except (MarketUnavailableError, WorkerDiedError) as error:
                _log.warning("no judgement yet (%s); again in %g s", error, RETRY_SECONDS)
                await self._sleep(RETRY_SECONDS)
            except Exception:  # noqa: BLE001 - logged; forecasts go on without it
                return _log.exception("forecasts were not judged; again after the next close")
            else:
                return self._done()

    async def _backtest(
        self, market_id: str, models: Sequence[TrainedModel], recipe: Recipe
    ) -> None:
        tested = await self._workers.train(
            backtest_market, self._reader, models, recipe, told=_untold
        )
        if tested.market_id != market_id:
            raise MarketUnavailableError(f"it changed to {tested.market_id} meanwhile")
        await self._track_records.save(market_id, Basis.BACKTEST, tested.records)
        self.backtested = tested

    async def _score(self, market_id: str, recipe: Recipe) -> None:
        records = await self._workers.train(
            score_market, self._database_url, market_id, recipe, told=_untold
        )
        await self._track_records.save(market_id, Basis.LIVE, records)
        self.scored = Scored(market_id, records)


def _untold(_progress: Progress) -> None:
    """Nobody waits for a judgement."""
