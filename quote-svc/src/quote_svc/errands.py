"""What replicas ask of the one that asks the source: rows of the database, and their answers."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from foretick_rpc.database import Database, insert
from foretick_rpc.errors import DatabaseUnavailableError
from quote_svc.market import InstrumentKind, SourceUnavailable, SymbolNotFound, SymbolUnavailable
from quote_svc.refreshing import Refusal
from quote_svc.source import SourceInstrument, Unreachable
from quote_svc.tables import errands

Answer: TypeAlias = Mapping[str, Any]
Work: TypeAlias = Callable[[str], Awaitable[Answer | None]]
LOOK_EVERY_SECONDS = 0.25
_log = logging.getLogger("foretick.quote.store")
# An answer is shared by all who ask within so many seconds; later it is asked for anew.
_SHARED_SECONDS = 5.0
_KEPT_SECONDS = 60.0
_MOST_WAITING = 1000
_MOST_AT_ONCE = 100
_LOOKED_AT_FOR = timedelta(minutes=1)
_NEVER = datetime.min.replace(tzinfo=UTC)
# The kinds of errands; what they are about follows after a colon.
ASKED, SEARCH, SYMBOL = "asked", "search", "symbol"


class TooManyErrands(Exception):  # noqa: N818 - the state that it is in
    """So many errands wait already that no other is taken."""


class Errands:
    """The errands of one market."""

    def __init__(
        self,
        database: Database,
        market_id: str,
        wall: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._database = database
        self._market_id = market_id
        self._wall = wall
        self._sleep = sleep
        self._running: dict[str, asyncio.Task[None]] = {}
        self._looked_at: dict[str, datetime] = {}
        self._untold: set[str] = set()

    async def answered(self, errand: str) -> Answer:
        """Ask, and wait for the answer for as long as it takes; raises TooManyErrands."""
        await self.ask([errand])
        query = select(errands.c.answer).where(self._mine(), errands.c.errand == errand)
        while True:
            await self._sleep(LOOK_EVERY_SECONDS)
            answer = await self._database.read(lambda connection: connection.scalar(query))
            if answer is not None:
                told: Answer = json.loads(answer)
                return told

    async def ask(self, asked: Iterable[str]) -> None:
        """Ask without waiting, each thing once however many ask; raises TooManyErrands."""
        now = self._wall().timestamp()
        # In one order everywhere, or two askers might wait for each other.
        rows = [
            {"market_id": self._market_id, "errand": each, "asked_at": now}
            for each in sorted(asked)
        ]
        waiting = select(func.count()).where(
            self._mine(), errands.c.answer.is_(None), errands.c.asked_at >= now - _KEPT_SECONDS
        )

        def write(connection: Connection) -> None:
            if connection.execute(waiting).scalar_one() + len(rows) > _MOST_WAITING:
                raise TooManyErrands
            for row in rows:
                connection.execute(
                    insert(connection, errands)
                    .values(row)
                    .on_conflict_do_update(
                        index_elements=["market_id", "errand"],
                        set_={"asked_at": now, "answer": None},
                        where=errands.c.asked_at < now - _SHARED_SECONDS,
                    )
                )

        await self._database.write(write)

    async def run(self, work: Work) -> None:
        """Begin to do by `work` what has been asked and is not under way; forget what is old.

        What `work` has no answer to goes on waiting.
        """
        old = self._wall().timestamp() - _KEPT_SECONDS
        query = (
            select(errands.c.errand)
            .where(self._mine(), errands.c.answer.is_(None), errands.c.asked_at >= old)
            .order_by(errands.c.asked_at)
            .limit(_MOST_AT_ONCE)
        )
        oldest = select(func.min(errands.c.asked_at)).where(self._mine())

        def read(connection: Connection) -> tuple[Sequence[str], float | None]:
            return connection.execute(query).scalars().all(), connection.scalar(oldest)

        # One that ends while this is read may be read as waiting still.
        self._running = {each: task for each, task in self._running.items() if not task.done()}
        waiting, first = await self._database.read(read)
        if first is not None and first < old:
            forget = delete(errands).where(self._mine(), errands.c.asked_at < old)
            await self._database.write(lambda connection: connection.execute(forget))
        for errand in waiting:
            if errand not in self._running:
                task = asyncio.create_task(self._run(errand, work), name=f"errand {errand}")
                self._running[errand] = task

    async def stop(self) -> None:
        """Break off what is under way."""
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    def look_at(self, symbol: str) -> None:
        """Note that people look at a symbol, for `pass_on` to tell once a minute."""
        now = self._wall()
        if now - self._looked_at.get(symbol, _NEVER) >= _LOOKED_AT_FOR:
            self._looked_at[symbol] = now
            self._untold.add(symbol)

    async def pass_on(self) -> None:
        """Ask for what people look at to be kept fresh."""
        telling = sorted(self._untold)[:_MOST_AT_ONCE]
        if telling:
            self._untold.difference_update(telling)
            with suppress(TooManyErrands):  # a minute later is soon enough
                await self.ask(f"{ASKED}:{symbol}" for symbol in telling)

    async def _run(self, errand: str, work: Work) -> None:
        try:
            answer = await work(errand)
            if answer is None:
                return
            statement = update(errands).where(self._mine(), errands.c.errand == errand)
            told = statement.values(answer=json.dumps(answer))
            await self._database.write(lambda connection: connection.execute(told))
        except DatabaseUnavailableError:
            pass  # said in the database's own log; the errand is still there when it is back
        except Exception:  # noqa: BLE001 - logged; whoever asked runs out of patience
            _log.exception("an errand could not be done")

    def _mine(self) -> ColumnElement[bool]:
        return errands.c.market_id == self._market_id


def told_refusal(refusal: Refusal) -> Answer:
    """A refusal as an answer."""
    error = refusal.error
    reason = error.reason if isinstance(error, SourceUnavailable) else ""
    return {"reason": reason, "message": error.message, "until": refusal.until.timestamp()}


def refusal_of(symbol: str, answer: Answer) -> Refusal | None:
    """The refusal that an answer is, if it is one."""
    if "until" not in answer:
        return None
    error: SymbolUnavailable = SymbolNotFound(symbol)
    if answer["reason"]:
        error = SourceUnavailable(symbol, answer["reason"], answer["message"])
    until = datetime.fromtimestamp(answer["until"], UTC)
    return Refusal(error, until, until, failures=1)


def told_instruments(found: Sequence[SourceInstrument]) -> Answer:
    """What a search found as an answer."""
    return {
        "found": [
            (
                each.symbol,
                each.display_name,
                each.kind.name,
                each.exchange_code,
                each.timezone,
                each.currency_code,
                each.price_decimals,
            )
            for each in found[:_MOST_AT_ONCE]
        ]
    }


def instruments_of(answer: Answer) -> list[SourceInstrument]:
    """What a search found, from its answer; raises SourceFailure where it failed."""
    if "failure" in answer:
        raise Unreachable(answer["failure"])
    return [
        SourceInstrument(symbol, name, InstrumentKind[kind], *others)
        for symbol, name, kind, *others in answer["found"]
    ]
