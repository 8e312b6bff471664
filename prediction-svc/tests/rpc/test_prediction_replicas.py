"""Two replicas of the service over one PostgreSQL database."""

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import func, select, update

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.database import open_database
from prediction_svc.schema import leases, models

Fixture = Any
# Either the issuer's next write or the lease's next beat notices.
STOPPED = {"forecasts are issued by another process now", "lease work is lost"}
SYMBOLS = 7  # of the fake market


def by_model(forecast: pb.Forecast) -> bool:
    return forecast.forecaster == pb.FORECASTER_SCALE_MODEL


async def test_one_issues_and_the_other_serves_the_same_and_takes_over(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture, postgres_url: str
) -> None:
    async with serve_quotes() as market, AsyncExitStack() as later:
        async with serve_predictions(market.port, postgres_url) as first:
            told = await first.until(by_model)
            reads = quotes.reads
            second = await later.enter_async_context(serve_predictions(market.port, postgres_url))
            assert (await second.ask("S0")).forecasts == [told]
            assert await second.status() == await first.status()

            quotes.hidden = 1
            date = quotes.last_date.isoformat()
            answers = [
                await replica.until(lambda found: found.as_of_session_date == date)
                for replica in (first, second)
            ]
            assert answers[0] == answers[1]
            assert quotes.reads == reads + SYMBOLS
        # the first has given the lease back
        quotes.hidden = 0
        date = quotes.last_date.isoformat()
        assert (await second.ask("S0")).forecasts == [answers[1]]
        taken_over = await second.until(lambda found: found.as_of_session_date == date)
        assert by_model(taken_over)
        assert taken_over.model_version == told.model_version
        assert quotes.reads == reads + 2 * SYMBOLS
    async with open_database(postgres_url, "prediction_svc") as database:
        counted = select(func.count()).select_from(models)
        trained = await database.read(lambda connection: connection.execute(counted).scalar())
    assert trained == 4


async def test_a_holder_whose_lease_was_taken_issues_nothing(
    quotes: Fixture,
    serve_quotes: Fixture,
    serve_predictions: Fixture,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        serve_quotes() as market,
        serve_predictions(market.port, postgres_url) as predictions,
        open_database(postgres_url, "prediction_svc") as database,
    ):
        before = await predictions.until(by_model)
        taken = update(leases).values(holder="another", fence=leases.c.fence + 1)
        await database.write(lambda connection: connection.execute(taken))
        quotes.hidden = 1
        async with asyncio.timeout(20):
            while not STOPPED & set(caplog.messages):
                assert (await predictions.ask("S0")).forecasts == [before]
        assert (await predictions.ask("S0")).forecasts == [before]
        fence = select(leases.c.fence)
        assert await database.read(lambda c: c.execute(fence).scalar()) == 2


async def test_forecasts_stay_while_the_database_is_away_and_go_on_with_it(
    quotes: Fixture,
    serve_quotes: Fixture,
    serve_predictions: Fixture,
    *,
    postgres_server: Fixture,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        serve_quotes() as market,
        serve_predictions(market.port, postgres_url) as predictions,
    ):
        before = await predictions.until(by_model)
        await asyncio.to_thread(postgres_server.stop)
        try:
            quotes.hidden = 1
            clocks = quotes.clocks
            async with asyncio.timeout(20):
                while quotes.clocks < clocks + 4:
                    assert (await predictions.ask("S0")).forecasts == [before]
        finally:
            await asyncio.to_thread(postgres_server.start)
        date = quotes.last_date.isoformat()
        after = await predictions.until(lambda found: found.as_of_session_date == date)
        assert after.model_version == before.model_version
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in told] == ["foretick.database"]
    assert told[0].message.startswith("the database does not answer")
