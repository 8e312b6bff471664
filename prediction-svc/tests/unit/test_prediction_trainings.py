"""Where training is, and the models, in real databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pytest

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.leases import Lease, LeaseLostError
from foretick_rpc.testing import schema_differences
from prediction_svc import schema
from prediction_svc.book import Book, Edition
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.model_store import ModelNotFoundError, ModelStore
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import Recipe
from prediction_svc.testing import holding
from prediction_svc.trainings import Ticket, Trainings, TrainingState, TrainingStatus
from prediction_svc.workers import Progress

MARKET = "demo:1"
RECIPE = Recipe()
OTHER = replace(RECIPE, rounds=100)


class Replica(NamedTuple):
    trainings: Trainings
    models: ModelStore


class Stores(NamedTuple):
    holder: Replica
    other: Replica
    database: Database


def replica(database: Database, lease: Lease) -> Replica:
    book = Book()
    book.turn_to(Edition(MARKET, frozenset(), {}, {}), 1)
    return Replica(
        Trainings(database, lease, book, clock=lambda: 1000.25),
        ModelStore(database, lease, clock=lambda: 2000.0),
    )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Stores]:
    await migrate(url, "prediction_svc")
    async with open_database(url, "prediction_svc") as database, holding(database) as lease:
        stranger = Lease(database, schema.leases, "work")
        yield Stores(replica(database, lease), replica(database, stranger), database)


def model_of(day: date, booster: bytes = b"", fixed: date | None = None) -> TrainedModel:
    return TrainedModel(
        fit=Fit(fixed or day, day, (day - EPOCH).days * 86_400),
        booster=booster or day.isoformat().encode(),
        feature_names=("one", "other"),
        train_start=day - timedelta(days=1800),
        train_rows=10**10,
        train_symbols=500,
        rows_hash=day.isoformat() + booster.decode(),
        create_time=datetime(2026, 1, 1, 12, tzinfo=UTC),
    )


JANUARY, JULY = model_of(date(2020, 1, 2), fixed=date(2020, 1, 1)), model_of(date(2020, 7, 1))
AUGUST = model_of(date(2020, 8, 13))


async def test_the_tables_are_those_of_the_migrations(database_url: str) -> None:
    async with opened(database_url) as stores:
        assert await schema_differences(stores.database, schema.metadata) == []


async def test_every_replica_tells_how_far_it_is(database_url: str) -> None:
    async with opened(database_url) as stores:
        holder, other = stores.holder.trainings, stores.other.trainings
        following = asyncio.create_task(other.follow())
        await holder.open(MARKET)
        assert await holder.begin(MARKET) == 0
        await holder.tell(MARKET, Progress("training", 0.2))
        while other.status.fraction != 0.2:
            await asyncio.wait_for(other.changed.wait(), 10)
        assert other.status == holder.status
        assert other.status.stage == "training"
        assert other.status.state is TrainingState.RUNNING
        assert other.status.elapsed_seconds(1010.25) == 10.0
        assert other.status.remaining_seconds(1010.25) == pytest.approx(40.0)
        await holder.end(MARKET, problem="OSError: disk full")
        while other.status.state is TrainingState.RUNNING:
            await asyncio.wait_for(other.changed.wait(), 10)
        assert (other.status.state, other.status.message) == (
            TrainingState.FAILED,
            "OSError: disk full",
        )
        assert other.status.remaining_seconds(1010.25) is None
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert other.stopped


async def test_any_replica_asks_and_the_holder_answers(database_url: str) -> None:
    async with opened(database_url) as stores:
        holder, other = stores.holder.trainings, stores.other.trainings
        ticket = await other.ask(MARKET)
        assert ticket == Ticket(answered=1)
        status = await holder.open(MARKET)
        assert (status.asked, status.answered) == (1, 0)
        # a fixed date that is trained meanwhile is not what was asked for
        await holder.begin(MARKET)
        await holder.end(MARKET, model_version="scale-1")
        assert not ticket.is_done(holder.status)
        assert await holder.begin(MARKET) == 1
        joined = await other.ask(MARKET)
        assert joined == Ticket(ended=2)
        assert not joined.is_done(other.status)
        await holder.end(MARKET, model_version="scale-2", answered=1)
        for each in (ticket, joined):
            assert each.is_done(holder.status)
        assert holder.status.model_version == "scale-2"


async def test_asked_together_each_is_counted(database_url: str) -> None:
    async with opened(database_url) as stores:
        asking = (stores[n].trainings.ask(MARKET) for n in (0, 1) * 5)
        tickets = await asyncio.gather(*asking)
        assert {ticket.answered for ticket in tickets} == set(range(1, 11))


async def test_who_takes_over_begins_anew_what_was_asked_for(database_url: str) -> None:
    async with opened(database_url) as stores:
        holder, other = stores.holder.trainings, stores.other.trainings
        ticket = await other.ask(MARKET)
        await holder.begin(MARKET)
        joined = await other.ask(MARKET)
        status = await holder.open(MARKET)
        assert status.state is TrainingState.IDLE
        assert status.asked > status.answered
        assert not ticket.is_done(status)
        assert joined.is_done(status)


async def test_only_the_holder_tells(database_url: str) -> None:
    async with opened(database_url) as stores:
        other = stores.other
        for telling in (
            other.trainings.open(MARKET),
            other.trainings.begin(MARKET),
            other.trainings.tell(MARKET, Progress("training", 0.5)),
            other.trainings.end(MARKET),
            other.trainings.serve_recipe(MARKET, RECIPE, ""),
            other.models.add(MARKET, JULY, RECIPE),
        ):
            with pytest.raises(LeaseLostError):
                await telling
        assert other.trainings.status == TrainingStatus()


async def test_what_was_read_before_a_change_is_not_told_after_it(database_url: str) -> None:
    async with opened(database_url) as stores:
        holder = stores.holder.trainings
        before = await holder.open(MARKET)
        await holder.begin(MARKET)
        holder._take(before)
        assert holder.status.state is TrainingState.RUNNING


async def test_recipes_are_kept(database_url: str) -> None:
    async with opened(database_url) as stores:
        holder = stores.holder.trainings
        assert (await holder.open(MARKET)).recipe is None
        await holder.serve_recipe(MARKET, RECIPE, "at first")
        numbers = (await holder.open(MARKET)).recipe
        assert numbers is not None
        assert Recipe(**numbers) == RECIPE
        await holder.reject_recipe(MARKET, OTHER, "worse")
        assert holder.status.rejected_recipe == OTHER.fingerprint()
        assert holder.status.recipe_note == "worse"


async def test_models_are_kept_by_recipe(database_url: str) -> None:
    async with opened(database_url) as stores:
        models = stores.holder.models
        for model in (AUGUST, JANUARY, JULY):
            await models.add(MARKET, model, RECIPE)
        await models.add(MARKET, model_of(date(2020, 7, 1), b"again"), OTHER)
        assert await models.load(MARKET, RECIPE) == [JANUARY, JULY, AUGUST]
        assert [m.booster for m in await models.load(MARKET, OTHER)] == [b"again"]
        assert await models.load("demo:2", RECIPE) == []
        listed = await models.listed(MARKET, 0, 10)
        assert [facts.fit_date.month for facts in listed] == [8, 7, 7, 1]
        assert await models.listed(MARKET, 1, 2) == listed[1:3]
        assert await models.find(MARKET, JULY.version) == JULY.facts
        assert await models.find(MARKET, "scale-1") is None


async def test_withdrawn_models_stay_with_a_mark(database_url: str) -> None:
    async with opened(database_url) as stores:
        holder, other, _ = stores
        for model in (JANUARY, JULY):
            await holder.models.add(MARKET, model, RECIPE)
        await holder.models.add(MARKET, AUGUST, OTHER)
        before = (await holder.trainings.open(MARKET)).withdrawals
        for _ in range(2):  # once more changes nothing
            done = await other.models.withdraw(MARKET, JULY.version)
            assert done.withdrawn == replace(JULY.facts, withdrawn=True)
            assert done.answering == JANUARY.facts
        assert (await holder.trainings.open(MARKET)).withdrawals == before + 1
        loaded = await holder.models.load(MARKET, RECIPE)
        assert [model.withdrawn for model in loaded] == [False, True]
        assert (await other.models.withdraw(MARKET, JANUARY.version)).answering is None
        with pytest.raises(ModelNotFoundError):
            await other.models.withdraw("demo:2", AUGUST.version)
