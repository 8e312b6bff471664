"""Builds the service from its settings."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from foretick.quote.v1 import quote_pb2
from foretick.quote.v1.quote_pb2_grpc import add_QuoteServiceServicer_to_server
from foretick_rpc.errors import StartupError
from foretick_rpc.server import RpcServer, RpcService
from quote_svc.control_servicer import control_service
from quote_svc.faults import FaultyMarket
from quote_svc.market import MarketUnusable
from quote_svc.opening import opened_market
from quote_svc.servicer import QuoteServicer
from quote_svc.settings import QuoteSettings
from quote_svc.watching import Pushes, Watching

SERVICE_NAME = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"].full_name


def service(servicer: QuoteServicer) -> RpcService:
    """QuoteService, for a server to serve."""
    return RpcService(SERVICE_NAME, partial(add_QuoteServiceServicer_to_server, servicer))


@asynccontextmanager
async def running(
    settings: QuoteSettings,
    wall: Callable[[], float] = time.monotonic,
    epoch: Callable[[], float] = time.time,
) -> AsyncIterator[RpcServer]:
    """The service, serving; `wall` is a monotonic clock in seconds, `epoch` one since 1970-01-01.

    Raises StartupError where the market cannot be served.
    """
    try:
        pushes = Pushes()
        async with opened_market(settings, wall, epoch, pushes) as (market, clock):
            shown, services = market, []
            if settings.control and clock is not None:
                shown = faulty = FaultyMarket(market, wall)
                services.append(control_service(market, clock, faulty))
            servicer = QuoteServicer(shown, Watching(shown, pushes=pushes))
            async with RpcServer(
                service(servicer),
                *services,
                listen=settings.listen,
                service_token=settings.service_token.get_secret_value(),
                domain="quote.foretick",
            ) as rpc_server:
                try:
                    yield rpc_server
                finally:
                    # Streams have no end of their own for the server to wait for.
                    servicer.end_streams()
    except MarketUnusable as error:
        raise StartupError(str(error)) from error
