"""Where training is, as it is stored for every replica to tell, and what is asked of the trainer.

One small row a market. The holder of the lease writes how far it is; any replica may ask for a
training or note that a model was withdrawn, and the holder finds that in the row.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from sqlalchemy import Connection, select, update

from foretick_rpc.database import Database, insert
from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import Lease
from prediction_svc.book import Book
from prediction_svc.recipe import Recipe
from prediction_svc.schema import trainings
from prediction_svc.workers import Progress

_log = logging.getLogger("foretick.trainings")
POLL_SECONDS = 0.5


class TrainingState(Enum):
    """Where training is."""

    IDLE = "idle"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True)
class TrainingStatus:
    """The row of one market."""

    market_id: str = ""
    state: TrainingState = TrainingState.IDLE
    stage: str = ""
    fraction: float = 0.0
    start_seconds: float = 0.0
    """When it began, by the wall clock."""
    message: str = ""
    """What went wrong, where it failed."""
    model_version: str = ""
    """What the last training made; empty where histories were too short."""
    asked: int = 0
    """How often a training was asked for."""
    answered: int = 0
    """How many of these have ended."""
    ended: int = 0
    """How many trainings of any kind have."""
    withdrawals: int = 0
    """How many models were withdrawn."""
    recipe: dict[str, Any] | None = None
    """Numbers of the recipe that serves, by name; None before the first."""
    rejected_recipe: str = ""
    """Fingerprint of one that was tried in vain."""
    recipe_note: str = ""
    """Why the recipe that serves does, for people; empty where there was no choice."""
    version: int = 0
    """Rises with each change."""

    def remaining_seconds(self, now: float) -> float | None:
        """Real time that is left, by what is done so far; None while that cannot be told."""
        if self.state is not TrainingState.RUNNING or not self.fraction > 0:
            return None
        return self.elapsed_seconds(now) * (1 - self.fraction) / self.fraction

    def elapsed_seconds(self, now: float) -> float:
        """Real time since it began; clocks of replicas may differ a little."""
        return max(now - self.start_seconds, 0.0)


@dataclass(frozen=True)
class Ticket:
    """What somebody who asked waits for: a training of their own, or the one under way."""

    answered: int = 0
    ended: int = 0

    def is_done(self, status: TrainingStatus) -> bool:
        """Whether that has ended."""
        return status.answered >= self.answered and status.ended >= self.ended


def recipe_of(numbers: Mapping[str, Any]) -> Recipe | None:
    """The recipe of some numbers; None where they are named otherwise by now."""
    return Recipe(**numbers) if set(numbers) == {field.name for field in fields(Recipe)} else None


class Trainings:
    """The row of the market that is served, kept like what is stored.

    Methods that begin with the holder's name in their docstring raise LeaseLostError.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        book: Book,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.status = TrainingStatus()
        self.changed = asyncio.Event()
        """Set by the next change, which puts a new one in its place."""
        self.stopped = False
        """Whether nothing will change any more, since the service stops."""
        self.clock = clock
        self._database = database
        self._lease = lease
        self._book = book
        self._sleep = sleep

    async def follow(self) -> None:
        """Keep `status` like what is stored, until cancelled; then nobody need watch it."""
        try:
            while True:
                await self.catch_up()
                await self._sleep(POLL_SECONDS)
        finally:
            self.stopped = True
            self._wake()

    async def catch_up(self) -> None:
        """Take over what is stored by now, where the database answers."""
        if not (market_id := self._book.market_id):
            return
        try:
            row = await self._database.read(lambda connection: _read(connection, market_id))
        except DatabaseUnavailableError:
            return  # the database itself says so in the log
        self._take(row)

    def _take(self, status: TrainingStatus) -> None:
        is_news = status.version > self.status.version  # else it was read before it was written
        if is_news or status.market_id != self.status.market_id:
            self.status = status
            self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def ask(self, market_id: str) -> Ticket:
        """Ask for a training, or join the one under way."""

        def work(connection: Connection) -> tuple[Ticket, TrainingStatus]:
            row = _lock(connection, market_id)
            if row.state is TrainingState.RUNNING:
                return Ticket(ended=row.ended + 1), row
            _set(connection, market_id, asked=row.asked + 1)
            return Ticket(answered=row.asked + 1), _read(connection, market_id)

        ticket, row = await self._database.write(work)
        if market_id == self._book.market_id:
            self._take(row)
        return ticket

    async def open(self, market_id: str) -> TrainingStatus:
        """The holder's: turn to a market, whose training no other process is at any more."""

        def work(connection: Connection) -> TrainingStatus:
            row = _lock(connection, market_id)
            if row.state is TrainingState.RUNNING:
                # Who joined it is told so; who asked for it waits on, and it is begun anew.
                _set(connection, market_id, state="idle", stage="", ended=row.ended + 1)
            return _read(connection, market_id)

        return await self._write(work)

    async def begin(self, market_id: str) -> int:
        """The holder's: a training begins; return how often one had been asked for by then."""

        def work(connection: Connection) -> TrainingStatus:
            _lock(connection, market_id)
            begun = {"state": "running", "stage": "", "fraction": 0.0, "message": ""}
            _set(connection, market_id, start_seconds=self.clock(), **begun)
            return _read(connection, market_id)

        return (await self._write(work)).asked

    async def tell(self, market_id: str, progress: Progress, problem: str = "") -> None:
        """The holder's: how far it is; with a problem, that it waits for that to be over."""
        state = "failed" if problem else "running"
        told = {"stage": progress.stage, "fraction": progress.fraction, "message": problem}
        await self._set(market_id, state=state, **told)

    async def end(
        self, market_id: str, *, model_version: str = "", problem: str = "", answered: int = 0
    ) -> None:
        """The holder's: it has ended; `answered` are the requests that this answers, if any."""

        def work(connection: Connection) -> TrainingStatus:
            row = _lock(connection, market_id)
            _set(
                connection,
                market_id,
                state="failed" if problem else "idle",
                stage="",
                fraction=0.0 if problem else 1.0,
                message=problem,
                model_version=model_version,
                answered=max(row.answered, answered),
                ended=row.ended + 1,
            )
            return _read(connection, market_id)

        await self._write(work)

    async def serve_recipe(self, market_id: str, recipe: Recipe, note: str) -> None:
        """The holder's: a recipe serves from now on."""
        await self._set(market_id, recipe=asdict(recipe), rejected_recipe="", recipe_note=note)

    async def reject_recipe(self, market_id: str, recipe: Recipe, note: str) -> None:
        """The holder's: a recipe was tried, and does not serve."""
        await self._set(market_id, rejected_recipe=recipe.fingerprint(), recipe_note=note)

    async def _set(self, market_id: str, **values: object) -> None:
        def work(connection: Connection) -> TrainingStatus:
            _set(connection, market_id, **values)
            return _read(connection, market_id)

        await self._write(work)

    async def _write(self, work: Callable[[Connection], TrainingStatus]) -> TrainingStatus:
        def fenced(connection: Connection) -> TrainingStatus:
            self._lease.require(connection)
            return work(connection)

        row = await self._database.write(fenced)
        self._take(row)
        return row


def count_withdrawal(connection: Connection, market_id: str) -> None:
    """Let the holder see that a model was withdrawn."""
    row = _lock(connection, market_id)
    _set(connection, market_id, withdrawals=row.withdrawals + 1)


_FIRST = asdict(TrainingStatus()) | {"state": "idle"}
_NAMES = [field.name for field in fields(TrainingStatus)]


def _lock(connection: Connection, market_id: str) -> TrainingStatus:
    first = _FIRST | {"market_id": market_id}
    connection.execute(insert(connection, trainings).values(first).on_conflict_do_nothing())
    return _read(connection, market_id, locked=True)


def _read(connection: Connection, market_id: str, *, locked: bool = False) -> TrainingStatus:
    query = select(trainings).where(trainings.c.market_id == market_id)
    row = connection.execute(query.with_for_update() if locked else query).one_or_none()
    if row is None:
        return TrainingStatus(market_id)
    values = {name: row._mapping[name] for name in _NAMES}
    return TrainingStatus(**values | {"state": TrainingState(row.state)})


def _set(connection: Connection, market_id: str, **values: object) -> None:
    statement = update(trainings).where(trainings.c.market_id == market_id)
    connection.execute(statement.values(version=trainings.c.version + 1, **values))
