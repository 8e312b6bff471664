"""The heavy work, as functions that run in a worker process.

Everything that needs XGBoost is imported where it is used: the serving process imports this module
to name its functions, and must not load the library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from prediction_svc.features import build_features
from prediction_svc.fits import Fit
from prediction_svc.histories import Floats, History
from prediction_svc.models import TrainedModel, serving_model
from prediction_svc.panel import Panel, build_panel
from prediction_svc.quantiles import move_quantiles, no_learning_scale
from prediction_svc.recipe import Recipe
from prediction_svc.scores import Score, scorable_rows, score_symbols


@dataclass(frozen=True)
class SymbolForecast:
    """Forecast of one symbol's next session, relative to its as-of close."""

    symbol: str
    as_of_day: int
    """Days since 1970-01-01."""
    close: float
    log_moves: tuple[float, ...]
    """One for each of recipe.LEVELS, never falling."""
    score: Score
    model_version: str
    """Empty where nothing was learned."""


Batch = dict[str, SymbolForecast]


def forecast_without_learning(histories: Sequence[History], recipe: Recipe) -> Batch:
    """Forecast the next session of every symbol that has enough bars, by no-learning."""
    panel = build_panel(histories, recipe)
    return _no_learning(panel, recipe)


def _no_learning(panel: Panel, recipe: Recipe) -> Batch:
    return forecast_latest(panel, no_learning_scale(panel), recipe.min_residual_sessions, recipe)


def forecast_with_models(
    histories: Sequence[History], models: Sequence[TrainedModel], recipe: Recipe
) -> Batch:
    """Forecast by the scale model; a symbol that it cannot answer for, by no-learning.

    The models are those of fixed dates, rising; each answers from its fit to the next one's.
    """
    from prediction_svc.scale_model import model_scale  # noqa: PLC0415 - see the module

    panel = build_panel(histories, recipe)
    scale = model_scale(panel, build_features(panel), models)
    versions = {
        symbol: serving_model(models, second).version
        for symbol, second in zip(panel.symbols, panel.seconds[panel.last_rows], strict=True)
        if second >= models[0].fit.second
    }
    made = forecast_latest(panel, scale, recipe.min_model_sessions, recipe, versions)
    if len(made) == len(panel.symbols):
        return made
    return _no_learning(panel, recipe) | made


def forecast_latest(
    panel: Panel,
    scale: Floats,
    least_sessions: int,
    recipe: Recipe,
    versions: Mapping[str, str] = MappingProxyType({}),
) -> Batch:
    """Forecast each symbol's next session and score the scale on the sessions before."""
    scored = scorable_rows(panel, scale, recipe)
    rows = np.concatenate((scored, panel.last_rows))
    moves = move_quantiles(panel, scale, rows, least_sessions, recipe)
    scores = score_symbols(panel, moves.first(len(scored)), recipe)
    batch: Batch = {}
    latest = moves.quantiles[len(scored) :]
    for symbol, row, quantiles in zip(panel.symbols, panel.last_rows, latest, strict=True):
        if np.isfinite(quantiles).all() and panel.own_session[row] + 1 >= recipe.min_bars:
            batch[symbol] = SymbolForecast(
                symbol=symbol,
                as_of_day=int(panel.days[row]),
                close=float(panel.closes[row]),
                log_moves=tuple(float(move) for move in quantiles),
                score=scores[symbol],
                model_version=versions.get(symbol, ""),
            )
    return batch


def train_model(histories: Sequence[History], fit: Fit, recipe: Recipe) -> TrainedModel | None:
    """Train the model of one fixed date; None where the histories are too short for it."""
    from prediction_svc.scale_model import train  # noqa: PLC0415 - see the module

    panel = build_panel(histories, recipe)
    return train(panel, build_features(panel), fit, recipe)
