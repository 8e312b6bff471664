"""A caller who does not read: the stream waits for it, and then has the latest for it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub, add_QuoteServiceServicer_to_server
from foretick_rpc.server import RpcService
from foretick_rpc.testing import calling, serving
from quote_svc.demo_market import DemoMarket
from quote_svc.demo_time import DemoPace
from quote_svc.market import Quote, QuoteBatch, SymbolUnavailable
from quote_svc.servicer import QuoteServicer
from quote_svc.watching import Watching

SERVICE = pb.DESCRIPTOR.services_by_name["QuoteService"]
POLLS = 400


class RestlessMarket(DemoMarket):
    """Every price is another one whenever it is asked for, up to some number of times."""

    def __init__(self) -> None:
        super().__init__(7, DemoPace(120, 15), lambda: 60.0)
        self.asked = 0
        self.rests = asyncio.Event()

    async def quotes(self, symbols: Sequence[str]) -> QuoteBatch:
        self.asked = min(self.asked + 1, POLLS)
        if self.asked == POLLS:
            self.rests.set()
        batch = await super().quotes(symbols)
        answers: dict[str, Quote | SymbolUnavailable] = {
            # Long enough for the connection's buffers to be full soon.
            symbol: replace(answer, price=float(self.asked), stale_reason="so " * 300)
            for symbol, answer in batch.answers.items()
            if isinstance(answer, Quote)
        }
        return QuoteBatch(batch.market_time, answers)


async def test_nothing_piles_up_for_a_caller_who_does_not_read(shared_past: None) -> None:
    market = RestlessMarket()
    symbols = [instrument.symbol for instrument in await market.universe()]
    servicer = QuoteServicer(market, Watching(market, partial(asyncio.sleep, 0.001)))
    service = RpcService(SERVICE.full_name, partial(add_QuoteServiceServicer_to_server, servicer))
    async with serving(service) as server, calling(server, SERVICE) as channel:
        request = pb.WatchQuotesRequest(symbols=symbols)
        stream = QuoteServiceStub(channel).WatchQuotes(request, timeout=60)
        first = await stream.read()
        assert isinstance(first, pb.WatchQuotesResponse)
        assert first.snapshot
        await market.rests.wait()
        received = 0
        price = 0.0
        while price < POLLS:
            message = await stream.read()
            assert isinstance(message, pb.WatchQuotesResponse)
            price = message.quotes[0].price
            received += 1
        # What the connection itself holds back, but not a message for every change.
        assert received < POLLS / 2
