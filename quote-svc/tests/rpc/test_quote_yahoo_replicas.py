"""Two whole services over one database and one Yahoo, which hears of each symbol once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path

import pytest
from grpc.aio import AioRpcError

from fake_yahoo import FakeYahoo
from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick_rpc.database import migrate
from foretick_rpc.errors import app_error
from foretick_rpc.testing import SERVICE_TOKEN, calling
from quote_svc.app import running
from quote_svc.settings import QuoteSettings
from yahoo_answers import Listing, sessions

DAYS = sessions(date(2025, 1, 2), 300)


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYahoo]:
    with FakeYahoo() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        for symbol in ("AAPL", "MSFT"):
            fake.listings[symbol] = Listing(symbol, DAYS, [100.0 + n for n in range(len(DAYS))])
        yield fake


@asynccontextmanager
async def replica(url: str, folder: Path, yahoo: FakeYahoo) -> AsyncIterator[QuoteServiceStub]:
    seeds = folder / "seeds.txt"
    seeds.write_text("# none\n")
    settings = QuoteSettings.model_validate(
        {
            "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN,
            "QUOTE_LISTEN": "127.0.0.1:0",
            "QUOTE_MARKET": "yahoo",
            "QUOTE_DATABASE_URL": url,
            "QUOTE_CA_BUNDLE": yahoo.ca_bundle,
            "QUOTE_SEED_FILE": seeds,
            "QUOTE_YAHOO_RATE": 100,
        }
    )
    service = pb.DESCRIPTOR.services_by_name["QuoteService"]
    async with running(settings) as server, calling(server, service) as channel:
        yield QuoteServiceStub(channel)


async def history(stub: QuoteServiceStub, symbol: str) -> pb.GetHistoryResponse:
    """The history of a symbol, asked for again for as long as it is being fetched."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await stub.GetHistory(pb.GetHistoryRequest(symbol=symbol))
            except AioRpcError as error:
                if app_error(error).reason != "HISTORY_PENDING":
                    raise


async def test_yahoo_is_asked_once_and_by_whoever_is_left(
    postgres_url: str, tmp_path: Path, yahoo: FakeYahoo
) -> None:
    await migrate(postgres_url, "quote_svc")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        one = await first.enter_async_context(replica(postgres_url, tmp_path, yahoo))
        two = await stack.enter_async_context(replica(postgres_url, tmp_path, yahoo))
        theirs, ours = await asyncio.gather(history(two, "AAPL"), history(one, "AAPL"))
        assert ours.closes[-1] == 399.0
        assert theirs == ours
        assert yahoo.charts.count("AAPL") == 1
        await first.aclose()
        assert (await history(two, "MSFT")).closes[-1] == 399.0
        assert yahoo.charts.count("MSFT") == 1
