from dataclasses import dataclass, replace
from typing import Any, Self

from prediction_svc.features import build_features
from prediction_svc.fits import fits_of
from prediction_svc.fitting import train
from prediction_svc.histories import History
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe
from prediction_svc.training_job import train_model, try_recipe
from prediction_svc.workers import Progress, Workers

MakeHistory = Any


@dataclass(frozen=True)
class Held:
    """Reads what it holds, in whichever process."""

    histories: list[History]

    def read(self) -> Self:
        return self


async def test_a_model_trained_in_a_worker_is_that_of_this_process(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    fit = fits_of(mixed_histories)[-1]
    told: list[Progress] = []
    async with Workers() as workers:
        model = await workers.train(
            train_model, Held(mixed_histories), fit, quick_recipe, told=told.append
        )
    panel = build_panel(mixed_histories, quick_recipe)
    here = train(panel, build_features(panel), fit, quick_recipe)
    assert model is not None
    assert here is not None
    assert model.booster == here.booster
    stages = ["reading histories", "building features", "training"]
    assert list(dict.fromkeys(progress.stage for progress in told)) == stages


def test_what_is_told_rises_to_the_end(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    told: list[float] = []
    fit = fits_of(mixed_histories)[-1]
    train_model(Held(mixed_histories), fit, quick_recipe, lambda share, _: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    rounds = quick_recipe.rounds + quick_recipe.rank_rounds
    assert len(told) == 2 + rounds


def test_without_bars_there_is_no_model(make_history: MakeHistory, quick_recipe: Recipe) -> None:
    fit = fits_of([make_history("A", sessions=300)])[-1]
    assert train_model(Held([]), fit, quick_recipe, lambda *_: None) is None


def test_a_recipe_is_as_good_as_itself(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    told: list[float] = []
    found = try_recipe(
        Held(mixed_histories), quick_recipe, quick_recipe, lambda share, _: told.append(share)
    )
    assert found is not None
    assert (found.gain, found.t) == (0.0, 0.0)
    assert found.dates == 126
    assert found.forecasts > 126 * 20
    assert told == sorted(told)
    assert 0.7 < told[-1] <= 1.0


def test_a_recipe_that_learns_noise_is_rejected(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    noisy = replace(quick_recipe, rounds=60, depth=8, learning_rate=0.8, min_child_weight=1e-3)
    stock_histories = [h for h in mixed_histories if h.group == "equity:XNYS"]
    found = try_recipe(Held(stock_histories), quick_recipe, noisy, lambda *_: None)
    assert found is not None
    assert not found.promoted
    assert found.t < -2


def test_recipes_of_which_one_forecasts_less_are_compared_on_the_same(
    mixed_histories: list[History], quick_recipe: Recipe
) -> None:
    later = replace(quick_recipe, min_bars=110)
    found = try_recipe(Held(mixed_histories), quick_recipe, later, lambda *_: None)
    assert found is not None
    assert found.promoted


def test_short_histories_are_no_trial(make_history: MakeHistory, quick_recipe: Recipe) -> None:
    for sessions in (0, 200, 300):
        held = Held([make_history("A", sessions=sessions)] if sessions else [])
        assert try_recipe(held, quick_recipe, quick_recipe, lambda *_: None) is None
