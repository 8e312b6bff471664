import multiprocessing
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.database import open_database
from foretick_rpc.errors import app_error
from prediction_svc.schema import models

Fixture = Any
LEVELS = [0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95]


def by_model(forecast: pb.Forecast) -> bool:
    return forecast.forecaster == pb.FORECASTER_SCALE_MODEL


def anything(forecast: pb.Forecast) -> bool:
    return forecast.forecaster != pb.FORECASTER_UNSPECIFIED


async def test_forecasts_begin_without_learning_and_go_on_with_a_model(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        first = await predictions.until(anything)
        assert first.forecaster == pb.FORECASTER_NO_LEARNING
        assert first.model_version == ""
        first = await predictions.until(lambda found: found.score.HasField("value"))
        learned = await predictions.until(by_model)
        status = await predictions.status()
    shown = quotes.histories["S0"].first(698)
    for forecast in (first, learned):
        assert forecast.reference_close == shown.closes[-1]
        assert forecast.as_of_session_date == quotes.last_date.isoformat()
        assert forecast.target_session_date == quotes.next_date.isoformat()
        assert forecast.target_inferred
        assert (forecast.currency_code, forecast.price_decimals) == ("EUR", 3)
        assert forecast.issue_time.ToDatetime() == quotes.now.replace(tzinfo=None)
        assert forecast.horizon == 1
        assert [quantile.probability for quantile in forecast.quantiles] == LEVELS
        prices = [quantile.price for quantile in forecast.quantiles]
        assert prices == sorted(prices)
        assert prices[0] < forecast.reference_close < prices[-1]
        assert forecast.expected_close == prices[3]
        assert forecast.score.basis == pb.SCORE_BASIS_BACKTEST
        assert forecast.score.scored_sessions == 250
        assert forecast.score.low < forecast.score.value < forecast.score.high
    assert learned.quantiles != first.quantiles
    assert learned.score != first.score
    assert status.market_id == "demo:1"
    assert status.model.model_version == learned.model_version
    assert status.model.fit_date == "2021-07-01"
    assert status.model.train_symbols == 6
    assert status.training_state == pb.TRAINING_STATE_IDLE


async def test_what_is_missing_says_why_and_fails_nothing_else(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    quotes.refused["BROKEN"] = "PRICES_INVALID"
    asked = ("s0", "S0", "BROKEN", "S1", "YOUNG", "WHO", "two words")
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        await predictions.until(anything)
        answer = await predictions.ask(*asked)
    assert [forecast.symbol for forecast in answer.forecasts] == ["S0", "S1"]
    missing = {missing.symbol: missing for missing in answer.missing}
    assert {symbol: one.reason for symbol, one in missing.items()} == {
        "BROKEN": "PRICES_INVALID",
        "YOUNG": "HISTORY_TOO_SHORT",
        "WHO": "SYMBOL_NOT_FOUND",
        "two words": "SYMBOL_MALFORMED",
    }
    assert missing["BROKEN"].message == "BROKEN is broken."
    assert missing["YOUNG"].message == "YOUNG has 4 sessions; 5 are needed."


async def test_a_closed_session_brings_new_forecasts(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        await predictions.until(by_model)
        quotes.hidden = 1
        date = quotes.last_date.isoformat()
        after = await predictions.until(lambda found: found.as_of_session_date == date)
    assert by_model(after)
    assert after.reference_close == quotes.histories["S0"].closes[-2]
    assert after.target_session_date == (quotes.last_date + timedelta(days=9)).isoformat()


async def test_without_the_market_the_old_forecasts_stay(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        port = market.port
        before = await predictions.until(by_model)
        await market.__aexit__(None, None, None)
        quotes.hidden = 0
        assert (await predictions.ask("S0")).forecasts == [before]
        async with serve_quotes(port):
            date = quotes.last_date.isoformat()
            await predictions.until(lambda found: found.as_of_session_date == date)


@pytest.mark.parametrize("reason", ["SERVICE_STOPPING", "DATABASE_UNAVAILABLE"])
async def test_a_market_that_answers_nothing_now_says_nothing_of_its_symbols(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture, reason: str
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        before = await predictions.until(by_model)
        quotes.unavailable, quotes.hidden = reason, 1
        reads = quotes.reads
        while quotes.reads < reads + 20:
            assert (await predictions.ask("S0")).forecasts == [before]
        quotes.unavailable = ""
        date = quotes.last_date.isoformat()
        await predictions.until(lambda found: found.as_of_session_date == date)


async def test_before_the_market_answers_forecasts_are_pending(
    serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market:
        port = market.port
    async with serve_predictions(port) as predictions:
        answer = await predictions.ask("S0")
        assert [missing.reason for missing in answer.missing] == ["FORECAST_PENDING"]
        status = await predictions.status()
        assert not status.HasField("model")
        async with serve_quotes(port):
            await predictions.until(anything)


async def test_another_market_replaces_everything(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        before = await predictions.until(by_model)
        quotes.market_id = "demo:2"
        quotes.histories = {
            symbol.replace("S", "X"): history for symbol, history in quotes.histories.items()
        }
        after = await predictions.until(by_model, symbol="X0")
        answer = await predictions.ask("S0", "X0")
    assert answer.market_id == "demo:2"
    assert [missing.reason for missing in answer.missing] == ["SYMBOL_NOT_FOUND"]
    assert after.model_version  # trained anew: models belong to their market
    assert before.reference_close == after.reference_close


async def test_a_restart_trains_nothing_anew(
    serve_quotes: Fixture, serve_predictions: Fixture, tmp_path: Path
) -> None:
    async with serve_quotes() as market:
        async with serve_predictions(market.port) as predictions:
            before = await predictions.until(by_model)
            trained = (await predictions.status()).model
        async with serve_predictions(market.port) as predictions:
            # not even the first forecasts are made without the model
            after = await predictions.until(anything)
            status = await predictions.status()
    assert after == before
    assert status.model == trained
    async with open_database(f"sqlite:///{tmp_path}/prediction.db", "prediction_svc") as kept:
        rows = await kept.read(lambda connection: connection.execute(select(models)).all())
    assert [row.market_id for row in rows] == ["demo:1"] * 4


async def test_a_restart_answers_before_the_market_does(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market:
        port = market.port
        async with serve_predictions(port) as predictions:
            await predictions.until(by_model)
            before = await predictions.ask("S0", "YOUNG", "WHO")
            status = await predictions.status()
    async with serve_predictions(port) as predictions:
        assert await predictions.ask("S0", "YOUNG", "WHO") == before
        assert await predictions.status() == status
        quotes.hidden = 1  # a session has closed meanwhile
        async with serve_quotes(port):
            date = quotes.last_date.isoformat()
            after = await predictions.until(lambda found: found.as_of_session_date == date)
    # what was told meanwhile named the session that it was for
    assert before.forecasts[0].target_session_date < after.target_session_date


async def test_a_restart_in_the_same_session_asks_for_no_prices(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market:
        async with serve_predictions(market.port) as predictions:
            before = await predictions.until(by_model)
        reads, clocks = quotes.reads, quotes.clocks
        async with serve_predictions(market.port) as predictions:
            while quotes.clocks < clocks + 3:
                assert (await predictions.ask("S0")).forecasts == [before]
        assert quotes.reads == reads


async def test_dead_workers_are_replaced(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        await predictions.until(by_model)
        killed = multiprocessing.active_children()
        assert killed
        for worker in killed:
            worker.kill()
        assert (await predictions.ask("S0")).forecasts
        quotes.hidden = 1
        date = quotes.last_date.isoformat()
        await predictions.until(lambda found: found.as_of_session_date == date)


@pytest.mark.parametrize(
    ("symbols", "horizon", "field"),
    [
        ([], 0, "symbols"),
        (["A"] * 501, 0, "symbols"),
        (["A"], 2, "horizon"),
        (["A"], -1, "horizon"),
    ],
)
async def test_bad_requests_name_the_field(
    serve_quotes: Fixture,
    serve_predictions: Fixture,
    symbols: list[str],
    horizon: int,
    field: str,
) -> None:
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await predictions.ask(*symbols, horizon=horizon)
    error = app_error(refused.value)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.metadata == {"field": field}


SERVING_PROCESS = """
import asyncio, sys
from pathlib import Path
from foretick.prediction.v1 import prediction_pb2 as pb, prediction_pb2_grpc
from foretick_rpc.testing import SERVICE_TOKEN, calling
from prediction_svc.app import running
from prediction_svc.recipe import Recipe
from prediction_svc.settings import PredictionSettings

async def main(port, folder):
    settings = PredictionSettings(service_token=SERVICE_TOKEN, data_dir=Path(folder),
        listen="127.0.0.1:0", quote_target="127.0.0.1:" + port)
    recipe = Recipe(rounds=8, depth=3, min_labelled_sessions=100)
    service = pb.DESCRIPTOR.services_by_name["PredictionService"]
    async with running(settings, recipe=recipe) as server, calling(server, service) as channel:
        stub = prediction_pb2_grpc.PredictionServiceStub(channel)
        request = pb.BatchGetForecastsRequest(symbols=["S0"])
        while True:
            found = (await stub.BatchGetForecasts(request)).forecasts
            if found and found[0].forecaster == pb.FORECASTER_SCALE_MODEL:
                break
            await asyncio.sleep(0.03)
    heavy = {"xgboost", "scipy", "pandas", "sklearn", "exchange_calendars"}
    print("answered by", found[0].model_version, "with", sorted(heavy & set(sys.modules)))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_serving_process_never_imports_xgboost(
    serve_quotes: Fixture, tmp_path: Path
) -> None:
    async with serve_quotes() as market:
        command = [sys.executable, "-c", SERVING_PROCESS, str(market.port), str(tmp_path)]
        process = await create_subprocess_exec(*command, stdout=PIPE)
        printed, _ = await process.communicate()
    assert process.returncode == 0
    assert printed.decode().startswith("answered by scale-20210701-")
    assert printed.decode().strip().endswith("with []")
