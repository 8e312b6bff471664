"""Which recipe serves where the code has another than the models were made by."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date

import pytest

from prediction_svc.fits import Fit
from prediction_svc.promotion import Promotion
from training_setting import (
    BEFORE,
    FITS,
    LATEST,
    RECIPE,
    Setting,
    model_of,
)


def trial(t: float) -> Promotion:
    return Promotion(t >= -2, t / 1000, t, 0.8, 126, 63_000)


def dates(fits: Sequence[Fit]) -> list[date]:
    return [fit.session_date for fit in fits]


async def test_the_first_recipe_serves_untried(setting: Setting) -> None:
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert setting.trainings.status.recipe == asdict(RECIPE)
    told = len(setting.trainings.told)
    await setting.training.open("demo:1")
    assert len(setting.trainings.told) == told
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.workers.tried == []


async def test_a_recipe_that_is_no_worse_takes_over_once_it_is_trained(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    setting.models.others = [model_of(fit) for fit in FITS[2:5]]
    setting.workers.trial = trial(-1.9)
    await setting.training.open("demo:1")
    assert setting.training.recipe == BEFORE
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    # what misses of the old one comes first, since it answers until then
    assert setting.workers.recipes == [BEFORE, *[RECIPE] * 4]
    assert setting.workers.tried == [(BEFORE, RECIPE)]
    assert setting.training.recipe == RECIPE
    assert [model.fit for model in setting.models.kept] == FITS[:1:-1]
    assert setting.serving() == dates(FITS[2:])
    status = setting.trainings.status
    assert status.recipe == asdict(RECIPE)
    assert status.recipe_note.startswith("The recipe of this version is promoted: -0.00190 σ")


async def test_a_recipe_that_is_worse_does_not_serve_and_is_not_tried_again(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    setting.models.others = [model_of(fit) for fit in FITS]
    setting.workers.trial = trial(-2.1)
    for _ in range(2):
        await setting.training.open("demo:1")
        setting.training.train_missing(FITS, LATEST)
        if setting.training._task is not None:
            await setting.ended()
        assert setting.training.recipe == BEFORE
        assert setting.serving() == dates(FITS[2:])
    assert setting.workers.tried == [(BEFORE, RECIPE)]
    assert setting.workers.recipes == []
    note = setting.trainings.status.recipe_note
    assert note.startswith("The recipe of this version is rejected: -0.00210 σ")
    assert note in caplog.messages


async def test_a_recipe_of_other_features_serves_untested(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(replace(BEFORE, features=0)))
    setting.models.others = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert setting.serving() == []
    assert "untested: it has other features" in setting.trainings.status.recipe_note


async def test_numbers_of_other_names_are_a_recipe_of_another_version(setting: Setting) -> None:
    setting.trainings.set(recipe={"trees": 100})
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert "untested" in setting.trainings.status.recipe_note


async def test_a_recipe_that_nothing_was_learned_by_is_not_tried_against(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    await setting.training.open("demo:1")
    assert setting.training.recipe == RECIPE
    assert setting.trainings.status.recipe_note == ""


async def test_back_at_the_old_version_nothing_is_said_of_the_new_one(setting: Setting) -> None:
    note = "The recipe of this version is rejected"
    setting.trainings.set(
        recipe=asdict(RECIPE), rejected_recipe=BEFORE.fingerprint(), recipe_note=note
    )
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    assert setting.trainings.status.recipe_note == ""
    assert setting.serving() == dates(FITS[2:])


async def test_with_histories_too_short_for_a_trial_a_recipe_serves(setting: Setting) -> None:
    setting.trainings.set(recipe=asdict(BEFORE))
    setting.models.others = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.training.recipe == RECIPE
    assert "untested: histories are too short" in setting.trainings.status.recipe_note
