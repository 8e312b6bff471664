from dataclasses import replace

import numpy as np
import pytest

from prediction_svc.promotion import promotion
from prediction_svc.record import Record
from prediction_svc.scores import NORMAL_QUANTILES

SYMBOLS = 12


def made_record(
    seed: int = 1, *, noise: float = 0.2, width: float = 1.0, days: int = 150
) -> Record:
    """Moves whose σ moves, the same whatever the noise through which the forecaster sees it."""
    truth, random = np.random.default_rng(seed), np.random.default_rng([seed, int(1000 * noise)])
    n = days * SYMBOLS
    sigma = 0.01 * np.exp(0.4 * truth.standard_normal(n))
    seen = sigma * width * np.exp(noise * random.standard_normal(n))
    own = NORMAL_QUANTILES * seen[:, None]
    return Record(
        horizon=1,
        symbols=np.tile([f"S{i:02d}" for i in range(SYMBOLS)], days),
        target_days=np.repeat(np.arange(days, dtype=np.int64), SYMBOLS),
        moves=sigma * truth.standard_normal(n),
        quantiles=own,
        p_up=np.full(n, 0.5),
        base_rate=np.full(n, 0.5),
        score=np.zeros(n),
        sigma=np.full(n, 0.01),
        baselines=(own, own, own),
    )


def test_a_sharper_recipe_is_promoted() -> None:
    found = promotion(made_record(noise=0.5), made_record(noise=0.05))
    assert found.promoted
    assert found.t > 2
    assert found.gain > 0
    assert (found.dates, found.forecasts) == (126, 126 * SYMBOLS)
    assert str(found).startswith("promoted: +0.")


def test_a_worse_one_is_rejected() -> None:
    found = promotion(made_record(noise=0.05), made_record(noise=0.9))
    assert not found.promoted
    assert found.t < -2
    assert str(found).startswith("rejected: -0.")


def test_the_same_recipe_is_promoted() -> None:
    record = made_record(noise=0.0)
    found = promotion(record, record)
    assert (found.promoted, found.t, found.gain) == (True, 0.0, 0.0)


def test_one_that_is_as_good_is_seldom_rejected() -> None:
    found = [
        promotion(made_record(seed, noise=0.1), made_record(seed, noise=0.101))
        for seed in range(60)
    ]
    # 2.5 %, and 5 % since the coverage of 1,512 forecasts has a standard error of a point
    assert sum(each.t < -2 for each in found) <= 5
    assert sum(not each.promoted for each in found) <= 10


@pytest.mark.parametrize("width", [0.85, 1.15])
def test_one_whose_coverage_is_off_is_rejected(width: float) -> None:
    """Though it is sharper."""
    found = promotion(made_record(noise=0.9), made_record(noise=0.0, width=width))
    assert found.t > 2
    assert not found.promoted
    assert abs(found.coverage - 0.8) > 0.02


def test_only_the_last_126_dates_count_and_order_does_not() -> None:
    champion, challenger = made_record(noise=0.5), made_record(noise=0.05)
    found = promotion(champion, challenger)
    early = challenger.target_days < 24
    spoilt = replace(challenger, quantiles=np.where(early[:, None], 1.0, challenger.quantiles))
    assert promotion(champion, spoilt) == found
    shuffled = np.random.default_rng(3).permutation(len(challenger))
    assert promotion(champion, challenger.where(shuffled)) == found
    sooner = promotion(made_record(days=90, noise=0.5), made_record(days=90, noise=0.05))
    assert sooner.dates == 90


def test_records_of_other_forecasts_are_refused() -> None:
    record = made_record()
    others = (
        made_record(2),
        record.where(np.arange(len(record)) != 1700),
        replace(record, horizon=5),
        replace(record, target_days=record.target_days + 1),
    )
    for other in others:
        with pytest.raises(ValueError, match="not of the same forecasts"):
            promotion(record, other)
    nothing = record.where(np.zeros(len(record), dtype=bool))
    with pytest.raises(ValueError, match="no forecast to compare"):
        promotion(nothing, nothing)
