"""The composition root: everything that the service is made of, put together here alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial

from foretick.prediction.v1 import prediction_pb2_grpc
from foretick.quote.v1 import quote_pb2
from foretick_rpc.client import open_channel
from foretick_rpc.database import Database
from foretick_rpc.server import RpcServer, RpcService
from prediction_svc.issuing import POLL_SECONDS, Issuer
from prediction_svc.model_store import ModelStore
from prediction_svc.quote_client import QuoteMarket
from prediction_svc.recipe import Recipe
from prediction_svc.servicer import PredictionServicer
from prediction_svc.settings import PredictionSettings
from prediction_svc.workers import Workers


@asynccontextmanager
async def running(
    settings: PredictionSettings,
    *,
    recipe: Recipe | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> AsyncIterator[RpcServer]:
    """The service, from the opened database to the last answer.

    Args:
        settings: where to listen, whom to ask and what to open.
        recipe: how forecasts are made; the product's own where none is given.
        poll_seconds: how often at least the market is asked for its clock.
    """
    recipe = recipe or Recipe()
    token = settings.service_token.get_secret_value()
    quote_service = quote_pb2.DESCRIPTOR.services_by_name["QuoteService"]
    database = await asyncio.to_thread(Database.open, settings.database_url, "prediction_svc")
    with closing(database):
        async with (
            open_channel(
                settings.quote_target, service_token=token, service=quote_service
            ) as channel,
            Workers() as workers,
        ):
            store = ModelStore(database, recipe.fingerprint())
            issuer = Issuer(QuoteMarket(channel), workers, store, recipe, poll_seconds)
            servicer = PredictionServicer(issuer.book, issuer.training)
            service = RpcService(
                "foretick.prediction.v1.PredictionService",
                partial(prediction_pb2_grpc.add_PredictionServiceServicer_to_server, servicer),
            )
            server = RpcServer(
                service,
                listen=settings.listen,
                service_token=token,
                domain="prediction.foretick",
            )
            async with server, _in_background(issuer):
                yield server


@asynccontextmanager
async def _in_background(issuer: Issuer) -> AsyncIterator[None]:
    task = asyncio.create_task(issuer.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
