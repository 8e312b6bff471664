"""The pooled XGBoost model of the size of the next move. Only worker processes import this."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from prediction_svc.features import Features
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.histories import Floats, Ints
from prediction_svc.models import TrainedModel
from prediction_svc.panel import Panel
from prediction_svc.recipe import Recipe

SMALLEST_SIZE, LARGEST_SIZE = 1e-3, 10.0  # reg:gamma needs labels above 0; one crash is one row


def label_rows(panel: Panel, fit: Fit, recipe: Recipe) -> Ints:
    """Rows that a model of this fixed date learns from: labels known at the fit's close."""
    oldest = (fit.fixed_date - timedelta(days=recipe.training_days) - EPOCH).days
    usable = (panel.next_seconds <= fit.second) & (panel.days >= oldest)
    usable &= np.isfinite(panel.sigma) & np.isfinite(panel.next_returns)
    return np.flatnonzero(usable & (panel.own_session >= recipe.min_bars)).astype(np.int64)


def train(panel: Panel, features: Features, fit: Fit, recipe: Recipe) -> TrainedModel | None:
    """Fit `reg:gamma` on |next log return / σ|; None where there are too few labelled sessions."""
    rows = label_rows(panel, fit, recipe)
    if len(np.unique(panel.seconds[rows])) < recipe.min_labelled_sessions:
        return None
    sizes = np.clip(np.abs(panel.next_returns[rows] / panel.sigma[rows]), SMALLEST_SIZE, None)
    labels = np.minimum(sizes, LARGEST_SIZE).astype(np.float32)
    learned = features.values[rows]
    booster = xgb.train(_parameters(recipe), _matrix(learned, labels), recipe.rounds)
    return TrainedModel(
        fit=fit,
        booster=bytes(booster.save_raw("ubj")),
        feature_names=features.names,
        train_start=EPOCH + timedelta(days=int(panel.days[rows].min())),
        train_rows=len(rows),
        train_symbols=len(np.unique(panel.symbol_of[rows])),
        rows_hash=sha256(learned.tobytes() + labels.tobytes()).hexdigest(),
        create_time=datetime.now(UTC).replace(microsecond=0),
    )


def _parameters(recipe: Recipe) -> dict[str, object]:
    return {
        "objective": "reg:gamma",
        "tree_method": "hist",
        "nthread": 1,  # threads of several processes on shared cores wait for each other
        "seed": recipe.seed,
        "max_depth": recipe.depth,
        "eta": recipe.learning_rate,
        "min_child_weight": recipe.min_child_weight,
        "subsample": recipe.row_share,
        "colsample_bytree": recipe.column_share,
        "max_bin": recipe.bins,
    }


def _matrix(values: NDArray[np.float32], labels: NDArray[np.float32] | None = None) -> xgb.DMatrix:
    return xgb.DMatrix(values, label=labels, missing=np.nan, nthread=1)


def model_scale(panel: Panel, features: Features, models: Sequence[TrainedModel]) -> Floats:
    """Predicted size × σ of each row, by the latest model whose fit had closed at the row's close.

    Out of sample throughout; NaN before the first model. Raises ValueError where a model was
    trained on other features.
    """
    scale = np.full(len(panel.seconds), np.nan)
    ordered = sorted(models, key=lambda model: model.fit.second)
    seconds = np.array([model.fit.second for model in ordered])
    serving = np.searchsorted(seconds, panel.seconds, side="right") - 1
    for i, model in enumerate(ordered):
        if model.feature_names != features.names:
            raise ValueError(f"model {model.version} was trained on other features")
        rows = np.flatnonzero((serving == i) & np.isfinite(panel.sigma))
        if len(rows):
            booster = xgb.Booster({"nthread": 1}, model_file=bytearray(model.booster))
            sizes = booster.predict(_matrix(features.values[rows]))
            scale[rows] = sizes.astype(np.float64) * panel.sigma[rows]
    return scale
