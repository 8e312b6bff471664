"""What a batch of forecasts and a training cost, for 500 symbols and five years of sessions.

In CPU seconds of all threads. A batch is everything between the bars and the ledger: what came of
earlier forecasts, features, predictions, calibration of three horizons, rows of the ledger. A
training stands beside a bare `xgb.train` on the same matrix.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.reporting import Entry, Goal, at_most, entry
from prediction_svc import batches, scale_model
from prediction_svc.batches import Order
from prediction_svc.book import Edition
from prediction_svc.features import build_features
from prediction_svc.fits import fits_of
from prediction_svc.histories import History, clean_history
from prediction_svc.jobs import backtest_horizons
from prediction_svc.market import Fetched, MarketClock, SymbolBars
from prediction_svc.metrics import Metrics
from prediction_svc.models import TrainedModel
from prediction_svc.outcomes import TradedBars
from prediction_svc.panel import build_panel
from prediction_svc.recipe import Recipe
from prediction_svc.recording import Recorder
from prediction_svc.testing import writable_ledger
from prediction_svc.training_job import train_model

SYMBOLS, SESSIONS, BATCHES = 500, 1260, 6
MARKET = "bench"
GOAL_BATCH_SECONDS = 3.0
T = TypeVar("T")


def walk(number: int, days: np.ndarray) -> History:
    """A stock whose volatility moves."""
    random = np.random.default_rng(number)
    levels = np.zeros(len(days))
    for k, shock in enumerate(random.standard_normal(len(days) - 1) * 0.12):
        levels[k + 1] = 0.95 * levels[k] + shock
    moves = 0.015 * np.exp(levels) * random.standard_normal(len(days))
    closes = 50 * np.exp(np.cumsum(moves))
    opens = np.append(50.0, closes[:-1]) * np.exp(0.004 * random.standard_normal(len(days)))
    stretch = np.exp(np.abs(0.006 * random.standard_normal((2, len(days)))))
    columns = {
        "opens": opens,
        "highs": np.maximum(opens, closes) * stretch[0],
        "lows": np.minimum(opens, closes) / stretch[1],
        "closes": closes,
        "volumes": np.exp(12 + random.standard_normal(len(days))),
    }
    return clean_history(f"S{number:03}", days, days * 86_400 + 75_600, columns, "equity:XNYS")


@dataclass(frozen=True, eq=False)
class Market:
    """All walks up to some session; a reader of bars."""

    histories: list[History]
    days: np.ndarray
    sessions: int

    def read(self, have: frozenset[str] = frozenset()) -> Fetched:  # noqa: ARG002 - a batch reads all
        """Everything that has closed."""
        bars = {history.symbol: self._bars(history) for history in self.histories}
        return Fetched(MARKET, frozenset(bars), bars, {})

    def _bars(self, history: History) -> SymbolBars:
        seen = history.first(self.sessions)
        opening = datetime.fromtimestamp(int(self.days[self.sessions]) * 86_400 + 52_200, UTC)
        zeros = np.zeros(len(seen))
        return SymbolBars(
            market_id=MARKET,
            exchange_code="XNYS",
            history=seen,
            currency_code="USD",
            price_decimals=2,
            next_session_days=self.days[self.sessions :][:20],
            known_next_sessions=20,
            lost_session_days=np.empty(0, dtype=np.int64),
            next_open=opening,
            next_close=opening + timedelta(hours=6.5),
            traded=TradedBars(seen.days, seen.closes, seen.volumes, zeros, zeros + 1),
        )

    @property
    def clock(self) -> MarketClock:
        """An hour after the last close."""
        day = int(self.days[self.sessions - 1])
        closed = (date(1970, 1, 1) + timedelta(days=day)).isoformat()
        now = datetime.fromtimestamp(day * 86_400 + 79_200, UTC)
        return MarketClock(MARKET, now, frozenset({("XNYS", closed)}), None)


def cpu(work: Callable[[], T]) -> tuple[T, float]:
    """What work returns, and the CPU seconds that it took in all threads."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def train(market: Market, recipe: Recipe) -> tuple[TrainedModel, list[Entry]]:
    """Train the latest fixed date's model; what that and a bare training cost."""
    histories = market.read().histories
    fit = fits_of(histories)[-1]
    model, whole = cpu(lambda: train_model(market, fit, recipe, lambda *_: None))
    if model is None:
        raise RuntimeError("the histories are too short for a model")
    panel = build_panel(histories, recipe)
    features = build_features(panel)
    rows = scale_model.label_rows(panel, fit, recipe)
    _, bare = cpu(lambda: scale_model.fit_sizes(panel, features, rows, recipe, lambda _: None))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return model, [
        _figure(f"training on {len(rows):,} rows, CPU", whole, "s", at_most(1.5 * bare + 3)),
        _figure("xgb.train alone, CPU", bare, "s"),
        _figure("training, peak memory", peak, "MiB", at_most(1229)),
    ]


def _figure(name: str, value: float, unit: str, goal: Goal | None = None) -> Entry:
    return entry("forecasts", name, [value], unit, goal)


async def batch(market: Market, model: TrainedModel, recipe: Recipe) -> list[Entry]:
    """Make some batches one after the other; what they cost, and what a backtest does."""
    histories = market.read().histories
    tested, backtest = cpu(lambda: backtest_horizons(histories, [model], recipe))
    standing = {horizon: one.standing for horizon, one in tested.items()}
    edition = Edition(MARKET, frozenset(), {}, {}, standing=standing)
    spent, parts = [], []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        async with writable_ledger(url) as (_, ledger):
            recorder = Recorder(ledger, Metrics())
            for later in range(BATCHES):
                moved = replace(market, sessions=market.sessions + later)
                begun = time.process_time()
                edition, part = await one_batch(moved, edition, [model], recorder, url, recipe)
                spent.append(time.process_time() - begun)
                parts.append(part)
    goal = at_most(GOAL_BATCH_SECONDS)
    return [
        _figure("backtest of three horizons, once a promotion, CPU", backtest, "s"),
        entry("forecasts", "a batch of forecasts, CPU", spent[1:], "s", goal),
        *(
            entry("forecasts", f"of that {name}", [part[name] for part in parts[1:]], "s")
            for name in parts[0]
        ),
    ]


async def one_batch(  # noqa: PLR0913, PLR0917 - all that a batch goes through
    market: Market,
    edition: Edition,
    models: list[TrainedModel],
    recorder: Recorder,
    database_url: str,
    recipe: Recipe,
) -> tuple[Edition, dict[str, float]]:
    """What a worker and the serving process do between them after a close."""
    parts: dict[str, float] = {}
    begun = time.process_time()

    def part(name: str) -> None:
        nonlocal begun
        now = time.process_time()
        parts[name], begun = now - begun, now

    clock = market.clock
    order = Order(market, clock)
    found = await asyncio.to_thread(batches.survey, order, database_url)
    part("outcomes")
    await recorder.resolve(MARKET, found.outcomes, clock.market_time)
    standing, number = await recorder.advance(edition, found.groups, recipe)
    part("writing them")
    recorded_to = await recorder.recorded_to(MARKET)
    made = batches.forecast(order, models, standing, recorded_to, recipe)
    part("forecasts")
    edition = replace(
        edition, forecasts=made.forecasts, standing=standing, resolved_number=number, finished=True
    )
    edition = await recorder.write_down(edition, made.draft, clock.market_time, {})
    part("writing those")
    return edition, parts


def measure() -> list[Entry]:
    """The figures of a process of its own, since its peak memory is one of them."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_figures).result()


def _figures() -> list[Entry]:
    recipe = Recipe()
    last = np.busday_offset("2026-06-30", 30, roll="backward")
    days = np.busday_offset(last, np.arange(-SESSIONS - 29, 1), roll="backward").astype(np.int64)
    market = Market([walk(number, days) for number in range(SYMBOLS)], days, SESSIONS)
    model, trained = train(market, recipe)
    return trained + asyncio.run(batch(market, model, recipe))
