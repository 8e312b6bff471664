"""What tests share: models, forecasts, and ledgers in real databases with rows for them."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from foretick_rpc.database import Database, migrate, open_database
from foretick_rpc.leases import Lease, Time
from prediction_svc.book import IssuedForecast
from prediction_svc.features import build_features
from prediction_svc.fits import Fit
from prediction_svc.histories import History
from prediction_svc.jobs import SymbolForecast, backtest_horizons, forecast_horizons
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_rows import LedgerForecast, MissedForecast, Outcome
from prediction_svc.models import TrainedModel
from prediction_svc.outcomes import OpenForecast, log_move
from prediction_svc.panel import build_panel
from prediction_svc.recipe import HORIZON, Recipe
from prediction_svc.schema import leases
from prediction_svc.yardsticks import Yardsticks

FIRST_DAY = 20_000  # 2024-10-04


def close_of(day: int) -> datetime:
    """21:00 UTC of a day; the next session opens 17 hours and a half later."""
    return datetime(1970, 1, 1, 21, tzinfo=UTC) + timedelta(days=day)


def forecast_of(symbol: str, day: int, horizon: int = 1, **changes: Any) -> LedgerForecast:
    """A forecast whose numbers have all their bits."""
    chance = random.Random(f"{symbol} {day} {horizon}")  # noqa: S311 - the same everywhere
    moves = sorted((chance.random() - 0.5) / 30 for _ in range(7))
    forecast = LedgerForecast(
        symbol=symbol,
        horizon=horizon,
        as_of_day=day,
        target_day=day + horizon,
        target_inferred=horizon == 20,
        deadline=close_of(day) + timedelta(hours=17.5),
        reference_close=20 + 100 * chance.random(),
        currency_code="USD",
        actions_version=hashlib.sha256(symbol.encode()).hexdigest()[:16],
        quantiles=tuple(moves),
        p_up=0.4 + chance.random() / 5,
        expected_move=moves[3],
        forecaster="scale-model",
        model_version="scale-20240701-0123abcd",
        inputs_hash=hashlib.sha256(f"{symbol} {day}".encode()).digest(),
    )
    return replace(forecast, **changes)


def yardsticks_of(symbol: str, day: int, horizon: int = 1) -> Yardsticks:
    """What such a forecast is judged by."""
    chance = random.Random(f"yardsticks {symbol} {day} {horizon}")  # noqa: S311
    return Yardsticks(
        sigma=0.01 + chance.random() / 100,
        base_rate=0.5 + chance.random() / 50,
        rank_score=chance.gauss(0, 1),
        baselines=tuple(
            tuple(sorted((chance.random() - 0.5) / 20 for _ in range(7))) for _ in range(3)
        ),
    )


def judged_of(symbol: str, day: int, horizon: int = 1, **changes: Any) -> LedgerForecast:
    """A forecast with what it is judged by."""
    yardsticks = yardsticks_of(symbol, day, horizon)
    return forecast_of(symbol, day, horizon, **{"yardsticks": yardsticks} | changes)


def batch_of(
    day: int, symbols: Sequence[str] = ("AAA", "BBB", "CCC"), horizons: Sequence[int] = (1, 5, 20)
) -> list[LedgerForecast]:
    """All forecasts of a session."""
    return [forecast_of(symbol, day, horizon) for symbol in symbols for horizon in horizons]


def missed_of(symbol: str, day: int, horizon: int = 1) -> MissedForecast:
    """A forecast that nobody made."""
    return MissedForecast(
        symbol=symbol,
        horizon=horizon,
        as_of_day=day,
        target_day=day + horizon,
        deadline=close_of(day) + timedelta(hours=17.5),
        reason="SERVICE_AWAY",
    )


def outcome_of(forecast: OpenForecast, growth: float = 0.01) -> Outcome:
    """What came of a forecast, with a dividend paid after a split."""
    close = (forecast.reference_close * (1 + growth) - 0.3) / 2
    move = log_move(close, 2.0, 0.3, forecast.reference_close)
    return Outcome(
        forecast_number=forecast.number,
        revision=forecast.next_revision,
        resolved_day=forecast.target_day,
        close=close,
        split_factor=2.0,
        dividend=0.3,
        log_move=round(move, 12),  # whose last bits are not the same everywhere
    )


def models_of(
    histories: Sequence[History], fits: Sequence[Fit], recipe: Recipe
) -> list[TrainedModel]:
    """Models fitted at some dates, of those that the histories are long enough for."""
    panel = build_panel(histories, recipe)
    features = build_features(panel)
    from prediction_svc.fitting import train  # noqa: PLC0415 - loads XGBoost

    models = (train(panel, features, fit, recipe) for fit in fits)
    return [model for model in models if model is not None]


def next_forecasts(
    histories: Sequence[History], recipe: Recipe, models: Sequence[TrainedModel] = ()
) -> dict[str, SymbolForecast]:
    """Forecasts of the next session after a backtest; without models by no-learning."""
    tested = backtest_horizons(histories, models, recipe, (HORIZON,))
    standing = {horizon: one.standing for horizon, one in tested.items()}
    return forecast_horizons(histories, models, standing, recipe)[HORIZON]


def issued_of(symbol: str, **changes: Any) -> IssuedForecast:
    """A forecast by no-learning of 2020-01-02, which nobody has scored."""
    forecast = IssuedForecast(
        symbol=symbol,
        horizon=1,
        as_of_day=18_262,
        target_day=18_263,
        target_inferred=False,
        close=100.0,
        log_moves=(-0.03, -0.02, -0.01, 0.001, 0.01, 0.02, 0.03),
        p_up=0.5,
        model_version="",
        currency_code="USD",
        price_decimals=2,
        issue_time=datetime(2020, 1, 1, tzinfo=UTC),
    )
    return replace(forecast, **changes)


@asynccontextmanager
async def holding(database: Database) -> AsyncIterator[Lease]:
    """A lease that is held, on a clock ten times as fast as the wall's."""
    time = Time(
        lambda: asyncio.get_running_loop().time() * 10, lambda seconds: asyncio.sleep(seconds / 10)
    )
    lease = Lease(database, leases, "work", time=time)
    held = asyncio.Event()

    async def work() -> None:
        held.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(lease.run(work))
    try:
        await asyncio.wait_for(held.wait(), 30)
        yield lease
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def score_all(ledger: Ledger, market_id: str, day: int) -> int:
    """Record an outcome of every forecast whose target session has closed."""
    found = await ledger.open_forecasts(market_id, day, day + 1)
    due = [outcome_of(each) for each in (one for many in found.values() for one in many)]
    added, _ = await ledger.append_outcomes(market_id, due, close_of(day))
    return added


@asynccontextmanager
async def writable_ledger(url: str) -> AsyncIterator[tuple[Database, Ledger]]:
    """A migrated database, and its ledger with the lease held."""
    await migrate(url, "prediction_svc")
    async with open_database(url, "prediction_svc") as database, holding(database) as lease:
        yield database, Ledger(database, lease)
