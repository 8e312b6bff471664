"""From the ledger, or from a record, to what is told of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from prediction_svc.histories import Floats
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_reading import Counts
from prediction_svc.ledger_rows import LedgerForecast, Outcome
from prediction_svc.live_record import live_record
from prediction_svc.outcomes import OpenForecast
from prediction_svc.recipe import Recipe
from prediction_svc.record import Record, pooled_skill
from prediction_svc.scores import NORMAL_QUANTILES, hac_lags, skill_score
from prediction_svc.scoring import judge, score_ledger
from prediction_svc.testing import (
    FIRST_DAY,
    close_of,
    forecast_of,
    judged_of,
    missed_of,
    outcome_of,
    writable_ledger,
)
from prediction_svc.track_record import Basis
from prediction_svc.verdicts import by_target_date, verdict

MARKET = "demo:1"
SESSIONS = 155
SYMBOLS = ("CCC", "AAA", "BBB")
RECIPE = Recipe()

Written = list[tuple[LedgerForecast, Outcome]]


async def write(ledger: Ledger, market_id: str) -> Written:
    """Sessions of three symbols at horizon 1 and one at 5; returns what was judged."""
    random = np.random.default_rng(5)
    written: Written = []
    due: dict[int, Written] = {}
    for day in range(FIRST_DAY, FIRST_DAY + SESSIONS + 1):
        batch = [judged_of(symbol, day) for symbol in SYMBOLS] + [judged_of("AAA", day, 5)]
        if day == FIRST_DAY + 3:
            batch[1] = forecast_of("AAA", day)
        appended = await ledger.append(market_id, batch, close_of(day))
        for entry in appended.entries:
            said = entry.said
            assert isinstance(said, LedgerForecast)
            each = open_forecast(entry.number, said)
            outcome = outcome_of(each, float(random.normal(0, 0.015)))
            due.setdefault(said.target_day, []).append((said, outcome))
        resolved = due.pop(day, [])
        await ledger.append_outcomes(market_id, [o for _, o in resolved], close_of(day))
        written += resolved
    return [(said, outcome) for said, outcome in written if said.yardsticks is not None]


def open_forecast(number: int, said: LedgerForecast, revision: int = 0) -> OpenForecast:
    what = (number, said.symbol, said.horizon, said.as_of_day, said.target_day)
    return OpenForecast(*what, said.reference_close, revision)


async def write_what_is_not_scored(ledger: Ledger, number: int, said: LedgerForecast) -> None:
    """A missed one, one that stays unresolved, and a revision of a row."""
    day = FIRST_DAY + SESSIONS + 1
    missed = missed_of("DDD", FIRST_DAY)
    await ledger.append(MARKET, [missed], missed.deadline)
    appended = await ledger.append(MARKET, [judged_of("EEE", day)], close_of(day))
    lost = Outcome(forecast_number=appended.entries[0].number, reason="SESSION_LOST")
    revised = outcome_of(open_forecast(number, said, 1), 0.3)
    await ledger.append_outcomes(MARKET, [lost, revised], close_of(day + 15))


def record_of(written: Written, horizon: int) -> Record:
    """The same, without the ledger."""
    kept = [pair for pair in written if pair[0].horizon == horizon]
    kept.sort(key=lambda pair: (pair[0].target_day, pair[0].symbol))
    marks = [said.yardsticks for said, _ in kept if said.yardsticks is not None]
    return Record(
        horizon=horizon,
        symbols=np.array([said.symbol for said, _ in kept]),
        target_days=np.array([said.target_day for said, _ in kept], dtype=np.int64),
        moves=np.array([outcome.log_move for _, outcome in kept]),
        quantiles=np.array([said.quantiles for said, _ in kept]),
        p_up=np.array([said.p_up for said, _ in kept]),
        base_rate=np.array([each.base_rate for each in marks]),
        score=np.array([each.rank_score for each in marks]),
        sigma=np.array([each.sigma for each in marks]),
        baselines=tuple(np.array([each.baselines[k] for each in marks]) for k in range(3)),
    )


def assert_same(one: Record, other: Record) -> None:
    for field in fields(Record):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    async with writable_ledger(database_url) as (_, ledger):
        yield ledger


async def test_the_ledger_is_worth_what_its_record_is_worth(
    ledger: Ledger, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prediction_svc.live_record.PORTION", 50)
    written = await write(ledger, MARKET)
    await write(ledger, "demo:2")
    first = (await ledger.entries(MARKET, "BBB", 500))[-1]
    assert isinstance(first.said, LedgerForecast)
    await write_what_is_not_scored(ledger, first.number, first.said)
    # While the service has the database open.
    scored = await asyncio.to_thread(score_ledger, database_url, MARKET, RECIPE)

    next_ones = 3 * (SESSIONS + 1)
    counts = Counts(issued=next_ones + 1, missed=1, resolved=next_ones - 3, unresolved=1)
    direct = {horizon: record_of(written, horizon) for horizon in (1, 5)}
    assert len(direct[1]) == counts.resolved - 1  # one has no yardsticks
    assert scored[1] == judge(direct[1], RECIPE, Basis.LIVE, counts)
    far = SESSIONS + 1
    assert scored[5] == judge(direct[5], RECIPE, Basis.LIVE, Counts(far, 0, far - 5, 0))
    assert (scored[20].forecasts, scored[20].dates, scored[20].pooled) == (0, 0, None)
    pooled = scored[1].pooled
    assert pooled is not None
    assert pooled.skills[2].value == 100 * pooled_skill(direct[1], 2).value
    for horizon, record in direct.items():
        resolved = await ledger.resolved(MARKET, horizon)
        assert_same(live_record(resolved, horizon), record)


# Records that are made up.

DAYS, COUNT = 1000, 20


def noisy_record(seed: int, *, days: int = DAYS, symbols: int = COUNT, **changes: Any) -> Record:
    """Moves whose σ moves; four forecasters that all see it through noise of the same size."""
    random = np.random.default_rng(seed)
    n = days * symbols
    sigma = 0.01 * np.exp(0.4 * random.standard_normal(n))
    seen = sigma * np.exp(0.3 * random.standard_normal((4, n)))
    quantiles = [NORMAL_QUANTILES * each[:, None] for each in seen]
    record = Record(
        horizon=1,
        symbols=np.tile([f"S{i:02d}" for i in range(symbols)], days),
        target_days=np.repeat(np.arange(days, dtype=np.int64), symbols),
        moves=sigma * random.standard_normal(n),
        quantiles=quantiles[0],
        p_up=0.5 + 0.006 * random.standard_normal(n),
        base_rate=np.full(n, 0.5),
        score=random.standard_normal(n),
        sigma=np.full(n, 0.01),
        baselines=(quantiles[1], quantiles[2], quantiles[3]),
    )
    return replace(record, **changes)


def with_edges(record: Record, seed: int = 9) -> Record:
    """Half of the symbols, S00 to S09, are forecast with less noise and know the direction."""
    random = np.random.default_rng(seed)
    gifted = record.symbols < "S10"
    up = random.random(len(record)) < 0.65
    knows = np.where(up, 0.65, 0.35)
    rises = random.random(len(record)) < knows
    moves = np.where(gifted, np.where(rises, 1, -1) * np.abs(record.moves), record.moves)
    wider = tuple(1.6 * each for each in record.baselines)
    return replace(
        record,
        moves=moves,
        p_up=np.where(gifted, knows, record.p_up),
        baselines=tuple(
            np.where(gifted[:, None], wide, own)
            for wide, own in zip(wider, record.baselines, strict=True)
        ),
    )


def test_a_forecaster_that_is_better_gains_the_verdicts() -> None:
    track = judge(with_edges(noisy_record(1)), RECIPE, Basis.LIVE)
    gifted = {f"S{i:02d}" for i in range(10)}
    assert gifted <= track.directions
    assert len(track.directions - gifted) <= 2
    best = track.symbols["S03"].verdicts
    assert best is not None
    assert best.range.stands
    assert best.summary.startswith("Range: sharper than naive by ")
    assert best.summary.endswith(
        "1,000 sessions, live) · Direction: right more often than naive (1,000 sessions, live)"
    )
    assert 10 <= track.range_edges <= 12
    assert (track.judged_symbols, track.direction_edges_by_chance) == (20, pytest.approx(0.24))
    assert track.pooled is not None
    assert track.pooled.verdicts is not None
    assert track.pooled.verdicts.range.stands
    assert track.pooled.verdicts.direction.stands


def test_noise_seldom_gains_one() -> None:
    """Of 400 symbols without an edge over 300 sessions about five may gain a direction."""
    ranges = directions = pooled = 0
    for seed in range(20):
        track = judge(noisy_record(seed, days=300), RECIPE, Basis.BACKTEST)
        ranges += track.range_edges
        directions += len(track.directions)
        assert track.pooled is not None
        told = track.pooled.verdicts
        assert told is not None
        pooled += told.range.stands + told.direction.stands
        if not (told.range.stands or told.direction.stands):
            none = "no demonstrated edge"
            assert told.summary == f"Range: {none} · Direction: {none}"
    assert ranges <= 11  # the binomial 99 % limit of 400 at 1.2 %
    assert directions <= 11
    assert pooled <= 2


def first_days(record: Record, days: int) -> Record:
    return record.where(record.target_days < days)


@pytest.mark.parametrize(("days", "said"), [(62, (0, 0)), (149, (0, 1)), (150, (1, 1))])
def test_nothing_is_said_below_150(days: int, said: tuple[bool, bool]) -> None:
    track = judge(noisy_record(3, days=days), RECIPE, Basis.LIVE)
    assert (track.pooled is not None, track.coverage_alarm is not None) == said
    assert track.dates == days
    assert (track.first_target_day, track.last_target_day) == (0, days - 1)
    for each in track.symbols.values():
        assert (each.score.value is not None) == said[0]
        assert (each.coverage is not None) == said[0]
        assert each.sessions == each.score.scored_sessions == days
        assert each.verdicts is not None
        assert (each.verdicts.range.t is not None) == said[0]
    assert track.judged_symbols == (COUNT if said[0] else 0)


def test_pooled_dates_count_and_not_forecasts() -> None:
    """What many symbols have in common on one day counts once."""
    record = noisy_record(4, days=149, symbols=50)
    assert judge(record, RECIPE, Basis.LIVE).pooled is None


def test_verdicts_are_of_the_latest_review_and_of_daily_means() -> None:
    record = noisy_record(6, days=340)
    track = judge(record, RECIPE, Basis.LIVE)
    assert track.pooled is not None
    told = track.pooled.verdicts
    assert told is not None
    daily = by_target_date(record.target_days, record.direction_gains)
    assert told.direction == verdict(daily)
    assert told.direction.reviewed_sessions == 300
    symbol = track.symbols["S07"].verdicts
    assert symbol is not None
    own = record.symbols == "S07"
    assert symbol.range == verdict(record.range_gains[own])


def test_farther_horizons_have_scores_and_no_verdict() -> None:
    track = judge(noisy_record(7, days=300, horizon=5), RECIPE, Basis.LIVE)
    assert track.pooled is not None
    assert track.pooled.verdicts is None
    assert not track.pooled.drift_alarm
    assert all(each.verdicts is None for each in track.symbols.values())
    assert track.symbols["S01"].score.value is not None
    assert (track.directions, track.range_edges) == (frozenset(), 0)


def test_intervals_of_overlapping_outcomes_have_longer_lags() -> None:
    assert [hac_lags(horizon) for horizon in (1, 2, 3, 5, 20)] == [5, 5, 6, 10, 40]
    common = np.repeat(np.random.default_rng(8).standard_normal(13), 20)[:250]
    reference: Floats = 2 + 0.5 * common
    losses = np.full(250, 1.9)
    near, far = (skill_score(losses, reference, RECIPE, horizon) for horizon in (1, 20))
    assert near.value == far.value
    assert near.high is not None
    assert far.high is not None
    assert near.value is not None
    assert far.value is not None
    assert far.high - far.value > 1.5 * (near.high - near.value)


def test_a_lost_range_verdict_rings_the_alarm_once() -> None:
    """Better than naive for 400 days, and worse from then on."""
    record = with_edges(noisy_record(2))
    worse = np.where(record.target_days[:, None] >= 400, 3.0, 1.0) * record.quantiles
    record = replace(record, quantiles=worse)
    rang = {}
    for days in range(150, 1001, 50):
        pooled = judge(first_days(record, days), RECIPE, Basis.LIVE).pooled
        assert pooled is not None
        assert pooled.verdicts is not None
        rang[days] = pooled.drift_alarm
        if days <= 400:
            assert pooled.verdicts.range.stands
    assert sum(rang.values()) == 1
    assert judge(record, RECIPE, Basis.LIVE).coverage_alarm is not None


def test_an_empty_record_is_told_as_such() -> None:
    nothing = first_days(noisy_record(1, days=2), 0)
    track = judge(nothing, RECIPE, Basis.LIVE)
    assert (track.forecasts, track.dates, track.first_target_day) == (0, 0, None)
    assert track.symbols == {}
