"""The composition root: everything that the service is made of, put together here alone."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial

from foretick.prediction.v1 import prediction_pb2_grpc
from foretick_rpc.database import open_database
from foretick_rpc.leases import LEASE_SECONDS, Lease
from foretick_rpc.server import RpcServer, RpcService
from prediction_svc.editions import Editions
from prediction_svc.issuing import POLL_SECONDS, Issuer
from prediction_svc.judging import Judge
from prediction_svc.ledger import Ledger
from prediction_svc.metrics import Metrics, serving_metrics
from prediction_svc.model_store import ModelStore
from prediction_svc.quote_client import QuoteMarket, QuoteReader, open_quotes
from prediction_svc.recipe import Recipe
from prediction_svc.recording import Recorder
from prediction_svc.schema import leases
from prediction_svc.servicer import PredictionServicer
from prediction_svc.settings import PredictionSettings
from prediction_svc.track_record_store import TrackRecords
from prediction_svc.training import Training
from prediction_svc.trainings import Trainings
from prediction_svc.workers import Workers


@asynccontextmanager
async def running(
    settings: PredictionSettings,
    *,
    recipe: Recipe | None = None,
    poll_seconds: float = POLL_SECONDS,
    lease_seconds: float = LEASE_SECONDS,
) -> AsyncIterator[RpcServer]:
    """The service, from the opened database to the last answer.

    Args:
        settings: where to listen, whom to ask and what to open.
        recipe: how forecasts are made; the product's own where none is given.
        poll_seconds: how often at least the market is asked for its clock.
        lease_seconds: how long a replica that issues may be silent before another takes over.
    """
    recipe = recipe or Recipe()
    token = settings.service_token.get_secret_value()
    reader = QuoteReader(settings.quote_target, token)
    changed = asyncio.Event()
    async with (
        open_database(settings.database, "prediction_svc") as database,
        open_quotes(settings.quote_target, token) as channel,
        Workers() as workers,
    ):
        lease = Lease(database, leases, "work", seconds=lease_seconds)
        editions = Editions(database, lease)
        metrics = Metrics()
        trainings = Trainings(database, lease, editions.book)
        models = ModelStore(database, lease)
        track_records = TrackRecords(database, lease)
        ledger = Ledger(database, lease)
        issuer = Issuer(
            QuoteMarket(channel),
            reader,
            workers,
            editions=editions,
            records=Recorder(ledger, metrics),
            training=Training(
                workers,
                reader,
                models,
                trainings,
                recipe,
                metrics=metrics,
                done=changed.set,
            ),
            judge=Judge(
                workers,
                reader,
                track_records,
                database_url=settings.database,
                done=changed.set,
            ),
            metrics=metrics,
            database_url=settings.database,
            changed=changed,
            poll_seconds=poll_seconds,
        )
        servicer = PredictionServicer(editions.book, ledger, trainings, models, track_records)
        service = RpcService(
            "foretick.prediction.v1.PredictionService",
            partial(prediction_pb2_grpc.add_PredictionServiceServicer_to_server, servicer),
        )
        server = RpcServer(
            service, listen=settings.listen, service_token=token, domain="prediction.foretick"
        )
        await editions.catch_up()
        await trainings.catch_up()
        async with (
            serving_metrics(metrics, settings.metrics_listen),
            server,
            _in_background(editions.follow(), trainings.follow(), lease.run(issuer.run)),
        ):
            yield server


@asynccontextmanager
async def _in_background(*works: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
