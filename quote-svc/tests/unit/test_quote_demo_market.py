"""The demo market through the Market interface, at instants that are set by hand."""

from copy import deepcopy
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from quote_svc.demo_market import DemoMarket
from quote_svc.demo_prices import KEPT_SESSIONS, DemoPrices
from quote_svc.demo_stocks import DELISTED, LAST_OF_DELISTED, STOCKS, SUSPENDED
from quote_svc.demo_time import PAST_SESSIONS, TICKS, DemoPace
from quote_svc.demo_time import session as session_of
from quote_svc.market import (
    Bars,
    Floats,
    MarketKind,
    Quote,
    SessionState,
    SymbolNotFound,
    epoch_day,
)

PACE = DemoPace(session_seconds=120, night_seconds=15)


class Elapsed:
    """Running seconds that are set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Run:
    """A demo market and the seconds that it has run."""

    def __init__(self, market: DemoMarket, elapsed: Elapsed) -> None:
        self.market = market
        self._elapsed = elapsed

    @property
    def elapsed(self) -> float:
        return self._elapsed.seconds

    @elapsed.setter
    def elapsed(self, seconds: float) -> None:
        self._elapsed.seconds = seconds

    def at(self, session: int, passed: float) -> None:
        """Be in the session, or in the night before it, by its seconds passed."""
        self.elapsed = 135 * (session - PAST_SESSIONS) + passed

    async def quote(self, symbol: str) -> Quote:
        answer = (await self.market.quotes([symbol])).answers[symbol]
        assert isinstance(answer, Quote)
        return answer

    async def bars(self, symbol: str) -> Bars:
        return (await self.market.history(symbol, None)).bars


def new_run() -> Run:
    elapsed = Elapsed()
    return Run(DemoMarket(7, PACE, elapsed), elapsed)


@pytest.fixture(scope="module")
def past() -> Run:
    """A market whose past is made; a copy takes a hundredth of the time."""
    made = new_run()
    made.market.catch_up()
    return made


@pytest.fixture
def run(past: Run) -> Run:
    return deepcopy(past)


async def test_who_it_is() -> None:
    description = DemoMarket(11, PACE, lambda: 0.0).description
    assert description.market_id == "demo:11"
    in_turmoil = DemoMarket(11, PACE, lambda: 0.0, turmoil_after=0).description
    assert in_turmoil.market_id == "demo:11:turmoil-0"
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
    assert closed.recent_closes == tuple(closes[-30:])
    assert closed.as_of_time == datetime(2026, 1, 2, 16, tzinfo=UTC)
    assert closed.session_date == date(2026, 1, 2)
    assert closed.next_session.session_date == date(2026, 1, 5)

    run.elapsed = 15 + 60.2
    opened = await run.quote("BOXJ")
    assert opened.state is SessionState.OPEN
    assert opened.previous_close == closes[-1]
    assert opened.recent_closes == tuple(closes[-30:])
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
    volumes: list[float] = []
    for tick in range(TICKS):
        run.elapsed = 15 + 120 * (tick + 0.5) / TICKS
        quote = await run.quote("TOVZ")
        market_time = (await run.market.clock()).market_time
        assert quote.as_of_time <= market_time < quote.as_of_time + timedelta(minutes=1)
        prices.append(quote.price)
        volumes.append(quote.volume or 0)
        assert (quote.day_low, quote.day_high) == (min(prices), max(prices))
    run.elapsed = 135
    final = await run.quote("TOVZ")
    prices.append(final.price)
    volumes.append(final.volume or 0)
    bars = await run.bars("TOVZ")
    assert len(set(prices)) > 50
    bar = [bars.opens[-1], bars.highs[-1], bars.lows[-1], bars.closes[-1]]
    assert bar == [prices[0], max(prices), min(prices), prices[-1]]
    assert (final.day_low, final.day_high) == (min(prices), max(prices))
    assert volumes == sorted(volumes)
    assert volumes[-1] == bars.volumes[-1] > 100 * volumes[0] > 0


async def test_earlier_bars_are_the_same_at_any_later_instant(run: Run) -> None:
    early, late = run, new_run()
    early.elapsed, late.elapsed = 135 * 3, 135 * 300 + 77
    ours, theirs = await early.bars("ZRBQ"), await late.bars("ZRBQ")
    # The columns that no later split changes; another test is of those.
    for name in ("session_days", "split_factors", "close_seconds"):
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


def as_traded(symbol: str, sessions: int) -> Floats:
    """All bars of the first sessions, made apart from any market."""
    prices = DemoPrices(STOCKS, 7)
    prices.make_through(sessions - 1)
    return prices.bars([stock.symbol for stock in STOCKS].index(symbol))


async def test_nobody_sees_a_split_before_it_happens(run: Run) -> None:
    split = 1515  # the first in a live session of this seed: one share of two
    raw = as_traded("FJRQ", split + 2)
    assert raw[6, split] == 0.5
    assert set(raw[6, 374:split]) == {1.0}

    run.at(split, 10)  # the night before
    bars = await run.bars("FJRQ")
    assert bars.closes[-1000:].tolist() == raw[3, split - 1000 : split].tolist()
    quote = await run.quote("FJRQ")
    assert (quote.price, quote.previous_close) == (raw[3, split - 1], raw[3, split - 2])

    run.at(split, 30)  # open: quotes are on the new basis, the bar is not there yet
    bars = await run.bars("FJRQ")
    assert bars.closes[-1000:].tolist() == raw[3, split - 1000 : split].tolist()
    quote = await run.quote("FJRQ")
    assert quote.previous_close == raw[3, split - 1] * 2
    assert quote.recent_closes == tuple(2 * raw[3, split - 30 : split])
    assert quote.price == pytest.approx(raw[3, split - 1] * 2, rel=0.1)

    run.at(split + 1, 0)  # closed: the past is on the basis of the last bar
    bars = await run.bars("FJRQ")
    assert bars.closes[-1] == raw[3, split]
    assert bars.closes[-1000:-1].tolist() == (2 * raw[3, split - 999 : split]).tolist()
    assert bars.volumes[-1000:-1].tolist() == (raw[4, split - 999 : split] / 2).tolist()
    assert bars.split_factors[-2:].tolist() == [1, 0.5]
    quote = await run.quote("FJRQ")
    assert (quote.price, quote.previous_close) == (bars.closes[-1], bars.closes[-2])
    assert quote.recent_closes == tuple(bars.closes[-30:])


async def test_split_adjusted_returns_are_those_that_were_traded(run: Run) -> None:
    jumps = 0
    for stock in STOCKS:
        bars = await run.bars(stock.symbol)
        moves = np.abs(np.diff(np.log(bars.closes)))
        assert moves.max() < 0.35
        jumps += int((bars.split_factors != 1).sum())
    assert jumps > 20


async def test_dividends_are_columns_and_leave_prices_alone(run: Run) -> None:
    raw = as_traded("LUQA", 1500)
    assert (raw[6] == 1).all()
    bars = await run.bars("LUQA")
    assert bars.closes.tolist() == raw[3].tolist()
    assert bars.dividends.tolist() == raw[5].tolist()
    assert (bars.dividends > 0).sum() in (23, 24)


async def test_a_half_day_and_a_holiday(run: Run) -> None:
    run.at(1524, 134)
    open_at_noon = await run.quote("BOXJ")
    assert open_at_noon.state is SessionState.OPEN
    assert open_at_noon.as_of_time == datetime(2026, 2, 6, 12, 58, tzinfo=UTC)
    run.at(1525, 0)
    closed = await run.quote("BOXJ")
    assert closed.as_of_time == datetime(2026, 2, 6, 13, tzinfo=UTC)
    assert closed.next_session.session_date == date(2026, 2, 10)
    history = await run.market.history("BOXJ", date(2026, 2, 5))
    assert history.ahead.known == len(history.ahead.days) == 20
    tenth = epoch_day(date(2026, 2, 10))
    assert history.ahead.days[:5] == (tenth, tenth + 1, tenth + 2, tenth + 3, tenth + 6)
    assert history.lost_days == ()
    assert history.bars.close_seconds.tolist() == [
        datetime(2026, 2, 5, 16, tzinfo=UTC).timestamp(),
        datetime(2026, 2, 6, 13, tzinfo=UTC).timestamp(),
    ]


async def test_a_suspended_stock_is_halted_from_open_to_open(run: Run) -> None:
    first, again = 1502, 1507
    run.at(first, 10)
    before = await run.quote(SUSPENDED)
    assert before.state is SessionState.CLOSED, "nobody knows before the open"
    for session in range(first, again):
        for passed in (15, 80, 134, 135, 149):
            run.at(session, passed)
            halted = await run.quote(SUSPENDED)
            assert halted.state is SessionState.HALTED
            assert (halted.price, halted.as_of_time) == (before.price, before.as_of_time)
            assert halted.session_date == before.session_date
            assert (halted.volume, halted.stale) == (before.volume, False)
    run.at(again, 0)
    days = (await run.bars(SUSPENDED)).session_days
    assert days[-1] == epoch_day(session_of(first - 1).session_date)
    run.at(again, 16)
    resumed = await run.quote(SUSPENDED)
    assert resumed.state is SessionState.OPEN
    assert resumed.previous_close == before.price
    run.at(again + 1, 0)
    days = (await run.bars(SUSPENDED)).session_days
    assert days[-1] == epoch_day(session_of(again).session_date)
    assert len(days) == len(await run.bars("ALVQ")) - 35
    assert SUSPENDED in [instrument.symbol for instrument in await run.market.universe()]


async def test_a_delisted_stock_has_a_past_and_no_future(run: Run) -> None:
    run.at(PAST_SESSIONS, 60)
    last = session_of(LAST_OF_DELISTED)
    quote = await run.quote(DELISTED)
    assert (quote.state, quote.stale) == (SessionState.CLOSED, True)
    assert quote.stale_reason == f"delisted: it was last traded on {last.session_date}"
    assert (quote.session_date, quote.as_of_time) == (last.session_date, last.close_time)
    bars = await run.bars(DELISTED)
    assert len(bars) == LAST_OF_DELISTED + 1
    assert (bars.closes[-1], bars.closes[-2]) == (quote.price, quote.previous_close)
    assert [found.symbol for found in await run.market.search(DELISTED)] == [DELISTED]
    assert DELISTED not in [instrument.symbol for instrument in await run.market.universe()]


async def test_a_delisted_stock_is_forgotten_with_its_last_bar(run: Run) -> None:
    run.at(LAST_OF_DELISTED + KEPT_SESSIONS, 0)
    assert len(await run.bars(DELISTED)) == 1
    assert (await run.quote(DELISTED)).previous_close is None
    run.at(LAST_OF_DELISTED + KEPT_SESSIONS + 1, 0)
    with pytest.raises(SymbolNotFound):
        await run.bars(DELISTED)
    answers = (await run.market.quotes([DELISTED])).answers
    assert isinstance(answers[DELISTED], SymbolNotFound)


async def test_a_held_clock_has_no_next_change() -> None:
    held = DemoMarket(7, PACE, lambda: 20.0, lambda: True)
    assert (await held.clock()).next_change_in is None


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
    assert len(symbols) == 59
    assert symbols == sorted(symbols)
    assert {instrument.currency_code for instrument in universe} == {"USD"}


async def test_search_finds_names(run: Run) -> None:
    assert [found.symbol for found in await run.market.search("robot")] == ["ZRBQ"]
