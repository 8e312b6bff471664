"""What is read from the ledger for scoring."""

import math
from collections.abc import AsyncIterator

import numpy as np
import pytest

from prediction_svc.ledger import Ledger
from prediction_svc.ledger_reading import Counts
from prediction_svc.ledger_rows import Outcome
from prediction_svc.testing import (
    FIRST_DAY,
    batch_of,
    close_of,
    forecast_of,
    missed_of,
    outcome_of,
    score_all,
    writable_ledger,
)

MARKET = "demo:1"


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    """Six sessions of two symbols, horizons 1 and 5; the same in another market."""
    async with writable_ledger(database_url) as (_, ledger):
        for market_id in (MARKET, "demo:2"):
            for day in range(FIRST_DAY, FIRST_DAY + 6):
                batch = batch_of(day, ("BBB", "AAA"), (1, 5))
                await ledger.append(market_id, batch, close_of(day))
                await score_all(ledger, market_id, day)
        yield ledger


async def test_resolved_forecasts_come_as_columns(ledger: Ledger) -> None:
    resolved = await ledger.resolved(MARKET, 1)
    assert len(resolved) == 10
    assert resolved.symbols.tolist() == ["AAA"] * 5 + ["BBB"] * 5
    assert resolved.as_of_days.tolist() == [*range(FIRST_DAY, FIRST_DAY + 5)] * 2
    assert (resolved.target_days == resolved.as_of_days + 1).all()
    third = forecast_of("AAA", FIRST_DAY + 2)
    assert resolved.reference_closes[2] == third.reference_close
    assert tuple(resolved.quantiles[2]) == third.quantiles
    assert (resolved.p_up[2], resolved.expected_moves[2]) == (third.p_up, third.expected_move)
    assert resolved.model_versions[2] == third.model_version
    assert resolved.moves == pytest.approx(math.log(1.01))
    assert (resolved.revised_moves == resolved.moves).all()
    assert not resolved.delayed.any()
    in_order = np.argsort(resolved.resolved_numbers)
    assert (np.diff(resolved.target_days[in_order]) >= 0).all()


async def test_only_what_is_asked_for_is_read(ledger: Ledger) -> None:
    assert (await ledger.resolved(MARKET, 5)).as_of_days.tolist() == [FIRST_DAY, FIRST_DAY]
    last = await ledger.resolved(MARKET, 1, last=2)
    assert last.symbols.tolist() == ["AAA", "AAA", "BBB", "BBB"]
    assert last.as_of_days.tolist() == [FIRST_DAY + 3, FIRST_DAY + 4] * 2
    one = await ledger.resolved(MARKET, 1, symbol="BBB", last=3)
    assert one.symbols.tolist() == ["BBB"] * 3
    assert one.quantiles.shape == (3, 7)
    newest = await ledger.resolved(MARKET, 1, from_day=FIRST_DAY + 3)
    assert newest.symbols.tolist() == ["AAA", "AAA", "BBB", "BBB"]
    assert newest.as_of_days.tolist() == [FIRST_DAY + 3, FIRST_DAY + 4] * 2
    nothing = await ledger.resolved(MARKET, 20)
    assert (len(nothing), nothing.quantiles.shape) == (0, (0, 7))


async def test_both_the_first_and_the_revised_move_are_read(ledger: Ledger) -> None:
    day = FIRST_DAY + 3
    found = await ledger.open_forecasts(MARKET, day, day)
    (forecast,) = (each for each in found["BBB"] if each.target_day == day)
    revised = outcome_of(forecast, 0.03)
    again = outcome_of(forecast._replace(next_revision=2), 0.04)
    await ledger.append_outcomes(MARKET, [revised, again], close_of(day + 3))
    resolved = await ledger.resolved(MARKET, 1)
    changed = resolved.moves != resolved.revised_moves
    assert resolved.symbols[changed].tolist() == ["BBB"]
    assert resolved.moves[changed] == pytest.approx(math.log(1.01))
    assert resolved.revised_moves[changed] == pytest.approx(math.log(1.04))


async def test_the_shares_of_missed_and_unresolved_are_known(ledger: Ledger) -> None:
    assert await ledger.counts(MARKET, 1) == Counts(12, 0, 10, 0)
    day = FIRST_DAY + 6
    missed = missed_of("AAA", day)
    await ledger.append(MARKET, [missed], missed.deadline)
    (forecast,) = (await ledger.open_forecasts(MARKET, day, day + 1))["BBB"][-1:]
    unresolved = Outcome(forecast_number=forecast.number, reason="SESSION_LOST")
    await ledger.append_outcomes(MARKET, [unresolved], close_of(day + 10))
    counts = [await ledger.counts(MARKET, horizon) for horizon in (1, 5)]
    lost_horizon = (1, 5).index(forecast.horizon)
    assert [each.unresolved for each in counts] == [1 - lost_horizon, lost_horizon]
    assert [each.missed for each in counts] == [1, 0]
    assert len(await ledger.resolved(MARKET, 1)) == 10
    assert (await ledger.entries(MARKET, "AAA", 1))[0].said == missed


async def test_rows_are_listed_with_all_that_came_of_them(ledger: Ledger) -> None:
    day = FIRST_DAY + 3
    found = await ledger.open_forecasts(MARKET, day, day)
    (forecast,) = (each for each in found["BBB"] if each.target_day == day and each.horizon == 1)
    await ledger.append_outcomes(MARKET, [outcome_of(forecast, 0.03)], close_of(day + 3))
    head = await ledger.head(MARKET)

    listed = await ledger.written(MARKET, count=1000)
    assert len(listed) == 24
    numbers = [each.entry.number for each in listed]
    assert numbers == sorted(numbers, reverse=True)
    assert {each.entry.said.symbol for each in listed} == {"AAA", "BBB"}
    assert await ledger.written(MARKET, before=numbers[4], count=3) == listed[5:8]
    (revised,) = (each for each in listed if each.outcome_kind == "revised")
    first, later = revised.outcomes
    assert (first.said.kind, later.said.kind) == ("resolved", "revised")
    assert first.said.log_move == pytest.approx(math.log(1.01))
    assert revised.log_move == later.said.log_move == pytest.approx(math.log(1.03))
    assert (later.number, later.row_hash) == (head.count, head.row_hash)
    assert later.record_time == close_of(day + 3)

    fives = await ledger.written(MARKET, horizon=5, count=1000)
    assert fives == [each for each in listed if each.entry.said.horizon == 5]
    of_one = await ledger.written(MARKET, symbol="AAA", horizon=1, count=1000)
    assert [each.entry.said.as_of_day for each in of_one] == [
        *range(FIRST_DAY + 5, FIRST_DAY - 1, -1)
    ]
    # by its own number, and by that of each row that says what came of it
    for number in (revised.entry.number, first.number, later.number):
        assert await ledger.row(MARKET, number) == revised
    for number in (0, -1, head.count + 1):
        assert await ledger.row(MARKET, number) is None
    assert await ledger.row("demo:3", revised.entry.number) is None


async def test_what_is_open_waits_for_its_session(ledger: Ledger) -> None:
    day = FIRST_DAY + 5
    assert await ledger.open_forecasts(MARKET, day, day + 1) == {}
    assert await ledger.open_forecasts(MARKET, day + 1, day + 1, day + 2) == {}
    found = await ledger.open_forecasts(MARKET, day + 1, day + 1)
    assert sorted(found) == ["AAA", "BBB"]
    for symbol, forecasts in found.items():
        assert [each.horizon for each in forecasts] == [5, 1]
        assert {each.symbol for each in forecasts} == {symbol}
        assert all(math.isnan(each.recorded_move) for each in forecasts)
        assert forecasts[0].reference_close == forecast_of(symbol, day - 4, 5).reference_close
