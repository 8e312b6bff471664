"""All forecasts at once, and their changes as they come, over a real channel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1.prediction_pb2_grpc import (
    PredictionServiceStub,
    add_PredictionServiceServicer_to_server,
)
from foretick_rpc.errors import AppError, app_error
from foretick_rpc.server import RpcService
from foretick_rpc.testing import SERVICE_TOKEN, calling, serving
from prediction_svc.app import running
from prediction_svc.book import Book, Edition
from prediction_svc.market import Refusal
from prediction_svc.recipe import Recipe
from prediction_svc.servicer import PredictionServicer
from prediction_svc.settings import PredictionSettings
from prediction_svc.testing import issued_of
from prediction_svc.trainings import Trainings

Fixture = Any
SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
DEADLINE = 30  # streams that hang fail instead
SYMBOLS = [f"S{number}" for number in range(7)]


def edition(market_id: str = "demo:1", **closes: float) -> Edition:
    """Forecasts of SYMBOLS, which closed at 100 where nothing else is said; NEW has none."""
    forecasts = {
        horizon: {
            symbol: issued_of(symbol, horizon=horizon, close=closes.get(symbol, 100.0))
            for symbol in reversed(SYMBOLS)
        }
        for horizon in (1, 5)
    }
    refusals = {"NEW": Refusal("HISTORY_TOO_SHORT", "NEW has 2 sessions; 5 are needed.")}
    return Edition(market_id, frozenset({*SYMBOLS, "NEW"}), forecasts, refusals)


@pytest.fixture
def book() -> Book:
    book = Book()
    book.turn_to(edition(), 41)
    return book


@pytest.fixture
async def stub(book: Book) -> AsyncIterator[PredictionServiceStub]:
    """A caller of a service whose book is turned by hand; it has no ledger."""
    nothing: Any = None
    trainings = Trainings(nothing, nothing, book)
    servicer = PredictionServicer(book, nothing, trainings, nothing, nothing)
    add = partial(add_PredictionServiceServicer_to_server, servicer)
    async with (
        serving(RpcService(SERVICE.full_name, add)) as server,
        calling(server, SERVICE) as channel,
    ):
        yield PredictionServiceStub(channel)


def watching(stub: PredictionServiceStub, *symbols: str) -> Any:
    return stub.WatchForecasts(pb.WatchForecastsRequest(symbols=symbols), timeout=DEADLINE)


async def told(stream: Any) -> pb.WatchForecastsResponse:
    message = await stream.read()
    assert isinstance(message, pb.WatchForecastsResponse)
    return message


async def refusal(call: Awaitable[object]) -> AppError:
    with pytest.raises(AioRpcError) as caught:
        await call
    return app_error(caught.value)


def symbols_of(message: pb.WatchForecastsResponse | pb.ListForecastsResponse) -> list[str]:
    return [forecast.symbol for forecast in message.forecasts]


def reasons_of(message: pb.WatchForecastsResponse) -> dict[str, str]:
    return {missing.symbol: missing.reason for missing in message.missing}


async def test_the_snapshot_answers_every_symbol(stub: PredictionServiceStub) -> None:
    asked = ("s1", "S1", "NEW", "S0", "WHO", "two words")
    first = await told(watching(stub, *asked))
    assert (first.market_id, first.version, first.snapshot) == ("demo:1", 41, True)
    assert symbols_of(first) == ["S1", "S0"]
    assert reasons_of(first) == {
        "NEW": "HISTORY_TOO_SHORT",
        "WHO": "SYMBOL_NOT_FOUND",
        "two words": "SYMBOL_MALFORMED",
    }
    batch = await stub.BatchGetForecasts(pb.BatchGetForecastsRequest(symbols=asked))
    assert (batch.market_id, batch.version) == (first.market_id, first.version)
    assert (list(batch.forecasts), list(batch.missing)) == (
        list(first.forecasts),
        list(first.missing),
    )


async def test_then_only_what_changed_is_told(stub: PredictionServiceStub, book: Book) -> None:
    stream = watching(stub, *SYMBOLS, "NEW")
    await told(stream)
    book.turn_to(edition(), 42)  # nothing new
    book.turn_to(edition(S3=101), 43)
    second = await told(stream)
    assert (second.market_id, second.version, second.snapshot) == ("demo:1", 43, False)
    assert [(each.symbol, each.reference_close) for each in second.forecasts] == [("S3", 101)]
    assert not second.missing
    without = edition(S3=101)
    lost = {symbol: each for symbol, each in without.next_forecasts.items() if symbol != "S5"}
    refused = {**without.refusals, "S5": Refusal("PRICES_INVALID", "S5 is broken.")}
    book.turn_to(replace(without, forecasts={1: lost}, refusals=refused), 45)
    third = await told(stream)
    assert (third.version, symbols_of(third)) == (45, [])
    assert reasons_of(third) == {"S5": "PRICES_INVALID"}


async def test_another_market_is_told_as_a_snapshot(
    stub: PredictionServiceStub, book: Book
) -> None:
    stream = watching(stub, "S0", "NEW")
    await told(stream)
    book.turn_to(edition("demo:2"), 42)
    other = await told(stream)
    assert (other.market_id, other.version, other.snapshot) == ("demo:2", 42, True)
    assert symbols_of(other) == ["S0"]
    assert reasons_of(other) == {"NEW": "HISTORY_TOO_SHORT"}


async def test_streams_end_when_the_book_is_no_longer_kept(
    stub: PredictionServiceStub, book: Book
) -> None:
    streams = [watching(stub, "S0") for _ in range(3)]
    for stream in streams:
        await told(stream)
    book.end()
    for stream in (*streams, watching(stub, "S0")):
        error = await refusal(stream.read())
        assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "SERVICE_STOPPING")


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("symbols", pb.WatchForecastsRequest()),
        ("symbols", pb.WatchForecastsRequest(symbols=[f"S{number}" for number in range(501)])),
        ("horizon", pb.WatchForecastsRequest(symbols=["S0"], horizon=2)),
    ],
)
async def test_watching_names_what_is_wrong(
    stub: PredictionServiceStub, field: str, request_: pb.WatchForecastsRequest
) -> None:
    error = await refusal(stub.WatchForecasts(request_, timeout=DEADLINE).read())
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata["field"] == field


async def pages(
    stub: PredictionServiceStub, page_size: int
) -> AsyncIterator[pb.ListForecastsResponse]:
    token = ""
    while True:
        request = pb.ListForecastsRequest(page_size=page_size, page_token=token)
        page = await stub.ListForecasts(request)
        yield page
        if not (token := page.next_page_token):
            return


@pytest.mark.parametrize(("page_size", "sizes"), [(0, [7]), (3, [3, 3, 1]), (7, [7]), (1, [1] * 7)])
async def test_all_are_listed_by_symbol(
    stub: PredictionServiceStub, page_size: int, sizes: list[int]
) -> None:
    for _ in range(2):  # the second time from what was kept
        found = [page async for page in pages(stub, page_size)]
        assert [len(page.forecasts) for page in found] == sizes
        assert [symbol for page in found for symbol in symbols_of(page)] == SYMBOLS
        assert {(page.market_id, page.version) for page in found} == {("demo:1", 41)}
    batch = await stub.BatchGetForecasts(pb.BatchGetForecastsRequest(symbols=SYMBOLS))
    assert [each for page in found for each in page.forecasts] == list(batch.forecasts)


async def test_what_is_listed_is_what_is_served_by_now(
    stub: PredictionServiceStub, book: Book
) -> None:
    await stub.ListForecasts(pb.ListForecastsRequest())
    book.turn_to(edition(S6=103), 42)
    listed = await stub.ListForecasts(pb.ListForecastsRequest())
    assert listed.version == 42
    assert [each.reference_close for each in listed.forecasts] == [100] * 6 + [103]


async def test_before_the_first_forecasts_none_are_listed(
    stub: PredictionServiceStub, book: Book
) -> None:
    book.edition, book.version = None, 0
    assert await stub.ListForecasts(pb.ListForecastsRequest()) == pb.ListForecastsResponse()
    book.turn_to(edition(), 1)
    listed = await stub.ListForecasts(pb.ListForecastsRequest())
    assert symbols_of(listed) == SYMBOLS


async def test_a_listing_does_not_go_on_with_other_forecasts(
    stub: PredictionServiceStub, book: Book
) -> None:
    first = await stub.ListForecasts(pb.ListForecastsRequest(page_size=3))
    book.turn_to(edition(S6=103), 42)
    request = pb.ListForecastsRequest(page_size=3, page_token=first.next_page_token)
    error = await refusal(stub.ListForecasts(request))
    assert (error.code, error.reason) == (StatusCode.ABORTED, "EDITION_CHANGED")
    assert error.message == "other forecasts are served by now; list again without page_token"


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("page_size", pb.ListForecastsRequest(page_size=-1)),
        ("page_size", pb.ListForecastsRequest(page_size=1001)),
        ("horizon", pb.ListForecastsRequest(horizon=2)),
        ("page_token", pb.ListForecastsRequest(page_token="next")),
        ("page_token", pb.ListForecastsRequest(page_token="41.0")),
        ("page_token", pb.ListForecastsRequest(page_token="41.7")),
        ("page_token", pb.ListForecastsRequest(page_token="41.-1")),
    ],
)
async def test_listing_names_what_is_wrong(
    stub: PredictionServiceStub, field: str, request_: pb.ListForecastsRequest
) -> None:
    error = await refusal(stub.ListForecasts(request_))
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata["field"] == field


def by_model(forecast: pb.Forecast) -> bool:
    return forecast.forecaster == pb.FORECASTER_SCALE_MODEL


async def until_alike(*stubs: PredictionServiceStub) -> None:
    """Until all serve the same version."""
    versions: set[int] = set()
    async with asyncio.timeout(DEADLINE):
        while len(versions) != 1:
            listed = [await stub.ListForecasts(pb.ListForecastsRequest()) for stub in stubs]
            versions = {each.version for each in listed}


async def test_a_closed_session_is_told_to_who_watches(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture
) -> None:
    quotes.refused["BROKEN"] = "PRICES_INVALID"
    async with serve_quotes() as market, serve_predictions(market.port) as predictions:
        await predictions.until(by_model)
        stream = watching(predictions.stub, "S0", "BROKEN", "S1", "YOUNG")
        first = await told(stream)
        quotes.hidden = 1
        second = await told(stream)
        listed = await predictions.stub.ListForecasts(pb.ListForecastsRequest())
    assert reasons_of(first) == {"BROKEN": "PRICES_INVALID", "YOUNG": "HISTORY_TOO_SHORT"}
    assert not second.snapshot
    assert second.version > first.version
    # YOUNG has enough sessions now, BROKEN is as it was
    assert (symbols_of(second), reasons_of(second)) == (["S0", "S1", "YOUNG"], {})
    dates = {each.as_of_session_date for each in second.forecasts}
    assert dates == {quotes.last_date.isoformat()}
    assert symbols_of(listed) == [f"S{number}" for number in range(6)] + ["YOUNG"]
    assert list(second.forecasts) == [listed.forecasts[place] for place in (0, 1, 6)]


async def test_replicas_tell_the_same_under_the_same_versions(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture, postgres_url: str
) -> None:
    async with (
        serve_quotes() as market,
        serve_predictions(market.port, postgres_url) as first,
        serve_predictions(market.port, postgres_url) as second,
    ):
        for replica in (first, second):
            await replica.until(by_model)
        await until_alike(first.stub, second.stub)
        streams = [watching(replica.stub, "S0", "YOUNG") for replica in (first, second)]
        snapshots = [await told(stream) for stream in streams]
        assert snapshots[0] == snapshots[1]
        page = await first.stub.ListForecasts(pb.ListForecastsRequest(page_size=4))
        last = pb.ListForecastsRequest(page_size=4, page_token=page.next_page_token)
        assert symbols_of(await second.stub.ListForecasts(last)) == ["S4", "S5"]
        quotes.hidden = 1
        changes = [await told(stream) for stream in streams]
        # Of versions that follow each other quickly a replica may tell only the last.
        assert list(changes[0].forecasts) == list(changes[1].forecasts)
        assert symbols_of(changes[0]) == ["S0", "YOUNG"]
        assert min(each.version for each in changes) > snapshots[0].version
        again = await told(watching(second.stub, "S0", "YOUNG"))
        assert again.snapshot
        assert again.version >= changes[1].version
        assert list(again.forecasts) == list(changes[0].forecasts)


async def last_of(stream: Any) -> None:
    """Read to the end, whatever is told before it."""
    async for _ in stream:
        pass


async def test_a_stop_ends_the_streams_with_the_reason(
    serve_quotes: Fixture, tmp_path: Path, quick_recipe: Recipe
) -> None:
    async with serve_quotes() as market, AsyncExitStack() as service:
        settings = PredictionSettings(
            service_token=SERVICE_TOKEN,
            data_dir=tmp_path,
            listen="127.0.0.1:0",
            quote_target=f"127.0.0.1:{market.port}",
        )
        server = await service.enter_async_context(running(settings, recipe=quick_recipe))
        async with calling(server, SERVICE) as channel:
            streams = [watching(PredictionServiceStub(channel), "S0") for _ in range(3)]
            for stream in streams:
                assert (await told(stream)).snapshot
            async with asyncio.timeout(8):  # streams that had no end would be given ten seconds
                await service.aclose()
            for stream in streams:
                error = await refusal(last_of(stream))
                assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "SERVICE_STOPPING")


async def test_a_watcher_goes_on_at_another_replica(
    quotes: Fixture, serve_quotes: Fixture, serve_predictions: Fixture, postgres_url: str
) -> None:
    async with serve_quotes() as market, AsyncExitStack() as later:
        async with serve_predictions(market.port, postgres_url) as first:
            await first.until(by_model)
            second = await later.enter_async_context(serve_predictions(market.port, postgres_url))
            before = await told(watching(first.stub, "S0", "YOUNG"))
            await until_alike(first.stub, second.stub)
        stream = watching(second.stub, "S0", "YOUNG")
        again = await told(stream)
        assert again.version >= before.version
        assert list(again.forecasts) == list(before.forecasts)
        quotes.hidden = 1  # and the second issues from now on
        after = await told(stream)
        assert after.version > again.version
        assert symbols_of(after) == ["S0", "YOUNG"]
