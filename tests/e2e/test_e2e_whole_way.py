"""Register, subscribe, and see forecasts that a model made from the market's own bars."""

import asyncio
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, UnaryUnaryMultiCallable, insecure_channel

from foretick.prediction.v1 import prediction_pb2
from foretick.quote.v1 import quote_pb2, quote_pb2_grpc
from foretick.subscription.v1 import subscription_pb2
from foretick_rpc.client import open_channel
from foretick_rpc.healthcheck import is_serving
from foretick_rpc.testing import listed_services
from stack import Stack, Visitor, eventually, write_bars

Visit = Callable[[Stack], Visitor]


async def test_register_subscribe_and_see_a_models_forecast(
    csv_stack: Stack, csv_closes: dict[str, float], visitors: Visit
) -> None:
    visitor = visitors(csv_stack)
    await visitor.register("ada@example.org")
    await visitor.subscribe("AAPL", "msft", "XOM", "AAPL")

    async def learned() -> bool:
        rows = (await visitor.subscriptions())["subs"]
        return {row["forecaster"] for row in rows} == {"scale_model"}

    await eventually(learned, "forecasts by a trained model")
    answer = await visitor.subscriptions()
    assert [row["symbol"] for row in answer["subs"]] == ["AAPL", "MSFT", "XOM"]
    assert answer["market"]["id"].startswith("csv:")
    for row in answer["subs"]:
        assert row["currentPrice"] == csv_closes[row["symbol"]]
        assert datetime.fromisoformat(row["priceAsOf"]) == datetime(2019, 12, 31, 21, tzinfo=UTC)
        assert row["currency"] == "USD"
        # The first of January is a holiday.
        assert row["forecastSession"] == "2020-01-02"
        assert row["modelVersion"]
        assert row["band"]["low"] < row["expectedClose"] < row["band"]["high"]
        move = 100 * (row["expectedClose"] - row["referenceClose"]) / row["referenceClose"]
        assert row["limit_up_down"] == round(move, 2)
        assert row["predictScoreN"] >= 150
        assert row["predictScoreLow"] <= row["predictScore"] <= row["predictScoreHigh"]
    page = await visitor.page("/subscribeList")
    for word in ("AAPL", "MSFT", "XOM", "USD", "2 Jan 2020", f"{csv_closes['XOM']:,.2f}"):
        assert word in page


async def test_what_is_refused_is_not_stored(csv_stack: Stack, visitors: Visit) -> None:
    visitor = visitors(csv_stack)
    await visitor.register("grace@example.org")
    token = await visitor.token("/subscribeList")
    refused = {"ZZZZ": 404, "not a symbol!": 400, "A" * 10_000: 400}
    for symbol, expected in refused.items():
        form = {"symbol": symbol, "csrf_token": token}
        status, text, _ = await visitor.post("/subscriptions", form)
        assert status == expected
        assert json.loads(text)["error"]["field"] == "symbol"
        status, text, _ = await visitor.post("/subscriptions", form, json=False)
        assert status == expected
        assert "<form" in text
    for json_wanted in (True, False):
        status, _, _ = await visitor.post("/subscriptions", {"symbol": "AAPL"}, json=json_wanted)
        assert status == 403
    assert (await visitor.subscriptions())["subs"] == []


async def test_signed_out_leads_to_the_login(csv_stack: Stack, visitors: Visit) -> None:
    visitor = visitors(csv_stack)
    await visitor.register("edsger@example.org")
    token = await visitor.token("/subscribeList")
    assert (await visitor.post("/logout", {"csrf_token": token}, json=False))[0] == 303
    status, text = await visitor.get("/subscribeList")
    assert (status, json.loads(text)["error"]["reason"]) == (401, "SIGN_IN_REQUIRED")
    assert (await visitor.get("/subscribeList", json=False))[0] == 303
    form = {
        "email": "edsger@example.org",
        "password": "not the password",
        "csrf_token": await visitor.token("/login"),
    }
    assert (await visitor.post("/login", form))[0] == 401


async def test_a_broken_line_refuses_its_symbol_alone(tmp_path: Path, visitors: Visit) -> None:
    write_bars(tmp_path / "good.csv.gz", sessions=80)
    lines = gzip.decompress((tmp_path / "good.csv.gz").read_bytes()).decode().splitlines()
    broken = next(n for n, line in enumerate(lines) if line.startswith("JPM"))
    fields = lines[broken].split(",")
    lines[broken] = ",".join([*fields[:5], "n/a", fields[6]])
    (tmp_path / "prices.csv").write_text("\n".join(lines))
    settings = {"QUOTE_MARKET": "csv", "QUOTE_CSV_PATH": str(tmp_path / "prices.csv")}
    with Stack(tmp_path, **settings) as stack:
        visitor = visitors(stack)
        await visitor.register("barbara@example.org")
        await visitor.subscribe("KO")
        form = {"symbol": "JPM", "csrf_token": await visitor.token("/subscribeList")}
        status, text, _ = await visitor.post("/subscriptions", form)
        assert status == 400
        message = json.loads(text)["error"]["message"]
        assert f"prices.csv line {broken + 1}, column close" in message
        assert [row["symbol"] for row in (await visitor.subscriptions())["subs"]] == ["KO"]


SERVICE_NAMES = {
    "quote-svc": ["foretick.quote.v1.QuoteService"],
    "prediction-svc": ["foretick.prediction.v1.PredictionService"],
    "subscription-svc": [
        "foretick.subscription.v1.AccountService",
        "foretick.subscription.v1.SubscriptionService",
    ],
}


@pytest.fixture
def loaded() -> Callable[[int], str]:
    """The files that a process has mapped into its memory."""
    return lambda pid: Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("name", sorted(SERVICE_NAMES))
async def test_programs_need_the_service_token(csv_stack: Stack, name: str) -> None:
    target = csv_stack.target(name)
    right = csv_stack.environment["FORETICK_SERVICE_TOKEN"]
    assert set(SERVICE_NAMES[name]) <= await asyncio.to_thread(listed_services, target, right)
    for token in ("", "guessed"):
        with pytest.raises(grpc.RpcError) as refused:
            await asyncio.to_thread(listed_services, target, token)
        assert refused.value.code() is StatusCode.UNAUTHENTICATED
    descriptors = [
        descriptor
        for module in (quote_pb2, prediction_pb2, subscription_pb2)
        for descriptor in module.DESCRIPTOR.services_by_name.values()
        if descriptor.full_name in SERVICE_NAMES[name]
    ]
    async with insecure_channel(target) as channel:
        for method in (method for service in descriptors for method in service.methods):
            path = f"/{method.containing_service.full_name}/{method.name}"
            call: UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            with pytest.raises(AioRpcError) as caught:
                await call(b"", timeout=5)
            assert caught.value.code() is StatusCode.UNAUTHENTICATED, method.full_name
    assert is_serving(target)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux lists what a process loaded")
async def test_the_serving_process_never_loads_xgboost(
    csv_stack: Stack, visitors: Visit, loaded: Callable[[int], str]
) -> None:
    visitor = visitors(csv_stack)
    await visitor.register("john@example.org")
    await visitor.subscribe("KO")

    async def learned() -> bool:
        return bool((await visitor.row("KO"))["forecaster"] == "scale_model")

    await eventually(learned, "a forecast by a trained model")
    serving = csv_stack.processes["prediction-svc"].pid
    assert "_multiarray_umath" in loaded(serving)
    assert "xgboost" not in loaded(serving)


async def test_the_demo_market_moves_on(tmp_path: Path, visitors: Visit) -> None:
    settings = {"QUOTE_MARKET": "demo", "DEMO_SESSION_SECONDS": "4", "DEMO_NIGHT_SECONDS": "3"}
    with Stack(tmp_path, **settings) as stack:
        quotes = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"]
        token = stack.environment["FORETICK_SERVICE_TOKEN"]
        async with open_channel(
            stack.target("quote-svc"), service_token=token, service=quotes
        ) as channel:
            universe = await quote_pb2_grpc.QuoteServiceStub(channel).ListUniverse(
                quote_pb2.ListUniverseRequest(page_size=3)
            )
        symbols = [instrument.symbol for instrument in universe.instruments]
        visitor = visitors(stack)
        await visitor.register("alan@example.org")
        await visitor.subscribe(*symbols)

        async def forecast_for() -> str:
            return (await visitor.row(symbols[0]))["forecastSession"] or ""

        first = await eventually(forecast_for, "a first forecast")

        async def moved() -> bool:
            return await forecast_for() > first

        await eventually(moved, "a forecast of a later session")
        assert "synthetic" in (await visitor.page("/subscribeList")).lower()
        before = [row["symbol"] for row in (await visitor.subscriptions())["subs"]]
        assert before == symbols


async def test_real_sessions_pass_when_the_market_is_stepped(
    tmp_path: Path, visitors: Visit
) -> None:
    write_bars(tmp_path / "prices.csv.gz", sessions=120)
    rows = gzip.decompress((tmp_path / "prices.csv.gz").read_bytes()).decode().splitlines()
    closes = {row.split(",")[1]: float(row.split(",")[5]) for row in rows if row.startswith("KO,")}
    settings = {
        "QUOTE_MARKET": "csv",
        "QUOTE_CSV_PATH": str(tmp_path / "prices.csv.gz"),
        "QUOTE_AS_OF": "2019-12-23",
        "QUOTE_CONTROL": "1",
    }
    with Stack(tmp_path, **settings) as stack:
        visitor = visitors(stack)
        await visitor.register("sophie@example.org")
        await visitor.subscribe("KO")
        contract = quote_pb2.DESCRIPTOR.services_by_name["MarketControlService"]
        token = stack.environment["FORETICK_SERVICE_TOKEN"]
        async with open_channel(
            stack.target("quote-svc"), service_token=token, service=contract
        ) as channel:
            control = quote_pb2_grpc.MarketControlServiceStub(channel)
            # The half-day before Christmas, and the holiday itself.
            for session, coming in (("2019-12-24", "2019-12-26"), ("2019-12-26", "2019-12-27")):
                await control.SetClock(quote_pb2.SetClockRequest(step_sessions=1))

                async def moved(session: str = session, coming: str = coming) -> bool:
                    row = await visitor.row("KO")
                    # A price and a forecast come each by itself.
                    return (row["priceSession"], row["forecastSession"]) == (session, coming)

                await eventually(moved, f"the close of {session} and the forecast of {coming}")
                row = await visitor.row("KO")
                assert (row["asOfSession"], row["referenceClose"]) == (session, closes[session])
                assert row["currentPrice"] == closes[session]
