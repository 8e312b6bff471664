"""From editions to the ledger and back: what counts is what was written down in time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from prediction_svc import batches
from prediction_svc.batches import Draft, Order
from prediction_svc.book import Edition, Forecasts
from prediction_svc.histories import History
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_listing import Written
from prediction_svc.ledger_rows import LedgerForecast, MissedForecast
from prediction_svc.market import Fetched, MarketClock, SymbolBars
from prediction_svc.metrics import Metrics
from prediction_svc.outcomes import TradedBars
from prediction_svc.recipe import HORIZONS, Recipe
from prediction_svc.recording import Recorder
from prediction_svc.testing import writable_ledger

MARKET = "csv:0"
MakeHistory = Callable[..., History]


@dataclass(frozen=True, eq=False)
class Bars:
    """A reader of what is given."""

    bars: dict[str, SymbolBars]

    def read(self, have: frozenset[str] = frozenset()) -> Fetched:
        return Fetched(MARKET, frozenset(self.bars), self.bars, {})


@dataclass
class Exchange:
    """Two symbols whose sessions close at 21:00 and open the next day at 14:30."""

    histories: dict[str, History]
    recipe: Recipe
    ledger: Ledger
    database_url: str
    is_synthetic: bool = False
    lost: dict[str, int] = field(default_factory=dict)

    def bars(self, hidden: int) -> dict[str, SymbolBars]:
        """What the market tells while the last `hidden` sessions have not closed."""
        return {s: self._bars(history, hidden) for s, history in self.histories.items()}

    def _bars(self, history: History, hidden: int) -> SymbolBars:
        seen = history.first(len(history) - hidden)
        day = datetime.fromtimestamp(int(history.days[-hidden]) * 86_400, UTC)
        zeros = np.zeros(len(seen))
        lost = self.lost.get(history.symbol)
        return SymbolBars(
            market_id=MARKET,
            exchange_code="XTST",
            history=seen,
            currency_code="USD",
            price_decimals=2,
            next_session_days=history.days[-hidden:],
            known_next_sessions=5,
            lost_session_days=np.array([] if lost is None else [lost], dtype=np.int64),
            next_open=day + timedelta(hours=14.5),
            next_close=day + timedelta(hours=21),
            traded=TradedBars(seen.days, seen.closes, seen.volumes, zeros, zeros + 1),
        )

    def clock(self, hidden: int, after_close: float = 1.0) -> MarketClock:
        """So many hours after the close of the last session that is not hidden."""
        history = next(iter(self.histories.values()))
        closed = datetime.fromtimestamp(int(history.close_seconds[-1 - hidden]), UTC)
        now = closed + timedelta(hours=after_close)
        return MarketClock(
            MARKET, now, frozenset({("XTST", closed.date().isoformat())}), 30.0, self.is_synthetic
        )

    async def made(
        self, hidden: int, after_close: float = 1.0, bars: dict[str, SymbolBars] | None = None
    ) -> tuple[Edition, Draft]:
        """Forecasts made then, and what of them is to be written down."""
        order = Order(Bars(bars or self.bars(hidden)), self.clock(hidden, after_close))
        recorded_to = await self.ledger.recorded_to(MARKET)
        batch = batches.forecast(order, [], {}, recorded_to, self.recipe)
        known = frozenset(self.histories)
        return Edition(MARKET, known, batch.forecasts, {}, finished=True), batch.draft

    async def write_down(
        self,
        hidden: int,
        after_close: float = 1.0,
        *,
        shift: float = 0.0,
        earlier: Forecasts | None = None,
    ) -> Edition:
        """Make forecasts, all moved by `shift`, and write them down."""
        edition, draft = await self.made(hidden, after_close)
        rows = (
            replace(row, quantiles=tuple(move + shift for move in row.quantiles))
            for row in draft.rows
        )
        now = self.clock(hidden, after_close).market_time
        draft = replace(draft, rows=tuple(rows))
        return await Recorder(self.ledger, Metrics()).write_down(edition, draft, now, earlier or {})

    async def resolve(self, hidden: int) -> int:
        """Record what came of them; return how many outcomes are new."""
        recorder, clock = Recorder(self.ledger, Metrics()), self.clock(hidden)
        order = Order(Bars(self.bars(hidden)), clock)
        found = await asyncio.to_thread(batches.survey, order, self.database_url)
        return await recorder.resolve(MARKET, found.outcomes, clock.market_time)

    async def rows(self, symbol: str, horizon: int = 1) -> list[Written]:
        """What the ledger says of a symbol, the latest first."""
        return await self.ledger.written(MARKET, symbol=symbol, horizon=horizon, count=100)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    async with writable_ledger(database_url) as (_database, opened):
        yield opened


@pytest.fixture
def exchange(
    make_history: MakeHistory, quick_recipe: Recipe, ledger: Ledger, database_url: str
) -> Exchange:
    histories = {s: make_history(s, sessions=320, group="equity:XTST") for s in ("AAA", "BBB")}
    return Exchange(histories, quick_recipe, ledger, database_url)


async def test_what_was_written_down_first_is_what_is_told(exchange: Exchange) -> None:
    first = await exchange.write_down(25)
    again = await exchange.write_down(25, 2.0, shift=0.01)
    assert set(first.forecasts) == set(HORIZONS)
    for horizon, batch in first.forecasts.items():
        for symbol, stands in batch.items():
            told = again.forecasts[horizon][symbol]
            assert told.ledger_number == stands.ledger_number is not None
            assert told.log_moves == stands.log_moves
            assert told.issue_time == exchange.clock(25).market_time
    assert (await exchange.ledger.head(MARKET)).count == 6


async def test_what_was_told_stays_as_it_was_told(exchange: Exchange) -> None:
    first = await exchange.write_down(25)
    again = await exchange.write_down(25, 2.0, shift=0.01, earlier=first.forecasts)
    assert again.forecasts == first.forecasts


async def test_each_horizon_has_its_own_target(exchange: Exchange) -> None:
    days = exchange.histories["AAA"].days
    edition = await exchange.write_down(25)
    for horizon in HORIZONS:
        told = edition.forecasts[horizon]["AAA"]
        (written,) = await exchange.rows("AAA", horizon)
        target = int(days[-26 + horizon])
        assert told.target_day == written.entry.said.target_day == target
        assert told.target_inferred == (horizon > 5)
        assert isinstance(written.entry.said, LedgerForecast)
        assert written.entry.said.yardsticks is not None


async def test_a_calendar_that_ends_leaves_the_far_horizons_out(exchange: Exchange) -> None:
    edition = await exchange.write_down(4)
    assert {h: len(batch) for h, batch in edition.forecasts.items()} == {1: 2, 5: 0, 20: 0}


async def test_outcomes_follow_at_the_close(exchange: Exchange) -> None:
    await exchange.write_down(25)
    assert [await exchange.resolve(hidden) for hidden in (25, 24, 24, 20, 5)] == [0, 2, 0, 2, 2]
    closes = exchange.histories["AAA"].closes
    for horizon in HORIZONS:
        (written,) = await exchange.rows("AAA", horizon)
        assert written.outcome_kind == "resolved"
        move = np.log(closes[-26 + horizon] / closes[-26])
        assert written.log_move == pytest.approx(move, abs=1e-12)


async def test_a_session_that_the_source_lost_is_said_to_be_lost(exchange: Exchange) -> None:
    await exchange.write_down(25)
    whole = exchange.histories["AAA"]
    lost = int(whole.days[-25])
    names = ("days", "close_seconds", "opens", "highs", "lows", "closes", "volumes")
    left: Any = {name: np.delete(getattr(whole, name), -25) for name in names}
    exchange.histories["AAA"] = replace(whole, **left)
    exchange.lost["AAA"] = lost
    await exchange.resolve(12)
    (written,) = await exchange.rows("AAA")
    assert (written.outcome_kind, written.reason) == ("unresolved", "SESSION_LOST")
    (written,) = await exchange.rows("BBB")
    assert written.outcome_kind == "resolved"


async def test_widths_go_on_from_what_the_ledger_has_resolved(exchange: Exchange) -> None:
    recorder = Recorder(exchange.ledger, Metrics())
    groups = {s: history.group for s, history in exchange.histories.items()}
    edition = await exchange.write_down(25)
    standing, number = await recorder.advance(edition, groups, exchange.recipe)
    assert [each.states for each in standing.values()] == [{}, {}, {}]
    await exchange.resolve(24)
    standing, number = await recorder.advance(edition, groups, exchange.recipe)
    assert number == (await exchange.ledger.head(MARKET)).count == 8
    hits = [
        each.log_moves[1] <= np.log(history.closes[-25] / history.closes[-26]) <= each.log_moves[5]
        for symbol, history in exchange.histories.items()
        for each in [edition.forecasts[1][symbol]]
    ]
    assert standing[1].states["equity:XTST"].coverages == (sum(hits) / 2,)
    assert standing[5].states == standing[20].states == {}
    after = replace(edition, standing=standing, resolved_number=number)
    assert await recorder.advance(after, groups, exchange.recipe) == (standing, number)


async def test_sessions_that_passed_are_missed_and_never_made_up_for(exchange: Exchange) -> None:
    await exchange.write_down(29)
    await exchange.write_down(25)
    days = exchange.histories["AAA"].days
    for horizon in HORIZONS:
        written = await exchange.rows("AAA", horizon)
        assert [row.reason for row in written] == ["", *3 * ["SERVICE_AWAY"], ""]
        missed = [row.entry.said for row in written if isinstance(row.entry.said, MissedForecast)]
        assert sorted(each.as_of_day for each in missed) == days[-29:-26].tolist()
        assert sorted(each.target_day for each in missed) == (
            days[-29 + horizon : -26 + horizon].tolist()
        )
    assert (await exchange.ledger.verify(MARKET)).fault is None


async def test_a_session_without_trades_is_missed_for_that(exchange: Exchange) -> None:
    whole = exchange.histories["AAA"]
    volumes, closes = whole.volumes.copy(), whole.closes.copy()
    volumes[-39:], closes[-39:] = 0.0, closes[-40]
    await exchange.write_down(39)
    exchange.histories["AAA"] = replace(whole, volumes=volumes, closes=closes)
    edition = await exchange.write_down(26)
    assert set(edition.next_forecasts) == {"BBB"}
    reasons = [row.reason for row in await exchange.rows("AAA")]
    assert reasons == [*3 * ["TRADING_HALTED"], *9 * ["SERVICE_AWAY"], ""]


async def test_what_comes_too_late_is_told_without_a_number_and_missed(
    exchange: Exchange,
) -> None:
    newcomer = exchange.histories.pop("BBB")
    await exchange.write_down(24)
    exchange.histories["BBB"] = newcomer
    # The next session has opened: 17.5 hours after the close.
    told = await exchange.write_down(23, 17.5)
    assert [each.ledger_number for each in told.next_forecasts.values()] == [None, None]
    assert [row.reason for row in await exchange.rows("AAA")] == ["TOO_LATE", ""]
    # One that was added while its session was open is not recorded, nor missed.
    assert await exchange.rows("BBB") == []


async def test_where_nights_pass_in_seconds_there_is_a_little_of_the_session(
    exchange: Exchange,
) -> None:
    exchange.is_synthetic = True
    told = await exchange.write_down(23, 17.9)
    assert all(each.ledger_number for each in told.next_forecasts.values())


async def test_it_waits_for_better_forecasts_until_it_may_not(exchange: Exchange) -> None:
    _, draft = await exchange.made(23)
    hours = (1, 13, 14, 17, 17.5)
    due = [draft.is_urgent(exchange.clock(23, each).market_time) for each in hours]
    assert due == [False, False, True, True, False]


async def test_bars_of_a_replica_that_lags_are_not_written_down(exchange: Exchange) -> None:
    opened = exchange.clock(23).market_time - timedelta(hours=5)
    bars = {s: replace(each, next_open=opened) for s, each in exchange.bars(23).items()}
    edition, draft = await exchange.made(23, bars=bars)
    assert len(edition.next_forecasts) == 2
    assert draft == Draft()


async def test_a_forecast_that_another_made_keeps_its_own_explanation_out(
    exchange: Exchange,
) -> None:
    first = await exchange.write_down(25)
    edition, draft = await exchange.made(25)
    learned = {
        symbol: replace(each, model_version="scale-1")
        for symbol, each in edition.next_forecasts.items()
    }
    edition = replace(edition, forecasts={1: learned})
    now = exchange.clock(25, 2.0).market_time
    told = await Recorder(exchange.ledger, Metrics()).write_down(edition, draft, now, {})
    assert [each.model_version for each in told.next_forecasts.values()] == ["", ""]
    assert {s: each.ledger_number for s, each in told.next_forecasts.items()} == {
        s: each.ledger_number for s, each in first.next_forecasts.items()
    }
