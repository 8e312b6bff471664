"""Splits and dividends of the demo market."""

import numpy as np

from quote_svc.demo_actions import split_adjusted, split_factors
from quote_svc.market import Floats


def bars(closes: list[float], factors: list[float]) -> Floats:
    ones = np.ones(len(closes))
    dividends = np.where(np.arange(len(closes)) == 0, 0.4, 0.0)
    return np.stack((closes, closes, closes, closes, 100 * ones, dividends, factors))


def test_the_past_is_divided_from_the_split_on() -> None:
    adjusted = split_adjusted(bars([80.0, 84.0, 42.0, 43.0, 22.0], [1, 1, 2, 1, 2]))
    for row in range(4):
        assert adjusted[row].tolist() == [20.0, 21.0, 21.0, 21.5, 22.0]
    assert adjusted[4].tolist() == [400.0, 400.0, 200.0, 200.0, 100.0]
    assert adjusted[5].tolist() == [0.1, 0.0, 0.0, 0.0, 0.0]
    assert adjusted[6].tolist() == [1, 1, 2, 1, 2]


def test_a_merge_multiplies_it() -> None:
    adjusted = split_adjusted(bars([10.0, 21.0], [1, 0.5]))
    assert adjusted[3].tolist() == [20.0, 21.0]
    assert adjusted[4].tolist() == [50.0, 100.0]


def test_a_split_of_the_first_bar_changes_none() -> None:
    before = bars([10.0, 11.0], [2, 1])
    assert np.array_equal(split_adjusted(before), before)
    assert split_adjusted(bars([10.0], [2]))[3].tolist() == [10.0]


def test_what_is_given_is_left_alone() -> None:
    before = bars([80.0, 41.0], [1, 2])
    kept = before.copy()
    split_adjusted(before)
    assert np.array_equal(before, kept)


def test_splits_keep_a_price_in_range() -> None:
    distances = np.log([1.51, 1.49, 0.26, 0.24, 3.0, 0.1])
    traded = np.array([True, True, True, True, False, False])
    assert split_factors(distances, traded).tolist() == [2, 1, 1, 0.5, 1, 1]
