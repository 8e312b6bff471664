"""Which models serve, and what is trained when, with workers and stores of the test's own."""

from collections.abc import Sequence
from datetime import date

import pytest

from foretick_rpc.errors import DatabaseUnavailableError
from prediction_svc.fits import Fit
from prediction_svc.market import MarketUnavailableError
from prediction_svc.training import ALARM_SESSIONS, MOST_DEATHS
from prediction_svc.trainings import TrainingState
from prediction_svc.workers import WorkerDiedError
from training_setting import (
    FITS,
    LATEST,
    Setting,
    fit_of,
    model_of,
)


def dates(fits: Sequence[Fit]) -> list[date]:
    return [fit.session_date for fit in fits]


async def test_the_latest_fixed_dates_are_trained_the_latest_first(setting: Setting) -> None:
    await setting.training.open("demo:1")
    assert setting.serving() == []
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.workers.fits == FITS[:1:-1]
    assert setting.serving() == dates(FITS[2:])
    assert setting.done == 1
    assert setting.trainings.status.state is TrainingState.IDLE
    assert setting.trainings.status.model_version == model_of(FITS[-1]).version
    setting.training.train_missing(FITS, LATEST)
    assert len(setting.workers.fits) == 4
    count = setting.metrics.registry.get_sample_value("foretick_training_duration_seconds_count")
    assert count == 4


async def test_what_is_stored_is_not_trained_again(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS[1:]]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    assert setting.training._task is None
    assert setting.serving() == dates(FITS[2:])


async def test_until_a_new_fixed_date_is_trained_those_before_it_answer(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS[:5]]
    await setting.training.open("demo:1")
    assert setting.serving() == dates(FITS[1:5])
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.serving() == dates(FITS[2:])


async def test_short_histories_are_settled_without_a_model(setting: Setting) -> None:
    setting.workers.short = {FITS[2], FITS[3]}
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.serving() == dates(FITS[4:])


async def test_progress_is_of_all_that_is_trained(setting: Setting) -> None:
    setting.workers.gate.clear()
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.until(lambda: setting.training._progress.fraction == 0.125)
    assert setting.training._progress.stage == "training (model 1 of 4)"
    setting.workers.gate.set()
    await setting.ended()


async def test_who_asks_gets_a_model_of_the_latest_session(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    setting.trainings.set(asked=1)
    await setting.until(lambda: setting.training._listener is not None)
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    version = model_of(LATEST).version
    assert (setting.trainings.status.answered, setting.trainings.status.model_version) == (
        1,
        version,
    )
    assert setting.serving() == [*dates(FITS[2:]), LATEST.session_date]
    # asked from another replica, at the same session: what is there is told
    setting.trainings.set(asked=2)
    await setting.until(lambda: setting.trainings.status.answered == 2)
    assert setting.trainings.status.model_version == version
    assert setting.workers.fits == [LATEST]


async def test_an_unscheduled_model_answers_until_the_next_fixed_date(setting: Setting) -> None:
    early = fit_of(2018, 12, 3)
    setting.models.kept = [model_of(fit) for fit in [*FITS[:4], early]]
    await setting.training.open("demo:1")
    until_then = [*dates(FITS[:2]), early.session_date, *dates(FITS[2:4])]
    assert setting.serving(FITS[:4]) == until_then
    assert setting.serving(FITS[:5]) == until_then  # while that of January is not there
    assert setting.training.latest_unscheduled == early
    setting.training.train_missing(FITS[:5], LATEST)
    await setting.ended()
    assert setting.serving(FITS[:5])[-1] == date(2020, 1, 1)
    # and it is forgotten with the fixed date before it
    assert early.session_date not in setting.serving(FITS[3:])


async def test_an_alarm_refits_at_most_once_in_63_sessions(setting: Setting) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    assert not setting.training.refit_on_alarm(LATEST, ALARM_SESSIONS - 1)
    assert not setting.training.refit_on_alarm(LATEST, 0)
    assert setting.training._task is None
    assert setting.training.refit_on_alarm(LATEST, ALARM_SESSIONS)
    await setting.ended()
    assert setting.workers.fits == [LATEST]
    later = fit_of(2020, 8, 14)
    assert setting.training.refit_on_alarm(later, None)
    await setting.ended()
    assert setting.workers.fits == [LATEST, later]
    assert setting.trainings.status.answered == 0


async def test_a_fit_on_an_alarm_counts_from_its_order_on_and_no_more_where_it_fails(
    setting: Setting,
) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    setting.workers.gate.clear()
    setting.workers.errors = [ValueError("broken")]
    assert setting.training.refit_on_alarm(LATEST, None)
    assert setting.training.latest_unscheduled == LATEST  # ordered
    await setting.until(lambda: bool(setting.workers.recipes))
    assert setting.training.latest_unscheduled == LATEST  # under way
    setting.workers.gate.set()
    await setting.ended()
    assert setting.training.latest_unscheduled is None  # the next session may try again
    assert setting.training.refit_on_alarm(LATEST, None)
    await setting.ended()
    assert setting.training.latest_unscheduled == LATEST


async def test_a_withdrawn_model_answers_no_more_and_is_not_trained_again(
    setting: Setting,
) -> None:
    setting.models.kept = [model_of(fit) for fit in FITS]
    await setting.training.open("demo:1")
    setting.models.kept[-1] = model_of(FITS[-1], withdrawn=True)
    setting.trainings.set(withdrawals=1)
    await setting.until(lambda: setting.done == 1)
    assert setting.serving() == dates(FITS[2:5])
    assert setting.training.missing(FITS) == []
    setting.trainings.set(asked=1)
    setting.training.train_missing(FITS, FITS[-1])
    await setting.ended()
    assert setting.workers.fits == []
    assert setting.trainings.status.message == "The model of 2020-07-01 was withdrawn."
    assert setting.trainings.status.answered == 1


async def test_training_outlives_dead_workers_and_an_absent_market(setting: Setting) -> None:
    setting.workers.errors = [WorkerDiedError("died")] * 2 + [MarketUnavailableError("away")] * 2
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.pauses == [1.0, 2.0, 4.0, 8.0]
    told = [(status.state, status.message) for status in setting.trainings.told]
    assert (TrainingState.FAILED, "died") in told
    assert (TrainingState.FAILED, "away") in told
    assert setting.serving() == dates(FITS[2:])


async def test_a_training_that_always_dies_is_given_up_until_the_next_session(
    setting: Setting,
) -> None:
    setting.workers.errors = [WorkerDiedError("died") for _ in range(MOST_DEATHS)]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.trainings.status.state is TrainingState.FAILED
    assert setting.trainings.status.message == "WorkerDiedError: died"
    assert setting.workers.fits == []
    assert setting.done == 0
    setting.training.train_missing(FITS, LATEST)
    assert setting.training._due() is None
    # but a request is tried at once
    setting.trainings.set(asked=1)
    await setting.until(lambda: setting.workers.fits == [LATEST])
    await setting.ended()
    setting.training.train_missing(FITS, fit_of(2020, 8, 14))
    await setting.ended()
    assert setting.serving() == [*dates(FITS[2:]), LATEST.session_date]


async def test_a_model_waits_for_the_database(setting: Setting) -> None:
    setting.models.errors = [DatabaseUnavailableError("away") for _ in range(3)]
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.ended()
    assert setting.pauses == [1.0, 1.0, 1.0]
    assert len(setting.models.kept) == 4
    assert TrainingState.FAILED not in {status.state for status in setting.trainings.told}


async def test_training_that_lost_the_lease_stops(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    setting.trainings.lost = True
    await setting.ended()
    assert setting.done == 0
    assert setting.workers.fits == []
    assert not [record for record in caplog.records if record.exc_info]


async def test_closing_stops_what_is_under_way(setting: Setting) -> None:
    setting.workers.gate.clear()
    await setting.training.open("demo:1")
    setting.training.train_missing(FITS, LATEST)
    await setting.until(lambda: setting.trainings.status.state is TrainingState.RUNNING)
    await setting.training.close()
    assert setting.training._task is None
    assert setting.workers.fits == []
