"""What the recipe makes of the demo exchange: in one process, as if the ledger had been kept."""

import pytest

from planted import SEEDS, SESSIONS, TURMOIL_SESSIONS, Judged, Turmoil, Verdicts
from prediction_svc.features import build_features
from prediction_svc.fits import EPOCH, fits_of
from prediction_svc.fitting import train
from prediction_svc.histories import COLUMNS, History, clean_history
from prediction_svc.jobs import backtest_horizons
from prediction_svc.panel import build_panel
from prediction_svc.recipe import HORIZON, Recipe
from prediction_svc.record import Record, coverage_alarm
from prediction_svc.scoring import judge
from prediction_svc.track_record import Basis
from quote_svc.demo_market import DemoMarket
from quote_svc.demo_time import PAST_SESSIONS, DemoPace, session_days

DAYS = session_days(PAST_SESSIONS, SESSIONS + TURMOIL_SESSIONS)
"""The live sessions, since 1970-01-01."""


async def histories_of(seed: int) -> list[History]:
    """What the demo exchange has traded once all live sessions have closed."""
    pace = DemoPace(session_seconds=1, night_seconds=1)
    market = DemoMarket(seed, pace, lambda: 2.0 * len(DAYS), turmoil_after=SESSIONS)
    histories = []
    for instrument in await market.universe():
        bars = (await market.history(instrument.symbol, None)).bars
        columns = {name: getattr(bars, name) for name in COLUMNS}
        group = f"equity:{instrument.exchange_code}"
        symbol, days, seconds = instrument.symbol, bars.session_days, bars.close_seconds
        histories.append(clean_history(symbol, days, seconds, columns, group))
    return histories


def live_record(histories: list[History], recipe: Recipe) -> Record:
    """The forecasts of the live sessions, each by the models that were there at its close."""
    panel = build_panel(histories, recipe)
    features, fits = build_features(panel), fits_of(histories)
    first = sum((fit.session_date - EPOCH).days < DAYS[0] for fit in fits)
    models = [train(panel, features, fit, recipe) for fit in fits[first - recipe.fits :]]
    trained = [model for model in models if model is not None]
    record = backtest_horizons(histories, trained, recipe, (HORIZON,))[HORIZON].record
    return record.where(record.target_days >= DAYS[0])


def judged(record: Record, recipe: Recipe) -> Verdicts:
    told = []
    for symbol, one in judge(record, recipe, Basis.LIVE).symbols.items():
        assert one.coverage is not None
        assert one.verdicts is not None
        verdicts, sessions = one.verdicts, min(one.sessions, recipe.scored_sessions)
        directed, sharper = verdicts.direction.stands, verdicts.range.stands
        told.append(Judged(symbol, sessions, one.coverage, directed, sharper))
    return Verdicts(told)


def turmoil_of(record: Record) -> Turmoil:
    means, rings = [], []
    for day in DAYS[SESSIONS:]:
        alarm = coverage_alarm(record.where(record.target_days <= day))
        assert alarm is not None
        means.append(alarm.mean)
        rings.append(alarm.rings)
    return Turmoil(means, rings)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_recipe_finds_what_is_planted_and_nothing_else(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe()
    record = live_record(await histories_of(seed), recipe)
    verdicts = judged(record.where(record.target_days < DAYS[SESSIONS]), recipe)
    turmoil = turmoil_of(record)
    with capsys.disabled():
        told = (f"\nseed {seed}, {SESSIONS} sessions, in one process", *verdicts.lines())
        print("\n  ".join((*told, *turmoil.lines())))
    verdicts.check()
    turmoil.check()
