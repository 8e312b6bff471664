"""Trained models, kept in the database so that a restart trains nothing anew."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from foretick_rpc.database import Database, insert
from foretick_rpc.leases import Lease
from prediction_svc.fits import Fit
from prediction_svc.models import TrainedModel
from prediction_svc.recipe import HORIZON
from prediction_svc.schema import models
from prediction_svc.scores import Score


class ModelStore:
    """The models of one recipe, by market id and fit date; only the holder of `lease` writes."""

    def __init__(self, database: Database, lease: Lease, recipe_hash: str) -> None:
        self._database = database
        self._lease = lease
        self._recipe_hash = recipe_hash

    async def load(self, market_id: str) -> list[TrainedModel]:
        """Return all models of a market, the latest trained of each fit date last."""
        query = (
            select(models)
            .where(
                models.c.market_id == market_id,
                models.c.horizon == HORIZON,
                models.c.recipe_hash == self._recipe_hash,
            )
            .order_by(models.c.fit_date, models.c.model_id)
        )

        def work(connection: Connection) -> list[TrainedModel]:
            return [_model(row) for row in connection.execute(query)]

        return await self._database.read(work)

    async def add(self, market_id: str, model: TrainedModel) -> None:
        """Keep a model; one trained on the same rows before stays. Raises LeaseLostError."""
        values = {
            "market_id": market_id,
            "horizon": HORIZON,
            "fixed_date": model.fit.fixed_date,
            "fit_date": model.fit.session_date,
            "fit_seconds": model.fit.second,
            "recipe_hash": self._recipe_hash,
            "rows_hash": model.rows_hash,
            "model_version": model.version,
            "booster": model.booster,
            "feature_names": list(model.feature_names),
            "train_start_date": model.train_start,
            "train_rows": model.train_rows,
            "train_symbols": model.train_symbols,
            "metrics": {},
            "create_seconds": int(model.create_time.timestamp()),
        }

        def work(connection: Connection) -> None:
            self._lease.require(connection)
            connection.execute(insert(connection, models).values(values).on_conflict_do_nothing())

        await self._database.write(work)

    async def record_scores(
        self, market_id: str, version: str, scores: Mapping[str, Score]
    ) -> None:
        """Keep what a model has been worth on each symbol. Raises LeaseLostError."""
        metrics = {"scores": {symbol: asdict(score) for symbol, score in scores.items()}}
        statement = (
            update(models)
            .where(models.c.market_id == market_id, models.c.model_version == version)
            .values(metrics=metrics)
        )

        def work(connection: Connection) -> None:
            self._lease.require(connection)
            connection.execute(statement)

        await self._database.write(work)


def _model(row: Row[Any]) -> TrainedModel:
    return TrainedModel(
        fit=Fit(row.fixed_date, row.fit_date, row.fit_seconds),
        booster=row.booster,
        feature_names=tuple(row.feature_names),
        train_start=row.train_start_date,
        train_rows=row.train_rows,
        train_symbols=row.train_symbols,
        rows_hash=row.rows_hash,
        create_time=datetime.fromtimestamp(row.create_seconds, UTC),
    )
