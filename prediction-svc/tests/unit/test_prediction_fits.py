from dataclasses import replace
from datetime import date
from hashlib import sha256
from typing import Any

import numpy as np

from prediction_svc.features import build_features
from prediction_svc.fits import EPOCH, fits_of, fixed_dates
from prediction_svc.fitting import train
from prediction_svc.histories import History
from prediction_svc.models import TrainedModel, serving_model
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe
from prediction_svc.scale_model import label_rows

MakeHistory = Any


def test_fixed_dates_do_not_depend_on_the_start() -> None:
    assert fixed_dates(date(2019, 3, 4), date(2020, 7, 1)) == [
        date(2019, 7, 1),
        date(2020, 1, 1),
        date(2020, 7, 1),
    ]
    assert fixed_dates(date(2019, 3, 4), date(2019, 6, 30)) == []


def test_a_fit_falls_on_the_first_session_of_any_symbol(make_history: MakeHistory) -> None:
    stock: History = make_history("A", sessions=180, last=date(2023, 1, 6))
    coin: History = make_history(
        "C", sessions=420, last=date(2023, 1, 6), closes_at=24.0, every_day=True
    )
    # 1 January 2023 was a Sunday
    assert [fit.session_date for fit in fits_of([stock])] == [date(2022, 7, 1), date(2023, 1, 2)]
    fit = fits_of([stock, coin])[-1]
    assert (fit.fixed_date, fit.session_date) == (date(2023, 1, 1), date(2023, 1, 1))
    assert fit.second == ((date(2023, 1, 2) - EPOCH).days) * 86_400
    assert fits_of([]) == []


def test_labels_are_known_at_the_fit(mixed_histories: list[History], quick_recipe: Recipe) -> None:
    panel = build_panel(mixed_histories, quick_recipe)
    fit = fits_of(mixed_histories)[-1]
    rows = label_rows(panel, fit, quick_recipe)
    assert len(rows) > 5000
    # the label of a row is the close of the row that follows it
    assert panel.seconds[rows + 1].max() <= fit.second
    assert (panel.symbol_of[rows] == panel.symbol_of[rows + 1]).all()
    later = np.setdiff1d(np.flatnonzero(np.isfinite(panel.next_returns)), rows)
    usable = later[(panel.own_session[later] >= quick_recipe.min_bars)]
    assert panel.seconds[usable + 1].min() > fit.second


def test_a_model_learns_from_five_years(make_history: MakeHistory) -> None:
    history: History = make_history("A", sessions=2000)
    panel = build_panel([history], Recipe())
    fit = fits_of([history])[-1]
    rows = label_rows(panel, fit, Recipe())
    assert panel.days[rows].min() == (date(2016, 7, 1) - EPOCH).days


def test_too_few_labelled_sessions_make_no_model(
    make_history: MakeHistory, quick_recipe: Recipe
) -> None:
    histories = [make_history(f"S{i}", sessions=200, last=date(2021, 7, 9)) for i in range(4)]
    panel = build_panel(histories, quick_recipe)
    features = build_features(panel)
    fit = fits_of(histories)[-1]
    assert train(panel, features, fit, quick_recipe) is not None
    assert train(panel, features, fit, Recipe(rounds=2)) is None


def test_training_is_deterministic(make_history: MakeHistory, quick_recipe: Recipe) -> None:
    histories = [make_history(f"S{i}", sessions=300) for i in range(3)]
    panel = build_panel(histories, quick_recipe)
    features = build_features(panel)
    fit = fits_of(histories)[-1]
    first, second = (train(panel, features, fit, quick_recipe) for _ in range(2))
    assert isinstance(first, TrainedModel)
    assert isinstance(second, TrainedModel)
    assert first.booster == second.booster
    assert first.version == second.version
    assert first.train_symbols == 3
    assert serving_model([first], fit.second) is first


def test_models_of_other_features_are_not_used(make_history: MakeHistory) -> None:
    features = build_features(build_panel([make_history("A", sessions=80)], Recipe()))
    names = sha256(" ".join(features.names).encode()).hexdigest()[:8]
    assert (Recipe().features, names) == (2, "e66d1fb0"), "raise Recipe.features with the features"
    assert Recipe().fingerprint() != replace(Recipe(), features=3).fingerprint()
