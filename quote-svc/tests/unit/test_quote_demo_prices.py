"""The demo market's prices: reproducible to the byte, and of the processes that they claim."""

import numpy as np
import pytest

from foretick_rpc.symbols import parse_symbol
from quote_svc.demo_prices import FIELDS, KEPT_SESSIONS, RHO, DemoPrices
from quote_svc.demo_stocks import DELISTED, LAST_OF_DELISTED, STOCKS, SUSPENDED, Process
from quote_svc.demo_time import HALF_DAY_TICKS, TICKS, ticks_of
from quote_svc.market import Floats

SESSIONS = 1500


def made(seed: int, sessions: int) -> DemoPrices:
    prices = DemoPrices(STOCKS, seed)
    prices.make_through(sessions - 1)
    return prices


@pytest.fixture(scope="module")
def prices() -> DemoPrices:
    return made(7, SESSIONS)


def returns(prices: DemoPrices, process: Process) -> Floats:
    """Daily log returns with dividends, a row for each stock of the process always traded."""
    rows = [
        row
        for row, stock in enumerate(STOCKS)
        if stock.process is process and stock.symbol not in (SUSPENDED, DELISTED)
    ]
    bars = np.stack([prices.bars(row) for row in rows])
    closes, paid, factors = bars[:, 3], bars[:, 5], bars[:, 6]
    return np.log((closes + paid)[:, 1:] * factors[:, 1:] / closes[:, :-1])


def volatilities(process: Process) -> Floats:
    """What the table says, in the order of `returns`."""
    return np.array(
        [
            stock.volatility
            for stock in STOCKS
            if stock.process is process and stock.symbol not in (SUSPENDED, DELISTED)
        ]
    )


def autocorrelation(series: Floats) -> Floats:
    """Lag-1 autocorrelation of each row."""
    centred = series - series.mean(axis=1, keepdims=True)
    products: Floats = (centred[:, 1:] * centred[:, :-1]).sum(axis=1)
    ratios: Floats = products / (centred**2).sum(axis=1)
    return ratios


def test_the_instruments_are_distinct_and_well_formed() -> None:
    assert len({stock.symbol for stock in STOCKS}) == len(STOCKS) == 60
    assert len({stock.name for stock in STOCKS}) == 60
    assert all(parse_symbol(stock.symbol) == stock.symbol for stock in STOCKS)
    for process in Process:
        assert sum(stock.process is process for stock in STOCKS) == 20


def test_the_same_seed_gives_the_same_bytes(prices: DemoPrices) -> None:
    again = made(7, SESSIONS)
    for row in range(len(STOCKS)):
        assert again.bars(row).tobytes() == prices.bars(row).tobytes()
        assert again.ticks(row).tobytes() == prices.ticks(row).tobytes()


def test_another_seed_gives_other_prices(prices: DemoPrices) -> None:
    other = made(8, 20)
    for row in range(len(STOCKS)):
        assert not np.array_equal(other.bars(row)[:4], prices.bars(row)[:4, :20], equal_nan=True)


def test_turmoil_changes_nothing_before_it_and_trebles_volatility(prices: DemoPrices) -> None:
    wild = DemoPrices(STOCKS, 7, turmoil_from=700)
    wild.make_through(SESSIONS - 1)
    for row in range(len(STOCKS)):
        assert wild.bars(row)[:, :700].tobytes() == prices.bars(row)[:, :700].tobytes()
    for process in Process:
        usual = returns(prices, process)[:, 700:].std(axis=1)
        assert returns(wild, process)[:, 700:].std(axis=1) == pytest.approx(3 * usual, rel=0.1)


@pytest.mark.parametrize("sessions", [1, 255, 256, 257, 600])
def test_a_session_depends_on_none_after_it(prices: DemoPrices, sessions: int) -> None:
    fewer = made(7, sessions)
    for row in range(len(STOCKS)):
        earlier = prices.bars(row)[:, :sessions]
        assert fewer.bars(row).tobytes() == earlier.tobytes()


def test_one_by_one_or_all_at_once_is_the_same(prices: DemoPrices) -> None:
    stepwise = DemoPrices(STOCKS, 7)
    for session in range(0, 300, 7):
        stepwise.make_through(session)
    for row in range(len(STOCKS)):
        bars = stepwise.bars(row)
        assert bars.tobytes() == prices.bars(row)[:, : bars.shape[1]].tobytes()


def test_only_the_latest_are_kept_and_skipping_changes_none(prices: DemoPrices) -> None:
    target = KEPT_SESSIONS + 1000
    skipping = DemoPrices(STOCKS[:2], 7)
    skipping.make_through(target)
    assert skipping.bars(0).shape == (FIELDS, KEPT_SESSIONS + 1)
    assert skipping.first_kept == target - KEPT_SESSIONS
    # The sessions that both have are the same, though one was made without its past's bars.
    first = skipping.first_kept
    for row in range(2):
        ours = skipping.bars(row)[:, : SESSIONS - first]
        assert ours.tobytes() == prices.bars(row)[:, first:].tobytes()
    stepwise = DemoPrices(STOCKS[:2], 7)
    for session in (10, 2500, target):
        stepwise.make_through(session)
    assert stepwise.bars(1).tobytes() == skipping.bars(1).tobytes()


def test_a_market_that_runs_for_long_keeps_the_same() -> None:
    stepwise, skipping = DemoPrices(STOCKS[:2], 7), DemoPrices(STOCKS[:2], 7)
    for session in range(0, 3 * KEPT_SESSIONS + 1, 100):
        stepwise.make_through(session)
    skipping.make_through(3 * KEPT_SESSIONS)
    assert stepwise.first_kept == skipping.first_kept
    for row in range(2):
        assert stepwise.bars(row).tobytes() == skipping.bars(row).tobytes()


def test_a_bar_is_its_ticks_extremes_and_ends(prices: DemoPrices) -> None:
    for row, stock in enumerate(STOCKS):
        if stock.symbol == DELISTED:
            continue
        ticks = prices.ticks(row)
        assert len(ticks) == TICKS + 1
        bar = prices.bars(row)[:4, -1]
        assert bar.tolist() == [ticks[0], ticks.max(), ticks.min(), ticks[-1]]


def test_a_half_day_has_fewer_ticks_and_less_volume(prices: DemoPrices) -> None:
    halves = [session for session in range(SESSIONS) if ticks_of(session) == HALF_DAY_TICKS]
    assert len(halves) == 5
    volumes = np.stack([prices.bars(row)[4] for row in range(len(STOCKS))])
    usual = np.nanmean(volumes[:, [session - 1 for session in halves]])
    assert 0.4 < np.nanmean(volumes[:, halves]) / usual < 0.7
    assert len(made(7, halves[0] + 1).ticks(0)) == HALF_DAY_TICKS + 1


def test_prices_are_positive_and_whole_cents(prices: DemoPrices) -> None:
    for row in range(len(STOCKS)):
        bars = prices.bars(row)
        bars = bars[:, ~np.isnan(bars[3])]
        assert (bars[:5] > 0).all()
        assert np.array_equal(np.round(bars[:4], 2), bars[:4])
        assert np.array_equal(np.round(bars[4]), bars[4])
        opens, highs, lows, closes = bars[:4]
        assert (highs >= np.maximum(opens, closes)).all()
        assert (lows <= np.minimum(opens, closes)).all()


def test_nights_have_gaps(prices: DemoPrices) -> None:
    for row, stock in enumerate(STOCKS):
        bars = prices.bars(row)
        opens, closes, factors = bars[0], bars[3], bars[6]
        gaps = np.log(opens[1:] * factors[1:] / closes[:-1])
        # A fifth of a day's variance passes at night; AR(1) and rounding leave some play.
        assert 0.3 < np.nanstd(gaps) / stock.volatility < 0.7


def test_planted_direction_is_there(prices: DemoPrices) -> None:
    rho = autocorrelation(returns(prices, Process.AUTOREGRESSIVE))
    # Standard errors: sqrt((1 - rho²) / 1500) = .023 for one stock; .013 for the mean, since
    # the stocks share about 30 % of their innovations.
    assert np.abs(rho - RHO).max() < 0.09
    assert abs(rho.mean() - RHO) < 0.04


@pytest.mark.parametrize("process", [Process.STEADY, Process.VARYING])
def test_random_walks_have_no_direction(prices: DemoPrices, process: Process) -> None:
    rho = autocorrelation(returns(prices, process))
    assert np.abs(rho).max() < 0.1
    assert abs(rho.mean()) < 0.03


def test_volatility_moves_where_it_should_and_only_there(prices: DemoPrices) -> None:
    steady = autocorrelation(np.abs(returns(prices, Process.STEADY)))
    varying = autocorrelation(np.abs(returns(prices, Process.VARYING)))
    assert abs(steady.mean()) < 0.03
    assert varying.min() > 0.08
    assert varying.mean() > 0.15
    squares = autocorrelation(returns(prices, Process.VARYING) ** 2)
    assert squares.mean() > 0.1
    assert abs(autocorrelation(returns(prices, Process.STEADY) ** 2).mean()) < 0.03


def test_volatilities_are_those_of_the_table(prices: DemoPrices) -> None:
    for process, play in ((Process.AUTOREGRESSIVE, 0.1), (Process.STEADY, 0.1)):
        stated = volatilities(process)
        assert np.abs(returns(prices, process).std(axis=1) / stated - 1).max() < play
    stated = volatilities(Process.VARYING)
    assert 0.8 < (returns(prices, Process.VARYING).std(axis=1) / stated).mean() < 1.2


def test_ranges_carry_the_volatility(prices: DemoPrices) -> None:
    for row, stock in enumerate(STOCKS):
        if stock.process is not Process.STEADY or stock.symbol == SUSPENDED:
            continue
        opens, highs, lows, closes = prices.bars(row)[:4]
        # Garman and Klass 1980: variance between open and close from the four prices.
        squares = 0.5 * np.log(highs / lows) ** 2
        squares -= (2 * np.log(2) - 1) * np.log(closes / opens) ** 2
        expected = stock.volatility**2 * 0.8
        # 390 ticks miss a little of the extremes of a continuous path.
        assert 0.85 < squares.mean() / expected < 1.05


def test_the_market_moves_all(prices: DemoPrices) -> None:
    steady = returns(prices, Process.STEADY)
    shares = np.array(
        [
            stock.market_share
            for stock in STOCKS
            if stock.process is Process.STEADY and stock.symbol != SUSPENDED
        ]
    )
    expected = np.sqrt(np.outer(shares, shares))
    off_diagonal = ~np.eye(len(shares), dtype=bool)
    error = (np.corrcoef(steady) - expected)[off_diagonal]
    assert np.abs(error).max() < 0.1


def test_prices_stay_in_range_for_years_of_running() -> None:
    prices = made(7, 20_000)
    for row, stock in enumerate(STOCKS):
        if stock.symbol == DELISTED:
            continue
        closes = prices.bars(row)[3]
        assert np.nanmin(closes) > stock.first_price / 8
        assert np.nanmax(closes) < stock.first_price * 3


def test_splits_and_merges_leave_no_mark_on_returns(prices: DemoPrices) -> None:
    splits = merges = 0
    for row, stock in enumerate(STOCKS):
        bars = prices.bars(row)
        closes, factors = bars[3], bars[6]
        assert set(factors) <= {0.5, 1.0, 2.0}
        for session in np.flatnonzero(factors != 1):
            moved = np.log(closes[session] * factors[session] / closes[session - 1])
            assert abs(moved) < 6 * stock.volatility
            if factors[session] == 2:
                assert closes[session - 1] > 1.5 * stock.first_price - 0.01
                splits += 1
            else:
                assert closes[session - 1] < stock.first_price / 4 + 0.01
                merges += 1
    assert splits >= 10
    assert merges >= 1


def test_dividends_are_paid_four_times_a_year(prices: DemoPrices) -> None:
    payers = 0
    for row, stock in enumerate(STOCKS):
        bars = prices.bars(row)
        closes, paid = bars[3], bars[5]
        sessions = np.flatnonzero(paid[1:]) + 1
        if stock.dividend_yield == 0:
            assert not len(sessions)
            continue
        payers += 1
        assert set(np.diff(sessions)) == {63}
        assert np.array_equal(np.round(paid, 2), paid)
        before = closes[sessions - 1] / bars[6, sessions]
        assert paid[sessions] == pytest.approx(before * stock.dividend_yield / 4, abs=0.0051)
    assert payers >= 30


def test_a_price_gives_up_its_dividend(prices: DemoPrices) -> None:
    steady = [
        row
        for row, stock in enumerate(STOCKS)
        if stock.process is Process.STEADY and stock.dividend_yield > 0.025
    ]
    kept, given = [], []
    for row in steady:
        closes, paid, factors = prices.bars(row)[[3, 5, 6]]
        sessions = np.flatnonzero(paid[1:]) + 1
        before = closes[sessions - 1] / factors[sessions]
        kept += np.log((closes[sessions] + paid[sessions]) / before).tolist()
        given += np.log(closes[sessions] / before).tolist()
    # Mean yields of .8 % a time, of 200 or so returns whose standard deviation is 1.2 %.
    assert abs(np.mean(kept)) < 0.003
    assert -0.012 < np.mean(given) < -0.005


def test_one_stock_is_suspended_now_and_then(prices: DemoPrices) -> None:
    (row,) = [row for row, stock in enumerate(STOCKS) if stock.symbol == SUSPENDED]
    bars = prices.bars(row)
    untraded = np.flatnonzero(np.isnan(bars[3]))
    assert len(untraded) == 30
    assert sorted(set(np.diff(untraded))) == [1, 246]
    assert np.isnan(bars[:5, untraded]).all()
    assert (bars[5, untraded] == 0).all()
    assert (bars[6, untraded] == 1).all()
    # What would have been traded shows at the next open.
    after = untraded[4]
    assert bars[0, after + 1] != bars[3, untraded[0] - 1]


def test_one_stock_is_delisted(prices: DemoPrices) -> None:
    for row, stock in enumerate(STOCKS):
        untraded = np.isnan(prices.bars(row)[3])
        if stock.symbol == DELISTED:
            assert np.flatnonzero(untraded).tolist() == list(range(LAST_OF_DELISTED + 1, SESSIONS))
        elif stock.symbol != SUSPENDED:
            assert not untraded.any()


def test_the_prices_of_a_seed_stay_what_they_are(prices: DemoPrices) -> None:
    # Forecasts and scores are stored by seed: prices that change between versions of the
    # product would be scored against others.
    assert prices.bars(0)[:, :3].tolist() == [
        [84.54, 83.54, 84.15],
        [84.68, 85.4, 84.95],
        [83.1, 83.35, 83.92],
        [84.21, 84.02, 84.95],
        [1916766.0, 1486466.0, 2534471.0],
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 1.0],
    ]
    around_a_split = prices.bars(0)[[3, 6], 1047:1050].tolist()
    assert around_a_split == [[127.84, 63.94, 63.73], [1.0, 2.0, 1.0]]
