"""The pooled model of who moves up more than the others. Only worker processes import this."""

from collections.abc import Callable

import numpy as np
import xgboost as xgb

from prediction_svc.boosters import Rounds, matrix, parameters, predict
from prediction_svc.crowd import ranks_among_peers
from prediction_svc.features import Features
from prediction_svc.histories import Floats, Ints
from prediction_svc.panel import Panel
from prediction_svc.recipe import Recipe

LARGEST_SCORE = 4.0
FEATURES = (
    *(f"move {sessions}" for sessions in (1, 5, 21, 63, 250)),
    *(f"rank of move {sessions}" for sessions in (1, 5, 21, 250)),
    *(f"autocorrelation {sessions}" for sessions in (63, 250)),
    *(f"followed move {sessions}" for sessions in (63, 250)),
    *("gap 1", "close in range", "volume 1", "volume 5", "|z| 5", "|z| 63", "log σ to market"),
    *("rank of log σ", "rank of volume 1", "rank of |z| 5", "breadth", "market move"),
)


def fit_ranks(
    panel: Panel, features: Features, rows: Ints, recipe: Recipe, tell: Callable[[float], None]
) -> xgb.Booster | None:
    """Fit squared error on cross-sectional ranks of next log return / σ.

    None where fewer than 20 peers ever closed together. The booster's attribute `spread` is the
    standard deviation of its predictions on what it learned from. `tell` is told which share is
    done.
    """
    ranks = ranks_among_peers(panel, panel.next_returns / panel.sigma)[rows]
    ranked = rows[ranks != 0]
    if not len(ranked):
        return None
    learned = matrix(features, ranked, FEATURES, ranks[ranks != 0])
    chosen = parameters(recipe) | {
        "objective": "reg:squarederror",
        "base_score": 0.0,
        "eta": recipe.rank_learning_rate,
        "max_depth": recipe.rank_depth,
        "min_child_weight": recipe.rank_min_child_weight,
    }
    rounds = recipe.rank_rounds
    booster = xgb.train(chosen, learned, rounds, callbacks=[Rounds(rounds, tell)])
    booster.set_attr(spread=float(np.std(booster.predict(learned))).hex())
    return booster


def rank_scores(booster: xgb.Booster, features: Features, rows: Ints) -> Floats:
    """Standardised rank scores, shape (rows,): predictions over their spread, within ±4."""
    spread = float.fromhex(str(booster.attr("spread")))
    if not spread > 0:
        return np.zeros(len(rows))
    return np.clip(predict(booster, features, rows) / spread, -LARGEST_SCORE, LARGEST_SCORE)
