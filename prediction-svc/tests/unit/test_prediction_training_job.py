from dataclasses import dataclass
from typing import Any, Self

from prediction_svc.features import build_features
from prediction_svc.fits import fits_of
from prediction_svc.fitting import train
from prediction_svc.histories import History
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe
from prediction_svc.training_job import train_model
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
