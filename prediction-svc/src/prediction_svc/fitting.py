"""Training of all models of one fixed date, and their predictions. Only workers import this."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import numpy as np

from prediction_svc import rank_model, scale_model
from prediction_svc.boosters import names_of, pack, predict, unpack
from prediction_svc.features import Features
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.models import TrainedModel
from prediction_svc.panel import Panel
from prediction_svc.quantiles import Predictions
from prediction_svc.recipe import Recipe

SIZES, RANKS = "sizes", "ranks"
SIZES_COST = 0.85  # part of the time of training, by measurement; ranks take the rest


def train(
    panel: Panel,
    features: Features,
    fit: Fit,
    recipe: Recipe,
    tell: Callable[[float], None] = lambda _: None,
) -> TrainedModel | None:
    """Fit the models of one date; None where there are too few labelled sessions.

    `tell` is told which share of the time of training has passed, 0 to 1.
    """
    rows = scale_model.label_rows(panel, fit, recipe)
    if len(np.unique(panel.seconds[rows])) < recipe.min_labelled_sessions:
        return None

    def of_sizes(share: float) -> None:
        tell(SIZES_COST * share)

    def of_ranks(share: float) -> None:
        tell(SIZES_COST + (1 - SIZES_COST) * share)

    boosters = {SIZES: scale_model.fit_sizes(panel, features, rows, recipe, of_sizes)}
    ranks = rank_model.fit_ranks(panel, features, rows, recipe, of_ranks)
    if ranks is not None:
        boosters[RANKS] = ranks
    labels = scale_model.size_labels(panel, rows).astype(np.float32)
    return TrainedModel(
        fit=fit,
        booster=pack(boosters),
        feature_names=features.names,
        train_start=EPOCH + timedelta(days=int(panel.days[rows].min())),
        train_rows=len(rows),
        train_symbols=len(np.unique(panel.symbol_of[rows])),
        rows_hash=sha256(features.values[rows].tobytes() + labels.tobytes()).hexdigest(),
        create_time=datetime.now(UTC).replace(microsecond=0),
    )


def predictions(
    panel: Panel, features: Features, models: Sequence[TrainedModel], recipe: Recipe
) -> Predictions:
    """Predict horizon 1: each row by the latest model whose fit had closed at the row's close.

    The scale is predicted size · σ. Raises ValueError where a model was trained on other features.
    """
    scale, score = np.full(len(panel.seconds), np.nan), np.zeros(len(panel.seconds))
    ordered = sorted(models, key=lambda model: model.fit.second)
    seconds = np.array([model.fit.second for model in ordered])
    serving = np.searchsorted(seconds, panel.seconds, side="right") - 1
    for i, model in enumerate(ordered):
        if model.feature_names != features.names:
            raise ValueError(f"model {model.version} was trained on other features")
        rows = np.flatnonzero((serving == i) & np.isfinite(panel.sigma))
        if not len(rows):
            continue
        scale[rows] = predict(unpack(model.booster, SIZES), features, rows) * panel.sigma[rows]
        if RANKS in names_of(model.booster):
            ranks = unpack(model.booster, RANKS)
            score[rows] = rank_model.rank_scores(ranks, features, rows)
    return Predictions(1, scale, score, recipe.min_model_sessions)
