"""Trained models, kept in the database so that a restart trains nothing anew."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from foretick_rpc.database import Database, insert
from foretick_rpc.leases import Lease
from prediction_svc.fits import Fit
from prediction_svc.models import ModelFacts, TrainedModel
from prediction_svc.recipe import HORIZON, Recipe
from prediction_svc.schema import models
from prediction_svc.trainings import count_withdrawal

_FACTS = (
    models.c.model_id,
    models.c.model_version,
    models.c.fit_date,
    models.c.train_start_date,
    models.c.train_rows,
    models.c.train_symbols,
    models.c.create_seconds,
    models.c.withdrawn_seconds,
)


class ModelNotFoundError(Exception):
    """There is no model of that version."""


@dataclass(frozen=True)
class Withdrawal:
    """What was withdrawn, and what answers instead; None where nothing learned is left."""

    withdrawn: ModelFacts
    answering: ModelFacts | None


class ModelStore:
    """The models by market id, recipe and fit date; only the holder of `lease` adds any."""

    def __init__(
        self, database: Database, lease: Lease, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._lease = lease
        self._clock = clock

    async def load(self, market_id: str, recipe: Recipe) -> list[TrainedModel]:
        """Return all models of a recipe, the latest trained of each fit date last."""
        query = (
            _of_market(select(models), market_id)
            .where(models.c.recipe_hash == recipe.fingerprint())
            .order_by(models.c.fit_date, models.c.model_id)
        )

        def work(connection: Connection) -> list[TrainedModel]:
            return [_model(row) for row in connection.execute(query)]

        return await self._database.read(work)

    async def listed(self, market_id: str, first: int, count: int) -> list[ModelFacts]:
        """Return what is told of `count` models from place `first` on, the latest fit first."""
        query = (
            _of_market(select(*_FACTS), market_id)
            .order_by(models.c.fit_seconds.desc(), models.c.model_id.desc())
            .offset(first)
            .limit(count)
        )

        def work(connection: Connection) -> list[ModelFacts]:
            return [_facts(row) for row in connection.execute(query)]

        return await self._database.read(work)

    async def find(self, market_id: str, version: str) -> ModelFacts | None:
        """Return what is told of a model."""
        query = _of_version(market_id, version)

        def work(connection: Connection) -> ModelFacts | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _facts(row)

        return await self._database.read(work)

    async def add(self, market_id: str, model: TrainedModel, recipe: Recipe) -> None:
        """Keep a model; one trained on the same rows before stays. Raises LeaseLostError."""
        values = {
            "market_id": market_id,
            "horizon": HORIZON,
            "fixed_date": model.fit.fixed_date,
            "fit_date": model.fit.session_date,
            "fit_seconds": model.fit.second,
            "recipe_hash": recipe.fingerprint(),
            "rows_hash": model.rows_hash,
            "model_version": model.version,
            "booster": model.booster,
            "feature_names": list(model.feature_names),
            "train_start_date": model.train_start,
            "train_rows": model.train_rows,
            "train_symbols": model.train_symbols,
            "metrics": {},
            "create_seconds": int(model.create_time.timestamp()),
            "recipe": asdict(recipe),
        }

        def work(connection: Connection) -> None:
            self._lease.require(connection)
            connection.execute(insert(connection, models).values(values).on_conflict_do_nothing())

        await self._database.write(work)

    async def withdraw(self, market_id: str, version: str) -> Withdrawal:
        """Let a model answer no more, on whichever replica; again, that changes nothing.

        Raises ModelNotFoundError.
        """
        own = (models.c.market_id == market_id) & (models.c.model_version == version)
        mark = (
            update(models)
            .where(own, models.c.withdrawn_seconds.is_(None))
            .values(withdrawn_seconds=int(self._clock()))
        )
        same_recipe = models.c.recipe_hash.in_(select(models.c.recipe_hash).where(own))
        left = (
            _of_market(select(*_FACTS), market_id)
            .where(same_recipe, models.c.withdrawn_seconds.is_(None))
            .order_by(models.c.fit_seconds.desc(), models.c.model_id.desc())
            .limit(1)
        )

        def work(connection: Connection) -> Withdrawal:
            if connection.execute(mark).rowcount:
                count_withdrawal(connection, market_id)
            row = connection.execute(_of_version(market_id, version)).one_or_none()
            if row is None:
                raise ModelNotFoundError(version)
            answering = connection.execute(left).one_or_none()
            return Withdrawal(_facts(row), None if answering is None else _facts(answering))

        return await self._database.write(work)


def _of_market(query: Select[Any], market_id: str) -> Select[Any]:
    return query.where(models.c.market_id == market_id, models.c.horizon == HORIZON)


def _of_version(market_id: str, version: str) -> Select[Any]:
    # Recipes that differ in what comes after training alone make the same model.
    own = _of_market(select(*_FACTS), market_id).where(models.c.model_version == version)
    return own.order_by(models.c.model_id.desc()).limit(1)


def _facts(row: Row[Any]) -> ModelFacts:
    return ModelFacts(
        version=row.model_version,
        fit_date=row.fit_date,
        train_start=row.train_start_date,
        train_rows=row.train_rows,
        train_symbols=row.train_symbols,
        create_time=datetime.fromtimestamp(row.create_seconds, UTC),
        withdrawn=row.withdrawn_seconds is not None,
    )


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
        withdrawn=row.withdrawn_seconds is not None,
    )
