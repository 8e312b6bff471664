"""Editions as they are stored, in real databases."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Connection, update

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.errors import DatabaseUnavailableError
from foretick_rpc.leases import Lease, LeaseLostError
from foretick_rpc.testing import schema_differences
from prediction_svc import schema
from prediction_svc.book import Edition, Promotion
from prediction_svc.editions import Editions, decode, encode
from prediction_svc.explanation import Contribution, Explanation
from prediction_svc.forecasting import Standing
from prediction_svc.market import Refusal
from prediction_svc.models import ModelFacts
from prediction_svc.scores import Score
from prediction_svc.testing import issued_of
from prediction_svc.track_record import Basis
from prediction_svc.width import WidthState

FORECAST = issued_of(
    "AAPL",
    close=0.1 + 0.2,
    log_moves=(-0.03, -0.02, -0.01, 1 / 3e7, 0.01, 0.02, 0.03),
    model_version="scale-20200101-0123abcd",
    target_inferred=True,
    issue_time=datetime(2020, 1, 1, 21, 0, 0, 123456, tzinfo=UTC),
    explanation=Explanation(-0.2, 0.1, (Contribution("gap", None, -0.4),), 0.1),
    score=Score(2.5, -1e-17, 5.0, 250),
    basis=Basis.LIVE,
    ledger_number=7,
)
UNSCORED = issued_of("NEW", score=Score(None, None, None, 3))
EDITION = Edition(
    market_id="demo:1",
    known=frozenset({"AAPL", "NEW", "SHORT", "OTHER"}),
    forecasts={1: {"AAPL": FORECAST, "NEW": UNSCORED}, 20: {}},
    refusals={"SHORT": Refusal("HISTORY_TOO_SHORT", "SHORT has 2 sessions; 60 are needed.")},
    model=ModelFacts(
        version="scale-20200101-0123abcd",
        fit_date=date(2020, 1, 2),
        train_start=date(2015, 1, 2),
        train_rows=10**10,
        train_symbols=500,
        create_time=datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    ),
    closed_sessions=frozenset({("XNYS", "2019-12-31"), ("XTKS", "2019-12-30")}),
    recipe_hash="0123456789abcdef",
    finished=True,
    standing={1: Standing({"equity:XNYS": WidthState(-1 / 3, (0.8, 1.0))}, frozenset({"AAPL"}))},
    resolved_number=9,
    promotion=Promotion(
        ("scale-20200101-0123abcd",),
        "0123456789abcdef",
        frozenset({"AAPL"}),
        {1: {"AAPL": Score(2.5, -1e-17, 5.0, 250)}},
    ),
    live_scores={1: {"AAPL": Score(2.5, -1e-17, 5.0, 250)}},
    live_directions={"AAPL": True},
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await migrate(database_url, "prediction_svc")
    async with open_database(database_url, "prediction_svc") as database:
        yield database


@asynccontextmanager
async def holding(database: Database) -> AsyncIterator[Lease]:
    """A lease that is held."""
    lease = Lease(database, schema.leases, "work")
    held = asyncio.Event()

    async def work() -> None:
        held.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(lease.run(work))
    try:
        await asyncio.wait_for(held.wait(), 10)
        yield lease
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_an_edition_is_read_as_it_was_written() -> None:
    assert decode(encode(EDITION)) == EDITION
    pending = Edition("demo:1", frozenset({"AAPL"}), {}, {})
    assert decode(encode(pending)) == pending


async def test_the_migrations_make_the_tables_that_the_code_names(database: Database) -> None:
    assert await schema_differences(database, schema.metadata) == []


async def test_who_only_reads_serves_what_another_published(database: Database) -> None:
    async with holding(database) as lease:
        holder, follower = Editions(database, lease), Editions(database, lease)
        published = await holder.publish(EDITION)
        assert holder.book.edition == EDITION
        assert published is holder.book.edition  # one in memory is enough
        assert follower.book.edition is None
        await follower.refresh()
        assert follower.book.edition == EDITION
        later = replace(EDITION, finished=False)
        await holder.publish(later)
        await follower.refresh()
        assert follower.book.edition == later


async def test_memory_is_given_back_once_after_each_change(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = [EDITION, None, replace(EDITION, finished=False), None]
    given_back: list[int] = []
    monkeypatch.setattr(
        "prediction_svc.editions._give_back", lambda: given_back.append(len(rounds))
    )
    async with holding(database) as lease:
        holder = Editions(database, lease)

        async def next_round(_seconds: float) -> None:
            if not rounds:
                raise asyncio.CancelledError
            if (edition := rounds.pop(0)) is not None:
                await holder.publish(edition)

        follower = Editions(database, lease, next_round)
        with pytest.raises(asyncio.CancelledError):
            await follower.follow()
    assert given_back == [2, 0]  # a round after each


async def test_the_market_that_was_published_last_is_served(database: Database) -> None:
    other = replace(EDITION, market_id="demo:2")
    async with holding(database) as lease:
        holder, follower = Editions(database, lease), Editions(database, lease)
        for edition in (EDITION, other, EDITION):
            await holder.publish(edition)
            await follower.refresh()
            assert follower.book.market_id == edition.market_id
            assert await follower.kept(edition.market_id) == edition
        assert await follower.kept("demo:3") is None


async def test_writes_at_once_are_told_apart(database: Database) -> None:
    async with holding(database) as lease:
        holder = Editions(database, lease)
        markets = [replace(EDITION, market_id=f"demo:{n}") for n in range(8)]
        await asyncio.gather(*(holder.publish(edition) for edition in markets * 2))
        rows = await database.read(
            lambda connection: connection.execute(schema.editions.select()).all()
        )
    versions = {row.version for row in rows}
    assert (len(versions), max(versions)) == (8, 16)


async def test_without_the_lease_nothing_is_written(database: Database) -> None:
    async with holding(database) as lease:
        await Editions(database, lease).publish(EDITION)
    loser = Editions(database, Lease(database, schema.leases, "work"))
    with pytest.raises(LeaseLostError):
        await loser.publish(replace(EDITION, finished=False))
    await loser.refresh()
    assert loser.book.edition == EDITION


async def test_a_body_that_another_version_wrote_is_no_edition(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(connection: Connection) -> None:
        body = zlib.compress(b'{"market": "demo:1"}')
        connection.execute(update(schema.editions).values(body=body, version=9))

    async with holding(database) as lease:
        editions = Editions(database, lease)
        await editions.publish(EDITION)
        await database.write(spoil)
        for _ in range(2):
            await editions.refresh()
        assert editions.book.edition == EDITION
        assert await Editions(database, lease).kept("demo:1") is None
        assert "the stored forecasts of demo:1 are of another version" in caplog.messages
        await editions.publish(replace(EDITION, finished=False))
        assert editions.book.edition == replace(EDITION, finished=False)


async def test_forecasts_stay_while_the_database_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Away:
        is_exclusive = False
        error: Exception = DatabaseUnavailableError("away")

        async def read(self, work: object) -> None:
            raise self.error

        write = read

    database = Away()
    editions = Editions(database, Lease(database, schema.leases, "work"))  # type: ignore[arg-type]
    editions.book.edition = EDITION
    await editions.catch_up()
    assert caplog.messages == []
    database.error = RuntimeError("broken")
    for _ in range(3):
        await editions.catch_up()
    assert caplog.messages == ["stored forecasts cannot be read; those in memory stay"]
    assert editions.book.edition == EDITION
