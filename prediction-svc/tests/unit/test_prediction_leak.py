"""Bars added later change no earlier forecast, byte for byte."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prediction_svc import crowd, jobs, rolling, scale_model
from prediction_svc.features import build_features
from prediction_svc.fits import Fit, fits_of
from prediction_svc.histories import Floats, History, Ints
from prediction_svc.models import TrainedModel
from prediction_svc.panel import Panel, build_panel
from prediction_svc.quantiles import move_quantiles, no_learning_scale
from prediction_svc.recipe import Recipe
from prediction_svc.scale_model import model_scale

DAY = 86_400


def cut(histories: Sequence[History], second: int) -> list[History]:
    shorter = [history.until(second) for history in histories]
    return [history for history in shorter if len(history)]


def cuts(histories: Sequence[History], count: int, seed: int) -> list[int]:
    last = max(int(history.close_seconds[-1]) for history in histories)
    random = np.random.default_rng(seed)
    return [int(second) for second in random.integers(last - 200 * DAY, last - DAY, count)]


def train_all(histories: Sequence[History], recipe: Recipe) -> list[TrainedModel]:
    fits = fits_of(histories)[-recipe.fits :]
    models = [jobs.train_model(histories, fit, recipe) for fit in fits]
    return [model for model in models if model is not None]


def differing_features(histories: Sequence[History], second: int, recipe: Recipe) -> set[str]:
    """Names of features of sessions closed by `second` that change with bars after it."""
    full = build_panel(histories, recipe)
    short = build_panel(cut(histories, second), recipe)
    wide, narrow = build_features(full), build_features(short)
    changed: set[str] = set()
    for i, symbol in enumerate(short.symbols):
        own = full.rows(full.symbols.index(symbol))
        rows = slice(own.start, own.start + len(short.histories[i]))
        pairs: list[tuple[str, NDArray[Any], NDArray[Any]]] = [
            ("sigma", full.sigma[rows], short.sigma[short.rows(i)])
        ]
        for column, name in enumerate(wide.names):
            seen = wide.values[rows, column]
            pairs.append((name, seen, narrow.values[short.rows(i), column]))
        changed |= {name for name, a, b in pairs if a.tobytes() != b.tobytes()}
    return changed


def quantiles_at(panel: Panel, scale: Floats, second: int, least: int, recipe: Recipe) -> Floats:
    """Forecasts of every symbol's last session closed by `second`, out of the longer histories."""
    closed = panel.closed_by(np.array([second]))[0]
    rows = (panel.starts[:-1] + closed - 1)[closed >= recipe.min_bars]
    return move_quantiles(panel, scale, rows, least, recipe).quantiles


def as_array(batch: jobs.Batch) -> Floats:
    return np.array([made.log_moves for made in batch.values()])


def test_features_do_not_see_later_bars(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    for second in cuts(mixed_histories, 6, seed=3):
        assert differing_features(mixed_histories, second, quick_recipe) == set()


def forecasts_agree(histories: Sequence[History], second: int, recipe: Recipe) -> bool:
    """Whether the model's forecasts from histories cut at `second` are those from the longer."""
    panel = build_panel(histories, recipe)
    learned = model_scale(panel, build_features(panel), train_all(histories, recipe))
    shorter = cut(histories, second)
    batch = jobs.forecast_with_models(shorter, train_all(shorter, recipe), recipe)
    assert len(batch) >= 26
    assert all(made.model_version for made in batch.values())
    seen = quantiles_at(panel, learned, second, recipe.min_model_sessions, recipe)
    return as_array(batch).tobytes() == seen.tobytes()


def test_the_models_forecasts_do_not_see_later_bars(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    for second in cuts(mixed_histories, 3, seed=5):
        assert forecasts_agree(mixed_histories, second, quick_recipe)


def test_forecasts_without_learning_do_not_see_later_bars(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    panel = build_panel(mixed_histories, quick_recipe)
    scale, least = no_learning_scale(panel), quick_recipe.min_residual_sessions
    for second in cuts(mixed_histories, 6, seed=6):
        batch = jobs.forecast_without_learning(cut(mixed_histories, second), quick_recipe)
        seen = quantiles_at(panel, scale, second, least, quick_recipe)
        assert as_array(batch).tobytes() == seen.tobytes()


def test_planted_labels_from_after_the_fit_are_caught(
    mixed_histories: list[History], quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = scale_model.label_rows

    def a_month_later(panel: Panel, fit: Fit, recipe: Recipe) -> Ints:
        return honest(panel, replace(fit, second=fit.second + 30 * DAY), recipe)

    monkeypatch.setattr(scale_model, "label_rows", a_month_later)
    fit = fits_of(mixed_histories)[-1]
    assert not forecasts_agree(mixed_histories, fit.second + 10 * DAY, quick_recipe)


def test_a_planted_centred_window_is_caught(
    mixed_histories: list[History], quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = rolling.mean

    def centred(values: Floats, window: int, least: int | None = None) -> Floats:
        trailing = honest(values, window, least)
        half = window // 2
        return np.append(trailing[half:], np.full(min(half, len(trailing)), np.nan))

    monkeypatch.setattr(rolling, "mean", centred)
    second = cuts(mixed_histories, 1, seed=3)[0]
    assert "|z| 21" in differing_features(mixed_histories, second, quick_recipe)


def test_a_planted_join_by_date_is_caught(
    mixed_histories: list[History], quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = crowd.fresh_rows

    def end_of_the_date(panel: Panel, instants: Ints) -> tuple[Ints, np.ndarray]:
        return honest(panel, instants - instants % DAY + DAY)

    monkeypatch.setattr("prediction_svc.features.fresh_rows", end_of_the_date)
    last = max(int(history.close_seconds[-1]) for history in mixed_histories)
    tuesday_noon = last - last % DAY - 10 * DAY + DAY // 2
    assert "market log σ" in differing_features(mixed_histories, tuesday_noon, quick_recipe)


def test_the_order_of_symbols_does_not_matter(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    forward = jobs.forecast_without_learning(mixed_histories, quick_recipe)
    backward = jobs.forecast_without_learning(mixed_histories[::-1], quick_recipe)
    assert forward == backward
