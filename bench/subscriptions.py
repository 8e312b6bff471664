"""Measure 9: what lists and subscribing cost, beside the usual way: aiosqlite and an ORM session.

Both sides run in this process on a file of their own in WAL mode with synchronous=NORMAL, which
is kinder to the yardstick than SQLite's defaults. Ours checks the sign-in as well, and writes
what watchers are told; the yardstick only reads or inserts rows.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry

from bench.people import SignedUp, sign_up
from bench.reporting import Entry, Goal, at_least, at_most, entry, quantile, ratios
from bench.stage import temporary_folder
from foretick_rpc.database import open_database
from subscription_svc.admission import Admission
from subscription_svc.sign_ins import SignInKey
from subscription_svc.subscriptions import Asked, Subscriptions

ROUNDS = 5
ROWS = 20
WRITERS = 16
READS = 400
WRITES = 320  # a round
Act = Callable[[int], Awaitable[object]]


class _Base(DeclarativeBase):
    pass


class _Follow(_Base):
    __tablename__ = "follows"
    account_id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(primary_key=True)
    create_time: Mapped[datetime]


@dataclass(frozen=True)
class _Round:
    rate: float
    """A second."""
    cpu: float
    """Microseconds of all threads for each."""
    p99: float
    """Milliseconds."""


def measure() -> list[Entry]:
    """Rates by interleaved rounds."""
    return asyncio.run(_measure())


async def _measure() -> list[Entry]:
    symbols = [f"S{number:02}" for number in range(ROWS)]
    with temporary_folder() as folder:
        people = await sign_up(folder, [symbols] * WRITERS)
        async with (
            _service(folder / "subscription.db") as service,
            _orm(folder / "orm.db", people, symbols) as orm,
        ):
            return await _reads(service, orm, people) + await _writes(service, orm, people)


@asynccontextmanager
async def _service(path: Path) -> AsyncIterator[Subscriptions]:
    async with open_database(f"sqlite:///{path}", "subscription_svc") as database:
        yield Subscriptions(Admission(database, _now), _now)


@asynccontextmanager
async def _orm(
    path: Path, people: list[SignedUp], symbols: list[str]
) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=WRITERS)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    async with engine.begin() as connection:
        await connection.run_sync(_Base.metadata.create_all)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with sessions() as session:
        for person in people:
            for symbol in symbols:
                session.add(
                    _Follow(account_id=person.key.account_id, symbol=symbol, create_time=_now())
                )
        await session.commit()
    yield sessions
    await engine.dispose()


async def _reads(
    service: Subscriptions, orm: async_sessionmaker[AsyncSession], people: list[SignedUp]
) -> list[Entry]:
    async def ours(turn: int) -> None:
        (answer,) = await service.batch_list([_key(people, turn)])
        if len(answer.followed.subscriptions) != ROWS:
            raise RuntimeError("a list has lost rows")

    async def theirs(turn: int) -> None:
        async with orm() as session:
            account_id = _key(people, turn).account_id
            query = select(_Follow).where(_Follow.account_id == account_id)
            if len((await session.scalars(query)).all()) != ROWS:
                raise RuntimeError("a list has lost rows")

    entries = []
    for at_once in (1, WRITERS):
        mine, others = [], []
        for _ in range(ROUNDS):
            mine.append(await _round(ours, READS, at_once))
            others.append(await _round(theirs, READS, at_once))
        goal = at_least(1.5) if at_once > 1 else None
        names = f"list of 20 rows, {at_once} at once", f"aiosqlite ORM query, {at_once} at once"
        entries += _compared(names, mine, others, goal)
    return entries


async def _writes(
    service: Subscriptions, orm: async_sessionmaker[AsyncSession], people: list[SignedUp]
) -> list[Entry]:
    written = 0

    async def ours(turn: int) -> None:
        await service.add(_key(people, turn), "", Asked(f"W{written + turn // WRITERS}"))

    async def theirs(turn: int) -> None:
        async with orm() as session:
            symbol, account_id = f"W{written + turn // WRITERS}", _key(people, turn).account_id
            session.add(_Follow(account_id=account_id, symbol=symbol, create_time=_now()))
            await session.commit()

    mine, others = [], []
    for _ in range(ROUNDS):
        mine.append(await _round(ours, WRITES, WRITERS))
        others.append(await _round(theirs, WRITES, WRITERS))
        written += WRITES // WRITERS
    names = "subscribe, 16 writers", "aiosqlite ORM insert and commit, 16 writers"
    p99 = [each.p99 for each in mine]
    return [
        *_compared(names, mine, others, at_least(8)),
        entry("9", "subscribe, p99 of 16 writers", p99, "ms", at_most(50)),
    ]


def _compared(
    names: tuple[str, str], mine: list[_Round], others: list[_Round], goal: Goal | None
) -> list[Entry]:
    own, other = names
    rates = [each.rate for each in mine], [each.rate for each in others]
    cpu = [each.cpu for each in mine], [each.cpu for each in others]
    return [
        entry("9", f"{own}: rate over {other}", ratios(*rates), "×", goal),
        entry("9", f"{other}: CPU over {own}", ratios(cpu[1], cpu[0]), "×"),
        *(entry("9", f"{name}: rate", rates[place], "/s") for place, name in enumerate(names)),
        *(entry("9", f"{name}: CPU", cpu[place], "µs") for place, name in enumerate(names)),
    ]


async def _round(act: Act, count: int, at_once: int) -> _Round:
    taken: list[float] = []
    turns = iter(range(count))

    async def some() -> None:
        for turn in turns:
            begun = time.perf_counter()
            await act(turn)
            taken.append(time.perf_counter() - begun)

    begun, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(some() for _ in range(at_once)))
    spent, seconds = time.process_time() - before, time.perf_counter() - begun
    return _Round(count / seconds, 1e6 * spent / count, 1000 * quantile(taken, 0.99))


def _key(people: list[SignedUp], turn: int) -> SignInKey:
    return people[turn % len(people)].key


def _now() -> datetime:
    return datetime.now(UTC)
