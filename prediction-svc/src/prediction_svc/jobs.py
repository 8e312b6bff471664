"""The heavy work, as functions that run in a worker process.

Everything that needs XGBoost is imported where it is used: the serving process imports this module
to name its functions, and must not load the library.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from prediction_svc.eligibility import WhyNot, why_not
from prediction_svc.explanation import Explanation
from prediction_svc.features import Features, KeptFeatures, build_features
from prediction_svc.forecasting import (
    Forecasts,
    Standing,
    backtest,
    baselines,
    farther,
    forecast_latest,
    record_of,
    usable_rows,
    without_learning,
)
from prediction_svc.histories import Floats, History, Ints
from prediction_svc.models import TrainedModel, serving_model
from prediction_svc.panel import Panel, build_panel
from prediction_svc.quantiles import Predictions
from prediction_svc.recipe import HORIZON, HORIZONS, Recipe
from prediction_svc.record import Record
from prediction_svc.width import WidthState


@dataclass(frozen=True, slots=True)
class SymbolForecast:
    """Forecast of one symbol's move over the next sessions, relative to its as-of close."""

    symbol: str
    as_of_day: int
    """Days since 1970-01-01."""
    close: float
    log_moves: tuple[float, ...]
    """One for each of recipe.LEVELS, strictly rising."""
    model_version: str = ""
    """Empty where nothing was learned."""
    horizon: int = HORIZON
    p_up: float = 0.5
    base_rate: float = 0.5
    rank_score: float = 0.0
    multiplier: float = 1.0
    """Of the pool's drift: other than 1 only where the symbol's direction verdict stands."""
    sigma: float = 0.0
    """EWMA σ of the returns · √horizon, which scores divide by; 0 where it has too few bars."""
    width_state: str = ""
    """Digest of the width state that it was made with."""
    baselines: tuple[tuple[float, ...], ...] = ()
    """Log moves of the naive forecasters; empty where one of them has none."""
    explanation: Explanation | None = None


Batch = dict[str, SymbolForecast]


@dataclass(frozen=True)
class Backtest:
    """The recipe of one horizon, replayed over the histories at hand."""

    standing: Standing
    """After all that has resolved."""
    record: Record


def refusals(histories: Sequence[History], recipe: Recipe) -> dict[str, WhyNot]:
    """Symbols that are not forecast from their histories, each with its reason."""
    reasons = {history.symbol: why_not(history, recipe) for history in histories}
    return {symbol: reason for symbol, reason in reasons.items() if reason is not None}


def backtest_horizons(
    histories: Sequence[History],
    models: Sequence[TrainedModel],
    recipe: Recipe,
    horizons: Sequence[int] = HORIZONS,
) -> dict[int, Backtest]:
    """Replay each horizon over the histories; without models the no-learning forecaster.

    The models are those of fixed dates, rising; each answers from its fit to the next one's.
    """
    panel = build_panel(histories, recipe)
    features = _features(panel, models)
    predicted = _predictions(panel, features, models, horizons, recipe)
    return {horizon: _backtest(panel, of, recipe) for horizon, of in predicted.items()}


def forecast_horizons(  # noqa: PLR0913 - the last two are for those who forecast again
    histories: Sequence[History],
    models: Sequence[TrainedModel],
    standing: Mapping[int, Standing],
    recipe: Recipe,
    *,
    asked: Set[str] | None = None,
    kept: KeptFeatures | None = None,
) -> dict[int, Batch]:
    """Forecast every symbol that can be, or of those `asked` for, at each horizon in `standing`.

    A symbol that the models cannot answer for is forecast without learning, as wide as the others.
    What is `kept` of histories saves making it anew.
    """
    panel = build_panel(histories, recipe)
    answered = set(panel.symbols) - refusals(histories, recipe).keys()
    if asked is not None:
        answered &= asked
    features = _features(panel, models, kept)
    rows = panel.last_rows
    naive_ones = {h: np.stack(baselines(panel, rows, h, recipe), axis=1) for h in standing}

    def batch(of: Predictions) -> Batch:
        made = forecast_latest(panel, of, standing[of.horizon], recipe)
        return _batch(panel, made, naive_ones[of.horizon], standing[of.horizon], answered)

    predicted = _predictions(panel, features, models, tuple(standing), recipe)
    batches = {horizon: batch(of) for horizon, of in predicted.items()}
    if features is None:
        return batches
    told = _told_by_models(panel, features, models, answered)
    for horizon, made in batches.items():
        by_models = {s: _told(one, *told[s]) for s, one in made.items()}
        rest = {}
        if len(made) < len(answered):
            rest = batch(without_learning(panel, horizon, recipe))
        batches[horizon] = rest | by_models
    return batches


def _features(
    panel: Panel, models: Sequence[TrainedModel], kept: KeptFeatures | None = None
) -> Features | None:
    if not models:
        return None
    # of the rows that the models answer for
    return build_features(panel, min(model.fit.second for model in models), kept)


def _predictions(
    panel: Panel,
    features: Features | None,
    models: Sequence[TrainedModel],
    horizons: Sequence[int],
    recipe: Recipe,
) -> dict[int, Predictions]:
    if features is None:
        return {horizon: without_learning(panel, horizon, recipe) for horizon in horizons}
    from prediction_svc.fitting import predictions  # noqa: PLC0415 - see the module

    of_next = predictions(panel, features, models, recipe)
    return {h: of_next if h == HORIZON else farther(panel, of_next, h) for h in horizons}


def _backtest(panel: Panel, predicted: Predictions, recipe: Recipe) -> Backtest:
    rows = usable_rows(panel, predicted, recipe)
    forecasts, standing = backtest(panel, predicted, rows, recipe)
    record = record_of(panel, forecasts, recipe)
    return Backtest(standing, record)


def _batch(
    panel: Panel,
    forecasts: Forecasts,
    naive_ones: Floats,
    carried: Standing,
    answered: Collection[str],
) -> Batch:
    digests = [carried.states.get(name, WidthState()).digest() for name in panel.groups]
    batch = {}
    for i in np.flatnonzero(forecasts.made).tolist():
        if panel.symbols[i] in answered:
            digest = digests[panel.group_of[i]]
            batch[panel.symbols[i]] = _symbol_forecast(panel, forecasts, naive_ones[i], digest, i)
    return batch


def _symbol_forecast(
    panel: Panel, forecasts: Forecasts, naive_ones: Floats, width_state: str, i: int
) -> SymbolForecast:
    row = forecasts.rows[i]
    sigma = float(panel.return_sigma[row] * np.sqrt(forecasts.horizon))
    told = np.isfinite(naive_ones).all()
    return SymbolForecast(
        symbol=panel.symbols[i],
        as_of_day=int(panel.days[row]),
        close=float(panel.closes[row]),
        log_moves=tuple(forecasts.quantiles[i].tolist()),
        horizon=forecasts.horizon,
        p_up=float(forecasts.p_up[i]),
        base_rate=float(forecasts.base_rate[i]),
        rank_score=float(forecasts.score[i]),
        multiplier=float(forecasts.multiplier[i]),
        sigma=sigma if np.isfinite(sigma) else 0.0,
        width_state=width_state,
        baselines=tuple(tuple(q.tolist()) for q in naive_ones) if told else (),
    )


def _told(made: SymbolForecast, version: str, explanation: Explanation) -> SymbolForecast:
    # the horizons beyond are the next session's, stretched
    of_next = explanation if made.horizon == HORIZON else None
    return replace(made, model_version=version, explanation=of_next)


def _told_by_models(
    panel: Panel, features: Features, models: Sequence[TrainedModel], answered: Collection[str]
) -> dict[str, tuple[str, Explanation]]:
    # which model answers for each symbol, and why it predicts what it does
    from prediction_svc.explaining import explain  # noqa: PLC0415 - see the module

    by_model: dict[str, list[int]] = {}
    versions = {model.version: model for model in models}
    for i, second in enumerate(panel.seconds[panel.last_rows].tolist()):
        if panel.symbols[i] in answered and second >= models[0].fit.second:
            by_model.setdefault(serving_model(models, second).version, []).append(i)
    told: dict[str, tuple[str, Explanation]] = {}
    for version, indices in by_model.items():
        rows: Ints = panel.last_rows[indices]
        explanations = explain(versions[version], features, rows)
        for i, explanation in zip(indices, explanations, strict=True):
            told[panel.symbols[i]] = version, explanation
    return told
