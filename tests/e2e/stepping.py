"""A demo exchange that a test holds and steps, and the gRPC by which it checks what pages say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1.prediction_pb2_grpc import PredictionServiceStub
from foretick.quote.v1 import quote_pb2
from foretick.quote.v1.quote_pb2_grpc import MarketControlServiceStub
from foretick_rpc.client import open_channel
from foretick_rpc.convert import instant
from stack import Stack, eventually

# A machine may be busy, and the first model is being trained meanwhile.
WRITTEN_WITHIN_SECONDS = 300.0


@dataclass
class Exchange:
    """The exchange under control."""

    control: MarketControlServiceStub
    predictions: PredictionServiceStub

    async def hold(self) -> None:
        await self.control.SetClock(quote_pb2.SetClockRequest(hold=True))

    async def step(self) -> str:
        """Close one more session; its date."""
        stepped = await self.control.SetClock(quote_pb2.SetClockRequest(step_sessions=1))
        return instant(stepped.market_time).date().isoformat()

    async def break_with(self, *faults: quote_pb2.Fault) -> None:
        await self.control.SetFaults(quote_pb2.SetFaultsRequest(faults=faults))

    async def entries(self, symbol: str, horizon: int = 1) -> list[pb.LedgerEntry]:
        request = pb.ListLedgerEntriesRequest(symbol=symbol, horizon=horizon, page_size=500)
        return list((await self.predictions.ListLedgerEntries(request)).entries)

    async def written(self, symbol: str, as_of: str) -> list[pb.LedgerEntry]:
        """The symbol's rows, once the forecast from a session on is among them."""

        async def there() -> list[pb.LedgerEntry] | None:
            entries = await self.entries(symbol)
            return entries if entries and entries[0].as_of_session_date == as_of else None

        what = f"the forecast of {symbol} from {as_of} on"
        entries = await eventually(there, what, WRITTEN_WITHIN_SECONDS)
        assert entries
        return entries


@asynccontextmanager
async def exchange_of(stack: Stack) -> AsyncIterator[Exchange]:
    """Control the exchange of a stack that runs with QUOTE_CONTROL=1."""
    token = stack.environment["FORETICK_SERVICE_TOKEN"]
    controls = quote_pb2.DESCRIPTOR.services_by_name["MarketControlService"]
    services = pb.DESCRIPTOR.services_by_name["PredictionService"]
    async with (
        open_channel(stack.target("quote-svc"), service_token=token, service=controls) as quotes,
        open_channel(
            stack.target("prediction-svc"), service_token=token, service=services
        ) as predictions,
    ):
        yield Exchange(MarketControlServiceStub(quotes), PredictionServiceStub(predictions))
