"""From editions to the ledger and back: what counts is what was written down in time."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from foretick_rpc.database import Database
from prediction_svc import jobs
from prediction_svc.book import Edition, issue
from prediction_svc.histories import History
from prediction_svc.ledger import Ledger
from prediction_svc.ledger_rows import MissedForecast
from prediction_svc.market import MarketClock, SymbolBars
from prediction_svc.outcomes import TradedBars
from prediction_svc.recipe import Recipe
from prediction_svc.recording import Recorder, must_be_recorded_now
from prediction_svc.scores import UNSCORED
from prediction_svc.testing import writable_ledger

MARKET = "csv:0"
MakeHistory = Callable[..., History]


@dataclass
class Exchange:
    """Two symbols whose sessions close at 21:00 and open the next day at 14:30."""

    histories: dict[str, History]
    recipe: Recipe
    is_synthetic: bool = False

    def bars(self, hidden: int) -> dict[str, SymbolBars]:
        """What the market tells while the last `hidden` sessions have not closed."""
        return {s: self._bars(history, hidden) for s, history in self.histories.items()}

    def _bars(self, history: History, hidden: int) -> SymbolBars:
        seen = history.first(len(history) - hidden)
        day = datetime.fromtimestamp(int(history.days[-hidden]) * 86_400, UTC)
        zeros = np.zeros(len(seen))
        return SymbolBars(
            market_id=MARKET,
            exchange_code="XTST",
            history=seen,
            currency_code="USD",
            price_decimals=2,
            next_session_date=day.date().isoformat(),
            next_session_inferred=False,
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

    def edition(self, hidden: int, shift: float = 0.0) -> Edition:
        """Forecasts made then, all moved by `shift`."""
        bars = self.bars(hidden)
        batch = jobs.forecast_without_learning([b.history for b in bars.values()], self.recipe)
        moved = {
            s: replace(made, log_moves=tuple(move + shift for move in made.log_moves))
            for s, made in batch.items()
        }
        now = self.clock(hidden).market_time
        issued = {s: issue(made, bars[s], now) for s, made in moved.items()}
        return Edition(MARKET, frozenset(bars), issued, {}, recipe_hash="x", finished=True)


@pytest.fixture
def exchange(make_history: MakeHistory, quick_recipe: Recipe) -> Exchange:
    histories = {s: make_history(s, sessions=320, group="equity:XTST") for s in ("AAA", "BBB")}
    return Exchange(histories, quick_recipe)


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[tuple[Database, Ledger]]:
    async with writable_ledger(database_url) as both:
        yield both


@pytest.fixture
def ledger(opened: tuple[Database, Ledger]) -> Ledger:
    return opened[1]


async def test_what_was_written_down_first_is_what_is_told(
    exchange: Exchange, ledger: Ledger
) -> None:
    recorder, bars = Recorder(ledger), exchange.bars(5)
    first = await recorder.write_down(exchange.edition(5), bars, exchange.clock(5), {})
    again = await recorder.write_down(
        exchange.edition(5, shift=0.01), bars, exchange.clock(5, 2.0), {}
    )
    for symbol in ("AAA", "BBB"):
        stands, told = first.forecasts[symbol], again.forecasts[symbol]
        assert told.ledger_number == stands.ledger_number is not None
        assert told.made.log_moves == stands.made.log_moves
        assert told.issue_time == exchange.clock(5).market_time
    assert (await ledger.head(MARKET)).count == 2


async def test_a_forecast_keeps_the_score_of_what_made_it(
    exchange: Exchange, ledger: Ledger
) -> None:
    recorder, bars = Recorder(ledger), exchange.bars(5)
    first = await recorder.write_down(exchange.edition(5), bars, exchange.clock(5), {})
    better = exchange.edition(5)
    by_model = {
        symbol: replace(each, made=replace(each.made, model_version="scale-1"))
        for symbol, each in better.forecasts.items()
    }
    better = replace(better, forecasts=by_model)
    told = await recorder.write_down(better, bars, exchange.clock(5), first.forecasts)
    assert told.forecasts == first.forecasts
    # A process that has just taken over does not know that score.
    told = await recorder.write_down(better, bars, exchange.clock(5), {})
    assert [each.made.model_version for each in told.forecasts.values()] == ["", ""]
    assert [each.made.score for each in told.forecasts.values()] == [UNSCORED, UNSCORED]


async def test_outcomes_follow_at_the_close(exchange: Exchange, ledger: Ledger) -> None:
    recorder = Recorder(ledger)
    await recorder.write_down(exchange.edition(5), exchange.bars(5), exchange.clock(5), {})
    assert await recorder.resolve(MARKET, exchange.bars(5), exchange.clock(5).market_time) == 0
    assert await recorder.resolve(MARKET, exchange.bars(4), exchange.clock(4).market_time) == 2
    assert await recorder.resolve(MARKET, exchange.bars(4), exchange.clock(4).market_time) == 0
    (written,) = await ledger.written(MARKET, "AAA", None, 10)
    closes = exchange.histories["AAA"].closes
    assert written.outcome_kind == "resolved"
    assert written.log_move == pytest.approx(np.log(closes[-5] / closes[-6]), abs=1e-12)


async def test_sessions_that_passed_are_missed_and_never_made_up_for(
    exchange: Exchange, ledger: Ledger
) -> None:
    recorder = Recorder(ledger)
    await recorder.write_down(exchange.edition(6), exchange.bars(6), exchange.clock(6), {})
    await recorder.write_down(exchange.edition(2), exchange.bars(2), exchange.clock(2), {})
    written = await ledger.written(MARKET, "AAA", None, 10)
    reasons = [row.reason for row in written]
    assert reasons == ["", "SERVICE_AWAY", "SERVICE_AWAY", "SERVICE_AWAY", ""]
    days = exchange.histories["AAA"].days
    missed = sorted(
        row.entry.said.as_of_day for row in written if isinstance(row.entry.said, MissedForecast)
    )
    assert missed == days[-6:-3].tolist()
    assert (await ledger.verify(MARKET)).fault is None


async def test_what_comes_too_late_is_told_without_a_number_and_missed(
    exchange: Exchange, ledger: Ledger
) -> None:
    recorder = Recorder(ledger)
    del exchange.histories["BBB"]
    await recorder.write_down(exchange.edition(4), exchange.bars(4), exchange.clock(4), {})
    exchange.histories["BBB"] = replace(exchange.histories["AAA"], symbol="BBB")
    # The next session has opened: 17.5 hours after the close.
    late = exchange.clock(3, 17.5)
    told = await recorder.write_down(exchange.edition(3), exchange.bars(3), late, {})
    assert [each.ledger_number for each in told.forecasts.values()] == [None, None]
    assert [row.reason for row in await ledger.written(MARKET, "AAA", None, 10)] == ["TOO_LATE", ""]
    # One that was added while its session was open is not recorded, nor missed.
    assert await ledger.written(MARKET, "BBB", None, 10) == []


async def test_where_nights_pass_in_seconds_there_is_a_little_of_the_session(
    exchange: Exchange, ledger: Ledger
) -> None:
    exchange.is_synthetic = True
    told = await Recorder(ledger).write_down(
        exchange.edition(3), exchange.bars(3), exchange.clock(3, 17.9), {}
    )
    assert all(each.ledger_number for each in told.forecasts.values())


def test_it_waits_for_better_forecasts_until_it_may_not(exchange: Exchange) -> None:
    bars = exchange.bars(3).values()
    due = [must_be_recorded_now(bars, exchange.clock(3, hours)) for hours in (1, 13, 14, 17, 17.5)]
    assert due == [False, False, True, True, False]


async def test_bars_of_a_replica_that_lags_are_not_written_down(
    exchange: Exchange, ledger: Ledger
) -> None:
    opened = exchange.clock(3).market_time - timedelta(hours=5)
    bars = {s: replace(each, next_open=opened) for s, each in exchange.bars(3).items()}
    told = await Recorder(ledger).write_down(exchange.edition(3), bars, exchange.clock(3), {})
    assert [each.ledger_number for each in told.forecasts.values()] == [None, None]
    assert not must_be_recorded_now(bars.values(), exchange.clock(3, 16))
