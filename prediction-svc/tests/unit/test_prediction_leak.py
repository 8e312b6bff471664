"""Bars added later change no earlier forecast, byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prediction_svc import (
    crowd,
    direction,
    forecasting,
    quantiles,
    rolling,
    scale_model,
    width,
)
from prediction_svc.features import Features, build_features
from prediction_svc.fits import Fit, fits_of
from prediction_svc.fitting import predictions, train
from prediction_svc.forecasting import (
    Forecasts,
    Standing,
    backtest,
    farther,
    forecast_latest,
    usable_rows,
    without_learning,
)
from prediction_svc.histories import COLUMNS, Floats, History, Ints
from prediction_svc.panel import NEVER, Outcomes, Panel, build_panel
from prediction_svc.quantiles import Moves, Predictions
from prediction_svc.recipe import HORIZONS, Recipe
from prediction_svc.testing import next_forecasts
from prediction_svc.training_job import train_model
from prediction_svc.width import WidthState

DAY = 86_400


@pytest.fixture(scope="module")
def mixed_histories(mixed_histories: list[History]) -> list[History]:
    """Their last 600 days: enough for three models and for residuals that leave the window."""
    begin = max(int(history.days[-1]) for history in mixed_histories) - 600
    return [latest(each, int((each.days > begin).sum())) for each in mixed_histories]


def latest(history: History, bars: int) -> History:
    names = ("days", "close_seconds", *COLUMNS)
    return replace(history, **{name: getattr(history, name)[-bars:] for name in names})


def cut(histories: Sequence[History], second: int) -> list[History]:
    shorter = [history.until(second) for history in histories]
    return [history for history in shorter if len(history)]


def cuts(histories: Sequence[History], count: int, seed: int) -> list[int]:
    last = max(int(history.close_seconds[-1]) for history in histories)
    random = np.random.default_rng(seed)
    return [int(second) for second in random.integers(last - 200 * DAY, last - DAY, count)]


def learned_next(histories: Sequence[History], recipe: Recipe) -> tuple[Panel, Predictions]:
    """Horizon 1 by the models of the last fixed dates, trained on these histories alone."""
    panel = build_panel(histories, recipe)
    features = build_features(panel)
    fits = fits_of(histories)[-recipe.fits :]
    models = [train(panel, features, fit, recipe) for fit in fits]
    trained = [model for model in models if model is not None]
    return panel, predictions(panel, features, trained, recipe)


class Reader:
    """Of what is given."""

    def __init__(self, histories: list[History]) -> None:
        self.histories = histories

    def read(self, have: frozenset[str] = frozenset()) -> Any:
        return self


def test_models_are_trained_here_as_jobs_train_them(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    fits = fits_of(mixed_histories)[-quick_recipe.fits :]
    reader = Reader(mixed_histories)
    models = [train_model(reader, fit, quick_recipe, lambda *_: None) for fit in fits]
    trained = [model for model in models if model is not None]
    panel, predicted = learned_next(mixed_histories, quick_recipe)
    of_jobs = predictions(panel, build_features(panel), trained, quick_recipe)
    assert predicted.scale.tobytes() == of_jobs.scale.tobytes()
    assert predicted.score.tobytes() == of_jobs.score.tobytes()


def differing_features(histories: Sequence[History], second: int, recipe: Recipe) -> set[str]:
    """Names of features of sessions closed by `second` that change with bars after it."""
    full = build_panel(histories, recipe)
    return features_that_differ(full, build_features(full), histories, second, recipe)


def features_that_differ(
    full: Panel, wide: Features, histories: Sequence[History], second: int, recipe: Recipe
) -> set[str]:
    """The same, where those of all bars are known."""
    short = build_panel(cut(histories, second), recipe)
    narrow = build_features(short)
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


def predictions_of(
    histories: Sequence[History], recipe: Recipe, horizon: int, *, learned: bool
) -> tuple[Panel, Predictions]:
    if not learned:
        panel = build_panel(histories, recipe)
        return panel, without_learning(panel, horizon, recipe)
    panel, of_next = learned_next(histories, recipe)
    return panel, of_next if horizon == 1 else farther(panel, of_next, horizon)


def told(forecasts: Forecasts) -> dict[str, bytes]:
    """Everything that is published, byte for byte."""
    names = ("quantiles", "p_up", "base_rate", "score", "multiplier", "log_width")
    return {name: np.asarray(getattr(forecasts, name)).tobytes() for name in names}


@dataclass(frozen=True)
class Replay:
    """What was forecast one after the other, out of all bars."""

    panel: Panel
    forecasts: Forecasts
    standing: Standing


def replayed(panel: Panel, predicted: Predictions, recipe: Recipe) -> Replay:
    rows = usable_rows(panel, predicted, recipe)
    return Replay(panel, *backtest(panel, predicted, rows, recipe))


Whole = dict[tuple[int, bool], Replay]


@pytest.fixture(scope="module")
def whole(mixed_histories: list[History], quick_recipe: Recipe) -> Whole:
    """Forecasts out of all bars, which the honest tests have in common."""
    panel, of_next = learned_next(mixed_histories, quick_recipe)
    learned = {h: of_next if h == 1 else farther(panel, of_next, h) for h in HORIZONS}
    unlearned = {h: without_learning(panel, h, quick_recipe) for h in HORIZONS}
    predicted = {(h, True): of for h, of in learned.items()}
    predicted |= {(h, False): of for h, of in unlearned.items()}
    return {key: replayed(panel, of, quick_recipe) for key, of in predicted.items()}


def differing(
    histories: Sequence[History],
    second: int,
    recipe: Recipe,
    horizon: int,
    *,
    learned: bool = True,
    whole: Whole | None = None,
) -> set[str]:
    """What of the forecasts made at `second` changes with bars after it."""
    if whole is None:
        of_all = replayed(*predictions_of(histories, recipe, horizon, learned=learned), recipe)
    else:
        of_all = whole[horizon, learned]
    panel, full = of_all.panel, of_all.forecasts
    closed = panel.closed_by(np.array([second]))[0]
    latest = (panel.starts[:-1] + closed - 1)[closed >= recipe.min_bars]
    seen = full.chosen(np.isin(full.rows, latest))
    shorter = cut(histories, second)
    short, predicted = predictions_of(shorter, recipe, horizon, learned=learned)
    _, standing = backtest(short, predicted, usable_rows(short, predicted, recipe), recipe)
    made = forecast_latest(short, predicted, standing, recipe)
    made = made.chosen(short.own_session[made.rows] + 1 >= recipe.min_bars)
    assert made.made.sum() == len(made.rows) == len(seen.rows) >= 26
    assert not learned or horizon != 1 or (made.score != 0).all()
    assert (made.log_width != 0).all()
    return {name for name, value in told(made).items() if value != told(seen)[name]}


def test_features_do_not_see_later_bars(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    full = build_panel(mixed_histories, quick_recipe)
    wide = build_features(full)
    for second in cuts(mixed_histories, 20, seed=3):
        changed = features_that_differ(full, wide, mixed_histories, second, quick_recipe)
        assert changed == set(), second


@pytest.mark.parametrize("cut_index", range(20))
def test_forecasts_and_width_do_not_see_later_bars(
    mixed_histories: list[History], quick_recipe: Recipe, whole: Whole, cut_index: int
) -> None:
    second, horizon = cuts(mixed_histories, 20, seed=5)[cut_index], HORIZONS[cut_index % 3]
    learned = cut_index % 4 != 3
    changed = differing(
        mixed_histories, second, quick_recipe, horizon, learned=learned, whole=whole
    )
    assert changed == set()


def test_a_symbols_own_multiplier_does_not_see_later_bars(
    mixed_histories: list[History], quick_recipe: Recipe, whole: Whole
) -> None:
    second = max(int(history.close_seconds[-1]) for history in mixed_histories) - 10 * DAY
    of_all = whole[1, True]
    assert "NY21" in of_all.standing.directions
    assert of_all.forecasts.multiplier.max() > 1.5
    assert differing(mixed_histories, second, quick_recipe, 1, whole=whole) == set()


def test_planted_labels_from_after_the_fit_are_caught(
    mixed_histories: list[History], quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = scale_model.label_rows

    def a_month_later(panel: Panel, fit: Fit, recipe: Recipe) -> Ints:
        return honest(panel, replace(fit, second=fit.second + 30 * DAY), recipe)

    monkeypatch.setattr(scale_model, "label_rows", a_month_later)
    second = fits_of(mixed_histories)[-1].second + 10 * DAY
    assert {"quantiles", "score"} <= differing(mixed_histories, second, quick_recipe, 1)


@pytest.mark.parametrize("horizon", [1, 5])
def test_planted_residuals_that_have_not_resolved_are_caught(
    mixed_histories: list[History],
    quick_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    horizon: int,
) -> None:
    honest = quantiles._pool

    def a_session_too_early(
        panel: Panel, residuals: Floats, closed: Ints, sessions: int, ahead: int
    ) -> Floats:
        return honest(panel, residuals, closed, sessions, ahead - 1)

    monkeypatch.setattr(quantiles, "_pool", a_session_too_early)
    second = cuts(mixed_histories, 1, seed=3)[0]
    changed = differing(mixed_histories, second, quick_recipe, horizon, learned=False)
    assert "quantiles" in changed


def test_a_planted_early_width_is_caught(
    mixed_histories: list[History], quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = width.replay

    def a_session_too_early(
        panel: Panel, outcomes: Outcomes, moves: Moves, recipe: Recipe
    ) -> tuple[Floats, dict[str, WidthState]]:
        known = np.where(outcomes.seconds < NEVER, outcomes.seconds - DAY, NEVER)
        return honest(panel, replace(outcomes, seconds=known), moves, recipe)

    monkeypatch.setattr(forecasting, "replay", a_session_too_early)
    second = cuts(mixed_histories, 1, seed=3)[0]
    changed = differing(mixed_histories, second, quick_recipe, 5, learned=False)
    assert "log_width" in changed


def test_a_planted_base_rate_of_all_time_is_caught(
    mixed_histories: list[History], quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = direction.base_rates

    def of_all_time(panel: Panel, outcomes: Outcomes, rows: Ints, recipe: Recipe) -> Floats:
        at_once = replace(outcomes, seconds=np.zeros_like(outcomes.seconds))
        return honest(panel, at_once, rows, recipe)

    monkeypatch.setattr(forecasting, "base_rates", of_all_time)
    second = cuts(mixed_histories, 1, seed=3)[0]
    changed = differing(mixed_histories, second, quick_recipe, 1, learned=False)
    assert {"p_up", "base_rate"} <= changed


def test_a_planted_centred_window_is_caught(
    mixed_histories: list[History], quick_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = rolling.Windows.mean

    def centred(self: rolling.Windows, window: int, least: int | None = None) -> Floats:
        trailing = honest(self, window, least)
        half = window // 2
        return np.append(trailing[half:], np.full(min(half, len(trailing)), np.nan))

    monkeypatch.setattr(rolling.Windows, "mean", centred)
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
    histories = [latest(history, 320) for history in mixed_histories]
    forward = next_forecasts(histories, quick_recipe)
    backward = next_forecasts(histories[::-1], quick_recipe)
    assert forward == backward
    assert set(forward) == {history.symbol for history in mixed_histories}
