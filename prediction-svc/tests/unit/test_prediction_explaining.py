from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from prediction_svc import jobs
from prediction_svc.boosters import names_of, predict, unpack
from prediction_svc.explaining import explain
from prediction_svc.features import KeptFeatures, build_features, own_features
from prediction_svc.fits import fits_of
from prediction_svc.fitting import SIZES, train
from prediction_svc.forecasting import Standing
from prediction_svc.histories import History
from prediction_svc.panel import build_panel
from prediction_svc.recipe import HORIZON, HORIZONS, Recipe
from prediction_svc.testing import models_of
from prediction_svc.width import WidthState


def test_contributions_and_bias_sum_to_the_prediction(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    panel = build_panel(mixed_histories, quick_recipe)
    features = build_features(panel)
    model = train(panel, features, fits_of(mixed_histories)[-1], quick_recipe)
    assert model is not None
    assert names_of(model.booster) == ["ranks", "sizes"]
    sizes = predict(unpack(model.booster, SIZES), features, panel.last_rows)
    for of_row, size, row in zip(
        explain(model, features, panel.last_rows), sizes, panel.last_rows, strict=True
    ):
        parts = [one.contribution for one in of_row.contributions]
        total = of_row.bias + sum(parts) + of_row.others
        assert total == pytest.approx(of_row.prediction, abs=1e-6)
        assert np.exp(of_row.prediction) == pytest.approx(size, rel=1e-5)
        assert len(parts) == 6
        assert [abs(part) for part in parts] == sorted((abs(p) for p in parts), reverse=True)
        for one in of_row.contributions:
            seen = features.values[row, features.names.index(one.feature)]
            assert one.value == (None if np.isnan(seen) else float(seen))


def test_forecasts_of_all_horizons_are_explained_and_named(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    fits = fits_of(mixed_histories)[-2:]
    trained = models_of(mixed_histories, fits, quick_recipe)
    tested = jobs.backtest_horizons(mixed_histories, trained, quick_recipe)
    standing = {horizon: one.standing for horizon, one in tested.items()}
    batches = jobs.forecast_horizons(mixed_histories, trained, standing, quick_recipe)
    assert tuple(batches) == HORIZONS
    for horizon, batch in batches.items():
        assert {"NY00", "T0", "COIN", "NAV", "LATE", "NEW"} <= set(batch)
        for made in batch.values():
            assert made.horizon == horizon
            assert made.model_version == trained[-1].version
            assert (made.explanation is not None) == (horizon == HORIZON)
            assert list(made.log_moves) == sorted(set(made.log_moves))
            assert 0.02 <= made.p_up <= 0.98
            assert len(made.baselines) == 3
    reach = [batch["NY00"].log_moves[-1] for batch in batches.values()]
    assert reach == sorted(reach)


def test_those_who_are_asked_for_get_what_they_get_among_all(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    trained = models_of(mixed_histories, fits_of(mixed_histories)[-1:], quick_recipe)
    standing = {horizon: Standing(directions=frozenset({"NY21"})) for horizon in HORIZONS}
    kept = KeptFeatures()
    few, asked = [each for each in mixed_histories if each.symbol != "NY21"], {"NY21", "NEW"}
    jobs.forecast_horizons(few, trained, standing, quick_recipe, kept=kept)
    everybody = mixed_histories, trained, standing, quick_recipe
    made = jobs.forecast_horizons(*everybody, asked=asked, kept=kept)
    assert made == {
        horizon: {symbol: batch[symbol] for symbol in asked}
        for horizon, batch in jobs.forecast_horizons(*everybody).items()
    }


def test_features_of_late_rows_alone_are_the_same(mixed_histories: list[History]) -> None:
    panel = build_panel(mixed_histories, Recipe())
    since = int(np.quantile(panel.seconds, 0.7))
    late: Any = panel.seconds >= since
    whole, part = build_features(panel), build_features(panel, since)
    assert whole.names == part.names
    assert whole.values[late].tobytes() == part.values[late].tobytes()
    assert np.isnan(part.values[~late]).all()


def test_a_forecast_can_be_stored_as_json(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    (model,) = models_of(mixed_histories, fits_of(mixed_histories)[-2:-1], quick_recipe)
    standing = {HORIZON: Standing({"fund": WidthState(0.1, (0.8,))}, frozenset({"NY21"}))}
    batch = jobs.forecast_horizons(mixed_histories, [model], standing, quick_recipe)[HORIZON]
    stored = TypeAdapter(jobs.Batch)
    assert stored.validate_json(stored.dump_json(batch)) == batch
    carried = TypeAdapter(dict[int, Standing])
    assert carried.validate_json(carried.dump_json(standing)) == standing


def test_features_that_are_kept_are_the_same_and_not_made_again(
    mixed_histories: list[History], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(histories: list[History]) -> set[str]:
        """Which own features were made, where all are the same as without what is kept."""
        made = set()

        def noted(history: History, *sigmas: Any) -> Any:
            made.add(history.symbol)
            return own_features(history, *sigmas)

        panel = build_panel(histories, Recipe())
        with monkeypatch.context() as patched:
            patched.setattr("prediction_svc.features.own_features", noted)
            again = build_features(panel, since, kept)
        np.testing.assert_array_equal(again.values, build_features(panel, since).values)
        return made

    kept = KeptFeatures()
    since = int(mixed_histories[0].close_seconds[-40])
    most = [each for each in mixed_histories if each.symbol != "NAV"]
    everybody = {each.symbol for each in mixed_histories}
    assert check(most) == everybody - {"NAV"}
    # Those of Tokyo were young when there was NAV, and their σ then is a part of its.
    assert check(mixed_histories) == {"NAV", "T0", "T1", "T2"}
    assert check(mixed_histories) == set()
    later = [each.first(len(each) - 1) for each in mixed_histories[:3]] + mixed_histories[3:]
    assert {each.symbol for each in mixed_histories[:3]} <= check(later) < everybody
