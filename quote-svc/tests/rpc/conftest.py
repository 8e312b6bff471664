"""The real service over a real channel: a csv market of a few bars, a demo set by hand."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from grpc.aio import AioRpcError

from foretick.quote.v1 import quote_pb2
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick_rpc.database import migrate
from foretick_rpc.errors import AppError, app_error
from foretick_rpc.testing import SERVICE_TOKEN, calling
from quote_svc.app import running
from quote_svc.settings import MarketChoice, QuoteSettings
from replica_stage import Stage

Start = Callable[..., AbstractAsyncContextManager[QuoteServiceStub]]
CSV = """symbol,date,open,high,low,close,volume
AAA,2019-12-30,10.5,12,10,11,1100
AAA,2019-12-31,11,11.5,10.8,11.2,1200
AAA,2020-01-02,11,11.5,10.8,11.3,1300
BAD,2019-12-30,20.5,22,20,x,2100
BBB,2019-12-30,20.5,22,20,21,2100
BBB,2019-12-31,21,21.5,20.8,21.2,2200
CCC,2019-12-31,30,31,30,31,3000
??,2019-12-31,30,31,30,31,3000
"""


class Wall:
    """A monotonic clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def start(tmp_path: Path, wall: Wall, shared_past: None) -> Start:
    """Starts the service with some settings, more than once if need be; a stub to call it."""

    @asynccontextmanager
    async def started(**settings: object) -> AsyncIterator[QuoteServiceStub]:
        chosen = QuoteSettings.model_validate(
            {
                "FORETICK_SERVICE_TOKEN": SERVICE_TOKEN,
                "FORETICK_DATA_DIR": tmp_path / "kept",
                "QUOTE_LISTEN": "127.0.0.1:0",
                **settings,
            }
        )
        service = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"]
        async with running(chosen, wall, wall) as server, calling(server, service) as channel:
            yield QuoteServiceStub(channel)

    return started


@pytest.fixture
async def csv(start: Start, tmp_path: Path) -> AsyncIterator[QuoteServiceStub]:
    """AAA, BBB and CCC as of 2019-12-31; BAD is broken."""
    path = tmp_path / "prices.csv"
    path.write_text(CSV)
    async with start(
        QUOTE_MARKET=MarketChoice.CSV, QUOTE_CSV_PATH=path, QUOTE_AS_OF="2019-12-31"
    ) as stub:
        yield stub


@pytest.fixture
async def demo(start: Start) -> AsyncIterator[QuoteServiceStub]:
    async with start() as stub:
        yield stub


@pytest.fixture
def refusal() -> Callable[[Awaitable[object]], Awaitable[AppError]]:
    """Awaits a call that must fail; what the caller is told."""

    async def refused(call: Awaitable[object]) -> AppError:
        with pytest.raises(AioRpcError) as caught:
            await call
        return app_error(caught.value)

    return refused


@pytest.fixture
async def stage(postgres_url: str) -> Stage:
    await migrate(postgres_url, "quote_svc")
    return Stage(postgres_url)
