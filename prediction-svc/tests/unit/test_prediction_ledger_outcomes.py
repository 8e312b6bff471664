"""Deadlines, and which outcomes are due: pure functions of sessions and histories."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from prediction_svc.deadlines import deadline
from prediction_svc.histories import Ints
from prediction_svc.outcomes import (
    OpenForecast,
    TradedBars,
    actions_version,
    due_outcomes,
)

CLOSE = datetime(2026, 3, 6, 21, tzinfo=UTC)
OPEN = datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
NEXT_CLOSE = datetime(2026, 3, 9, 20, tzinfo=UTC)
DAYS = np.arange(100, 130, dtype=np.int64)  # every day is a session


@pytest.mark.parametrize(
    ("gap", "session", "grace"),
    [
        (timedelta(hours=64.5), timedelta(hours=6.5), timedelta(0)),
        (timedelta(hours=1), timedelta(hours=6.5), timedelta(0)),
        (timedelta(minutes=59), timedelta(hours=6.5), timedelta(minutes=30)),
        (timedelta(0), timedelta(hours=24), timedelta(minutes=30)),
        (timedelta(0), timedelta(hours=5), timedelta(minutes=30)),
        (timedelta(0), timedelta(hours=2), timedelta(minutes=12)),
        (timedelta(seconds=10), timedelta(minutes=2), timedelta(seconds=12)),
    ],
)
def test_the_deadline_is_the_opening_unless_the_gap_is_short(
    gap: timedelta, session: timedelta, grace: timedelta
) -> None:
    next_open = CLOSE + gap
    assert deadline(CLOSE, next_open, next_open + session) == next_open + grace


def test_a_night_that_lasts_seconds_for_us_is_a_short_gap() -> None:
    half_an_hour = OPEN + timedelta(minutes=30)
    assert deadline(CLOSE, OPEN, NEXT_CLOSE) == OPEN
    assert deadline(CLOSE, OPEN, NEXT_CLOSE, gap=timedelta(seconds=15)) == half_an_hour


def test_instants_must_rise() -> None:
    for wrong in ((OPEN, CLOSE, NEXT_CLOSE), (CLOSE, NEXT_CLOSE, OPEN), (CLOSE, OPEN, OPEN)):
        with pytest.raises(ValueError, match="follow each other"):
            deadline(*wrong)


def some_bars(days: Ints = DAYS, **columns: Any) -> TradedBars:
    """Closes 100, 101, …; no actions."""
    n = len(days)
    bars = TradedBars(
        days=days,
        closes=days.astype(np.float64),
        volumes=np.full(n, 1000.0),
        dividends=np.zeros(n),
        split_factors=np.ones(n),
    )
    return replace(bars, **columns)


def without(bars: TradedBars, *days: int) -> TradedBars:
    keep = ~np.isin(bars.days, days)
    return TradedBars(**{name: column[keep] for name, column in vars(bars).items()})


def put(column: Any, day: int, value: float) -> Any:
    changed = np.array(column, dtype=np.float64)
    changed[day - 100] = value
    return changed


FORECAST = OpenForecast(7, "AAA", 5, as_of_day=105, target_day=110, reference_close=105.0)


def test_a_forecast_resolves_at_its_target_close() -> None:
    (outcome,) = due_outcomes([FORECAST], some_bars(), DAYS)
    assert (outcome.kind, outcome.forecast_number, outcome.revision) == ("resolved", 7, 0)
    assert (outcome.resolved_day, outcome.delayed) == (110, False)
    assert (outcome.close, outcome.split_factor, outcome.dividend) == (110.0, 1.0, 0.0)
    assert outcome.log_move == math.log(110 / 105)


def test_nothing_is_due_before_the_target_session_has_closed() -> None:
    assert due_outcomes([FORECAST], some_bars(), DAYS[DAYS < 110]) == []
    assert due_outcomes([FORECAST], without(some_bars(), *range(110, 130)), DAYS[:11]) == []


def as_told(traded: TradedBars) -> TradedBars:
    """What was traded, as the market tells it: on the basis of the last bar."""
    later = traded.later_splits
    return replace(traded, closes=traded.closes / later, dividends=traded.dividends / later)


def test_splits_and_dividends_between_the_closes_count() -> None:
    """Two for one on 107, 0.5 a new share on 108, 0.3 an old one on 106; three for one later."""
    closes = put(some_bars().closes, 110, 60.0)
    dividends = put(put(some_bars().dividends, 108, 0.5), 106, 0.3)
    splits = put(put(some_bars().split_factors, 107, 2.0), 120, 3.0)
    # What is of the as-of session itself, or after the target, is in neither close.
    dividends = put(put(dividends, 105, 9.0), 111, 9.0)
    traded = some_bars(closes=closes, dividends=dividends, split_factors=splits)
    bars = as_told(traded)
    assert bars.closes_as_traded == pytest.approx(traded.closes)
    (outcome,) = due_outcomes([FORECAST], bars, DAYS)
    assert outcome.close == pytest.approx(60.0)
    assert outcome.split_factor == 2.0
    assert outcome.dividend == pytest.approx(0.3 + 0.5 * 2)
    assert outcome.log_move == pytest.approx(math.log((60 * 2 + 1.3) / 105))


def test_the_outcome_does_not_depend_on_the_basis_that_prices_are_told_on() -> None:
    traded = some_bars(
        dividends=put(some_bars().dividends, 108, 0.5),
        split_factors=put(some_bars().split_factors, 107, 2.0),
    )
    (now,) = due_outcomes([FORECAST], as_told(traded), DAYS)
    split_again = replace(traded, split_factors=put(traded.split_factors, 125, 7.0))
    (later,) = due_outcomes([FORECAST], as_told(split_again), DAYS)
    assert later.log_move == pytest.approx(now.log_move, abs=1e-14)
    assert actions_version(as_told(traded), 110) == actions_version(as_told(split_again), 110)
    assert actions_version(as_told(traded), 125) != actions_version(as_told(split_again), 125)


def test_the_version_of_the_actions_names_those_up_to_the_session() -> None:
    bars = some_bars(dividends=put(some_bars().dividends, 108, 0.5))
    assert actions_version(bars, 107) == actions_version(some_bars(), 129)
    assert actions_version(bars, 108) != actions_version(bars, 107)
    assert actions_version(bars, 108) == actions_version(bars, 129)


@pytest.mark.parametrize("has_bars", [True, False])
@pytest.mark.parametrize("halted", [1, 10])
def test_a_halted_stock_resolves_at_its_first_trade(halted: int, has_bars: bool) -> None:
    days = range(110, 110 + halted)
    if has_bars:
        volumes = np.where(np.isin(DAYS, days), 0.0, 1000.0)
        bars = some_bars(volumes=volumes)
    else:
        bars = without(some_bars(), *days)
    first_trade = 110 + halted
    assert due_outcomes([FORECAST], bars, DAYS[: first_trade - 100]) == []
    (outcome,) = due_outcomes([FORECAST], bars, DAYS)
    assert (outcome.kind, outcome.resolved_day) == ("resolved", first_trade)
    assert outcome.delayed
    assert outcome.log_move == math.log(first_trade / 105)


def test_a_stock_that_is_not_traded_for_longer_stays_unresolved() -> None:
    bars = without(some_bars(), *range(110, 121))
    assert due_outcomes([FORECAST], bars, DAYS[DAYS < 120]) == []
    for known in (DAYS[DAYS < 121], DAYS):
        (outcome,) = due_outcomes([FORECAST], bars, known)
        assert (outcome.kind, outcome.reason) == ("unresolved", "NOT_TRADED")
        assert outcome.log_move is None
    nothing = without(some_bars(), *DAYS)
    (outcome,) = due_outcomes([FORECAST], nothing, DAYS)
    assert outcome.reason == "NOT_TRADED"


def test_volumes_say_nothing_where_there_never_are_any() -> None:
    for nothing in (0.0, math.nan):
        bars = some_bars(volumes=np.full(len(DAYS), nothing))
        (outcome,) = due_outcomes([FORECAST], bars, DAYS)
        assert (outcome.resolved_day, outcome.delayed) == (110, False)


def test_a_session_that_the_source_lost_is_not_taken_from_another() -> None:
    bars = without(some_bars(), 110)
    assert due_outcomes([FORECAST], bars, DAYS[DAYS < 120], {110}) == []  # it may be found yet
    (outcome,) = due_outcomes([FORECAST], bars, DAYS, {110})
    assert (outcome.kind, outcome.reason) == ("unresolved", "SESSION_LOST")
    (found,) = due_outcomes([FORECAST], some_bars(), DAYS)
    assert found.resolved_day == 110


def test_an_unresolved_forecast_may_be_revised_once_the_session_is_found() -> None:
    again = FORECAST._replace(next_revision=1)
    assert due_outcomes([again], without(some_bars(), 110), DAYS, {110}) == []
    (outcome,) = due_outcomes([again], some_bars(), DAYS)
    assert (outcome.kind, outcome.revision, outcome.resolved_day) == ("revised", 1, 110)


@pytest.mark.parametrize(("change", "is_revised"), [(1.0009, False), (1.0011, True), (0.99, True)])
def test_what_moves_the_outcome_by_more_than_a_thousandth_is_revised(
    change: float, is_revised: bool
) -> None:
    (first,) = due_outcomes([FORECAST], some_bars(), DAYS)
    assert first.log_move is not None
    again = FORECAST._replace(next_revision=1, recorded_move=first.log_move)
    assert due_outcomes([again], some_bars(), DAYS) == []
    bars = some_bars(closes=put(some_bars().closes, 110, 110 * change))
    revised = due_outcomes([again], bars, DAYS)
    assert len(revised) == is_revised
    if is_revised:
        assert (revised[0].kind, revised[0].revision) == ("revised", 1)
        assert revised[0].log_move == pytest.approx(math.log(110 * change / 105))


def test_a_split_that_the_source_tells_late_is_a_revision() -> None:
    closes = np.where(DAYS >= 108, DAYS / 2, DAYS)
    (wrong,) = due_outcomes([FORECAST], some_bars(closes=closes), DAYS)
    assert wrong.log_move is not None
    assert wrong.log_move == pytest.approx(math.log(55 / 105))
    again = FORECAST._replace(next_revision=1, recorded_move=wrong.log_move)
    splits = put(some_bars().split_factors, 108, 2.0)
    told = as_told(some_bars(closes=closes, split_factors=splits))
    (right,) = due_outcomes([again], told, DAYS)
    assert right.log_move == pytest.approx(math.log(110 / 105))


def halved_from(day: int) -> TradedBars:
    """A two for one split that the source does not tell of."""
    return some_bars(closes=np.where(day <= DAYS, DAYS / 2, DAYS))


@pytest.mark.parametrize("jump", [106, 108, 110])
def test_a_jump_like_a_split_is_waited_out(jump: int) -> None:
    bars = halved_from(jump)
    for last in range(110, 130):
        due = due_outcomes([FORECAST], bars, DAYS[last >= DAYS])
        assert len(due) == (last >= jump + 5), last
    (outcome,) = due
    assert outcome.log_move == math.log(55 / 105)


def test_a_jump_that_a_split_explains_in_time_never_was_one() -> None:
    closed = DAYS[DAYS <= 111]
    assert due_outcomes([FORECAST], halved_from(110), closed) == []
    splits = put(some_bars().split_factors, 110, 2.0)
    told = as_told(replace(halved_from(110), split_factors=splits))
    (outcome,) = due_outcomes([FORECAST], told, closed)
    assert outcome.log_move == pytest.approx(math.log(110 / 105))


@pytest.mark.parametrize(
    ("factor", "waits"), [(0.5, True), (2.03, True), (0.58, False), (0.8, False)]
)
def test_only_what_is_near_the_ratio_of_a_split_is_waited_out(factor: float, waits: bool) -> None:
    bars = some_bars(closes=np.where(DAYS >= 110, DAYS * factor, DAYS))
    due = due_outcomes([FORECAST], bars, DAYS[DAYS <= 111])
    assert (due == []) == waits


def test_jumps_outside_of_the_forecast_and_those_of_dividends_are_not() -> None:
    closed = DAYS[DAYS <= 112]
    for day in (105, 111):  # the reference close itself, and after the target
        assert len(due_outcomes([FORECAST], halved_from(day), closed)) == 1
    paid = some_bars(
        closes=np.where(DAYS >= 110, DAYS / 2, DAYS),
        dividends=put(some_bars().dividends, 110, 55.0),
    )
    (outcome,) = due_outcomes([FORECAST], paid, closed)
    assert outcome.log_move == pytest.approx(math.log(110 / 105))


def test_a_revision_waits_for_the_split_too() -> None:
    again = FORECAST._replace(next_revision=1, recorded_move=math.log(110 / 105))
    assert due_outcomes([again], halved_from(109), DAYS[DAYS <= 113]) == []
    (revised,) = due_outcomes([again], halved_from(109), DAYS[DAYS <= 114])
    assert revised.kind == "revised"


def test_a_target_that_was_no_session_resolves_at_the_next_one() -> None:
    """As where it was inferred, and is a holiday."""
    sessions = DAYS[DAYS != 110]
    (outcome,) = due_outcomes([FORECAST], without(some_bars(), 110), sessions)
    assert (outcome.resolved_day, outcome.delayed) == (111, True)


def test_outcomes_come_in_the_order_of_their_forecasts() -> None:
    several = [FORECAST._replace(number=n, target_day=day) for n, day in ((3, 112), (1, 111))]
    later = FORECAST._replace(target_day=200)
    outcomes = due_outcomes([*several, later], some_bars(), DAYS)
    assert [(each.forecast_number, each.resolved_day) for each in outcomes] == [(3, 112), (1, 111)]
