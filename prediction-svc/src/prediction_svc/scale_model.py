"""The pooled model of the size of the next move. Only worker processes import this."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import xgboost as xgb

from prediction_svc.boosters import Rounds, matrix, parameters
from prediction_svc.features import Features
from prediction_svc.fits import EPOCH, Fit
from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import Panel
from prediction_svc.recipe import Recipe

SMALLEST_SIZE, LARGEST_SIZE = 1e-3, 10.0  # reg:gamma needs labels above 0; one crash is one row


def label_rows(panel: Panel, fit: Fit, recipe: Recipe) -> Ints:
    """Rows that a model of this fixed date learns from: labels known at the fit's close."""
    oldest = (fit.fixed_date - timedelta(days=recipe.training_days) - EPOCH).days
    usable = (panel.next_seconds <= fit.second) & (panel.days >= oldest)
    usable &= np.isfinite(panel.sigma) & np.isfinite(panel.next_returns)
    return np.flatnonzero(usable & (panel.own_session >= recipe.min_bars)).astype(np.int64)


def size_labels(panel: Panel, rows: Ints) -> Floats:
    """|next log return| / σ of each row, kept within what `reg:gamma` can take."""
    sizes = np.abs(panel.next_returns[rows] / panel.sigma[rows])
    return np.clip(sizes, SMALLEST_SIZE, LARGEST_SIZE)


def fit_sizes(
    panel: Panel, features: Features, rows: Ints, recipe: Recipe, tell: Callable[[float], None]
) -> xgb.Booster:
    """Fit `reg:gamma` on |next log return| / σ; `tell` is told which share is done."""
    labels = size_labels(panel, rows)
    chosen = parameters(recipe) | {
        "objective": "reg:gamma",
        "max_depth": recipe.depth,
        "min_child_weight": recipe.min_child_weight,
    }
    learned = matrix(features, rows, features.names, labels)
    return xgb.train(chosen, learned, recipe.rounds, callbacks=[Rounds(recipe.rounds, tell)])
