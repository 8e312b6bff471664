"""What a trained model is, without what trains it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from hashlib import sha256

from prediction_svc.fits import Fit


@dataclass(frozen=True)
class ModelFacts:
    """A trained model as it is told: all but what forecasts."""

    version: str
    fit_date: date
    train_start: date
    train_rows: int
    train_symbols: int
    create_time: datetime
    withdrawn: bool = False


@dataclass(frozen=True)
class TrainedModel:
    """The scale model of one fixed date."""

    fit: Fit
    booster: bytes
    """XGBoost's own UBJSON."""
    feature_names: tuple[str, ...]
    train_start: date
    train_rows: int
    train_symbols: int
    rows_hash: str
    """SHA-256 of the features and labels learned from."""
    create_time: datetime
    """When training ended, aware, by the wall clock."""
    withdrawn: bool = False
    """Whether it answers no more."""

    @cached_property
    def version(self) -> str:
        """Unique in its market: the fit date and the first digits of the model's own hash."""
        return f"scale-{self.fit.session_date:%Y%m%d}-{sha256(self.booster).hexdigest()[:8]}"

    @property
    def facts(self) -> ModelFacts:
        """What is told of it."""
        return ModelFacts(
            version=self.version,
            fit_date=self.fit.session_date,
            train_start=self.train_start,
            train_rows=self.train_rows,
            train_symbols=self.train_symbols,
            create_time=self.create_time,
            withdrawn=self.withdrawn,
        )


def serving_model(models: Sequence[TrainedModel], second: int) -> TrainedModel:
    """Return the latest model whose fit had closed at an instant; models rise by their fits.

    Raises ValueError before the first.
    """
    answering = [model for model in models if model.fit.second <= second]
    if not answering:
        raise ValueError("no model had been fitted by then")
    return answering[-1]
