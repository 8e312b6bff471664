"""The demo market through the Market interface, at instants that are set by hand."""

from datetime import UTC, date, datetime, timedelta

import pytest

from quote_svc.demo_market import DemoMarket
from quote_svc.demo_prices import KEPT_SESSIONS, TICKS
from quote_svc.demo_time import DemoPace
from quote_svc.market import Bars, MarketKind, Quote, SessionState, SymbolNotFound

PACE = DemoPace(session_seconds=120, night_seconds=15)


class Run:
    """A demo market and the seconds that it has run."""

    def __init__(self, seed: int = 7) -> None:
        self.elapsed = 0.0
        self.market = DemoMarket(seed, PACE, lambda: self.elapsed)

    async def quote(self, symbol: str) -> Quote:
        answer = (await self.market.quotes([symbol])).answers[symbol]
        assert isinstance(answer, Quote)
        return answer

    async def bars(self, symbol: str) -> Bars:
        return (await self.market.history(symbol, None)).bars


@pytest.fixture
def run() -> Run:
    return Run()


async def test_who_it_is() -> None:
    description = Run(seed=11).market.description
    assert description.market_id == "demo:11"
    assert description.kind is MarketKind.DEMO
    assert description.synthetic
    assert "made up" in description.notices[0]


async def test_the_past_is_there_at_first_start(run: Run) -> None:
    history = await run.market.history("ALVQ", None)
    assert len(history.bars) == 1500
    assert history.next_session.session_date == date(2026, 1, 5)
    clock = await run.market.clock()
    (exchange,) = clock.exchanges
    assert exchange.exchange_code == "XDEM"
    assert exchange.state is SessionState.CLOSED
    assert exchange.last_session is not None
    assert exchange.last_session.session_date == date(2026, 1, 2)
    assert exchange.next_session == history.next_session
    assert clock.next_change_in == timedelta(seconds=15)


async def test_closed_open_and_closed_again(run: Run) -> None:
    run.elapsed = 7.5  # in the night, hours after the close
    closed = await run.quote("BOXJ")
    closes = (await run.bars("BOXJ")).closes
    assert closed.state is SessionState.CLOSED
    assert (closed.price, closed.previous_close) == (closes[-1], closes[-2])
    assert closed.as_of_time == datetime(2026, 1, 2, 16, tzinfo=UTC)
    assert closed.session_date == date(2026, 1, 2)
    assert closed.next_session.session_date == date(2026, 1, 5)

    run.elapsed = 15 + 60.2
    opened = await run.quote("BOXJ")
    assert opened.state is SessionState.OPEN
    assert opened.previous_close == closes[-1]
    assert opened.as_of_time == datetime(2026, 1, 5, 12, 45, tzinfo=UTC)
    assert opened.session_date == opened.next_session.session_date == date(2026, 1, 5)
    assert len(await run.bars("BOXJ")) == 1500, "an open session is no history"

    run.elapsed = 135
    after = await run.quote("BOXJ")
    assert after.state is SessionState.CLOSED
    assert after.previous_close == closes[-1]
    assert after.as_of_time == datetime(2026, 1, 5, 16, tzinfo=UTC)
    assert after.next_session.session_date == date(2026, 1, 6)
    bars = await run.bars("BOXJ")
    assert len(bars) == 1501
    assert bars.closes[-1] == after.price


async def test_the_final_bar_is_what_was_traded(run: Run) -> None:
    prices: list[float] = []
    for tick in range(TICKS):
        run.elapsed = 15 + 120 * (tick + 0.5) / TICKS
        quote = await run.quote("TOVZ")
        market_time = (await run.market.clock()).market_time
        assert quote.as_of_time <= market_time < quote.as_of_time + timedelta(minutes=1)
        prices.append(quote.price)
    run.elapsed = 135
    prices.append((await run.quote("TOVZ")).price)
    bars = await run.bars("TOVZ")
    assert len(set(prices)) > 50
    bar = [bars.opens[-1], bars.highs[-1], bars.lows[-1], bars.closes[-1]]
    assert bar == [prices[0], max(prices), min(prices), prices[-1]]


async def test_earlier_bars_are_the_same_at_any_later_instant() -> None:
    early, late = Run(), Run()
    early.elapsed, late.elapsed = 135 * 3, 135 * 300 + 77
    ours, theirs = await early.bars("ZRBQ"), await late.bars("ZRBQ")
    for name in ("session_days", "opens", "highs", "lows", "closes", "volumes", "close_seconds"):
        column = getattr(ours, name)
        assert getattr(theirs, name)[: len(column)].tobytes() == column.tobytes()
    # And a market that saw the days pass has what one started later makes.
    early.elapsed = late.elapsed
    again = await early.bars("ZRBQ")
    assert again.closes.tobytes() == theirs.closes.tobytes()
    assert await early.quote("ZRBQ") == await late.quote("ZRBQ")


@pytest.mark.parametrize("phase", [0, 20])
async def test_the_last_2000_sessions_are_kept(run: Run, phase: float) -> None:
    run.elapsed = 135 * 700 + phase
    bars = await run.bars("MYVO")
    assert len(bars) == KEPT_SESSIONS
    clock = await run.market.clock()
    last = clock.exchanges[0].last_session
    assert last is not None
    assert bars.close_seconds[-1] == last.close_time.timestamp()


async def test_columns_of_actions_are_neutral(run: Run) -> None:
    bars = await run.bars("LUQA")
    assert set(bars.dividends.tolist()) == {0.0}
    assert set(bars.split_factors.tolist()) == {1.0}


async def test_history_from_a_date_on(run: Run) -> None:
    history = await run.market.history("LUQA", date(2026, 1, 1))
    assert len(history.bars) == 2


async def test_an_unknown_symbol(run: Run) -> None:
    batch = await run.market.quotes(["ALVQ", "AAPL"])
    assert isinstance(batch.answers["ALVQ"], Quote)
    assert isinstance(batch.answers["AAPL"], SymbolNotFound)
    with pytest.raises(SymbolNotFound):
        await run.market.history("AAPL", None)


async def test_the_universe_is_every_instrument(run: Run) -> None:
    universe = await run.market.universe()
    symbols = [instrument.symbol for instrument in universe]
    assert len(symbols) == 30
    assert symbols == sorted(symbols)
    assert {instrument.currency_code for instrument in universe} == {"USD"}


async def test_search_finds_names(run: Run) -> None:
    assert [found.symbol for found in await run.market.search("robot")] == ["ZRBQ"]
