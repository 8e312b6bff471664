"""yfinance's own code, over TLS, against a Yahoo of the tests' own: every kind of instrument."""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pytest

from fake_yahoo import FakeYahoo
from quote_svc.market import InstrumentKind, epoch_day
from quote_svc.source import Nonsense, SourceHistory, SourceInstrument, UnknownSymbol
from reached_yahoo import reached
from yahoo_answers import Listing, chart, found_row, sessions

DAYS = sessions(date(2024, 1, 2), 10)
CLOSES = [100.0, 101, 102, 103, 104, 105, 106, 107, 108, 109]


@pytest.fixture
def yahoo() -> Iterator[FakeYahoo]:
    with FakeYahoo() as fake:
        yield fake


async def fetched(yahoo: FakeYahoo, listing: Listing, start: date | None = None) -> SourceHistory:
    yahoo.listings[listing.symbol] = listing
    async with reached(yahoo) as source:
        return await source.history(listing.symbol, start)


async def test_a_stock_has_its_bars_its_name_and_its_price(yahoo: FakeYahoo) -> None:
    listing = Listing("AAPL", DAYS, CLOSES, name="Apple Inc.", volumes=[5000] * 10)
    history = await fetched(yahoo, listing)
    assert history.instrument == SourceInstrument(
        symbol="AAPL",
        display_name="Apple Inc.",
        kind=InstrumentKind.STOCK,
        exchange_code="NMS",
        timezone="America/New_York",
        currency_code="USD",
        price_decimals=2,
    )
    assert history.bars.session_days.tolist() == [epoch_day(day) for day in DAYS]
    assert history.bars.closes.tolist() == CLOSES
    assert history.bars.volumes.tolist() == [5000] * 10
    assert history.quote is not None
    assert history.quote.price == 109
    assert history.quote.as_of_time == datetime(2024, 1, 15, 15, tzinfo=UTC)
    assert history.quote.volume == 5000


async def test_one_fetch_is_one_request(yahoo: FakeYahoo) -> None:
    await fetched(yahoo, Listing("AAPL", DAYS, CLOSES))
    assert [call.path for call in yahoo.calls] == ["/v8/finance/chart/AAPL"]
    period = int(yahoo.calls[0].query["period1"])
    assert datetime.fromtimestamp(period, UTC) < datetime.now(UTC) - timedelta(days=8 * 366)


async def test_bars_begin_at_the_session_asked_for(yahoo: FakeYahoo) -> None:
    tokyo = Listing(
        "7203.T", DAYS, CLOSES, currency="JPY", zone="Asia/Tokyo", exchange="JPX", opens_at=time(9)
    )
    history = await fetched(yahoo, tokyo, start=DAYS[4])
    assert history.bars.session_days.tolist() == [epoch_day(day) for day in DAYS[4:]]


async def test_the_close_before_a_single_bar_is_known_too(yahoo: FakeYahoo) -> None:
    history = await fetched(yahoo, Listing("AAPL", DAYS, CLOSES), start=DAYS[-1])
    assert len(history.bars.closes) == 1
    assert history.quote is not None
    assert history.quote.previous_close == 108


@pytest.mark.parametrize(
    ("unit", "currency", "zone"),
    [
        ("GBp", "GBP", "Europe/London"),
        ("ZAc", "ZAR", "Africa/Johannesburg"),
        ("ILA", "ILS", "Asia/Jerusalem"),
    ],
)
async def test_pence_become_pounds_in_prices_quotes_and_dividends(
    yahoo: FakeYahoo, unit: str, currency: str, zone: str
) -> None:
    dividend = 2.06  # pence
    before = 1 - dividend / CLOSES[3]
    listing = Listing(
        "VOD.L",
        DAYS,
        CLOSES,
        currency=unit,
        zone=zone,
        opens_at=time(8),
        dividends={DAYS[4]: dividend},
        adjusted=[close * (before if at < 4 else 1) for at, close in enumerate(CLOSES)],
        volumes=[7] * 10,
    )
    history = await fetched(yahoo, listing)
    assert history.instrument.currency_code == currency
    assert history.instrument.price_decimals == 4
    assert history.bars.closes == pytest.approx(np.array(CLOSES) / 100)
    assert history.bars.dividends[4] == pytest.approx(0.0206)
    assert history.bars.volumes.tolist() == [7] * 10
    assert history.quote is not None
    assert history.quote.price == pytest.approx(1.09)
    assert history.quote.day_high == pytest.approx(1.1009)


async def test_pounds_stay_pounds(yahoo: FakeYahoo) -> None:
    history = await fetched(yahoo, Listing("CSH.L", DAYS, CLOSES, currency="GBP"))
    assert history.bars.closes.tolist() == CLOSES
    assert history.instrument.currency_code == "GBP"


async def test_splits_and_dividends_stand_at_their_sessions(yahoo: FakeYahoo) -> None:
    listing = Listing(
        "AAPL", DAYS, CLOSES, dividends={DAYS[2]: 0.25}, splits={DAYS[6]: (4, 1), DAYS[8]: (1, 10)}
    )
    history = await fetched(yahoo, listing)
    assert history.bars.dividends.tolist() == [0, 0, 0.25, 0, 0, 0, 0, 0, 0, 0]
    assert history.bars.split_factors.tolist() == [1, 1, 1, 1, 1, 1, 4, 1, 0.1, 1]


@pytest.mark.parametrize(
    ("symbol", "kind", "zone", "expected"),
    [
        ("SPY", "ETF", "America/New_York", InstrumentKind.ETF),
        ("^GSPC", "INDEX", "America/New_York", InstrumentKind.INDEX),
        ("VFIAX", "MUTUALFUND", "America/New_York", InstrumentKind.FUND),
        ("EURUSD=X", "CURRENCY", "Europe/London", InstrumentKind.FX),
        ("GC=F", "FUTURE", "America/New_York", InstrumentKind.FUTURE),
        ("BTC-USD", "CRYPTOCURRENCY", "UTC", InstrumentKind.CRYPTO),
        ("AZT.OL", "EQUITY", "Europe/Oslo", InstrumentKind.STOCK),
    ],
)
async def test_every_kind_of_instrument_works_without_volumes(
    yahoo: FakeYahoo, symbol: str, kind: str, zone: str, expected: InstrumentKind
) -> None:
    days = sessions(date(2024, 3, 28), 10, every_day=kind == "CRYPTOCURRENCY")
    # Midnight of the exchange, on both sides of the change of the clocks.
    listing = Listing(
        symbol, days, CLOSES, kind=kind, zone=zone, opens_at=time(0), volumes=[None] * 10
    )
    history = await fetched(yahoo, listing)
    assert history.instrument.kind is expected
    assert history.instrument.timezone == zone
    assert history.bars.session_days.tolist() == [epoch_day(day) for day in days]
    assert history.bars.volumes.tolist() == [0] * 10
    assert history.quote is not None
    assert history.quote.volume is None


async def test_a_dollar_pair_may_be_spelled_without_the_dollar(yahoo: FakeYahoo) -> None:
    listing = Listing("JPY=X", DAYS, CLOSES, kind="CURRENCY", zone="Europe/London")
    yahoo.listings["USDJPY=X"] = listing
    async with reached(yahoo) as source:
        assert (await source.history("USDJPY=X", None)).instrument.symbol == "USDJPY=X"


async def test_a_session_that_yahoo_lost_is_kept_as_a_gap(yahoo: FakeYahoo) -> None:
    closes = [*CLOSES[:4], None, *CLOSES[5:9], None]
    history = await fetched(yahoo, Listing("AAPL", DAYS, closes, last_price=109))
    assert len(history.bars.closes) == 10
    assert np.flatnonzero(np.isnan(history.bars.closes)).tolist() == [4, 9]
    assert history.quote is not None
    assert history.quote.price == 109


async def test_the_bar_before_is_not_taken_for_the_session_before(yahoo: FakeYahoo) -> None:
    lost = Listing("AAPL", [*DAYS[:8], DAYS[9]], [*CLOSES[:8], 109])
    history = await fetched(yahoo, lost)
    assert history.quote is not None
    assert history.quote.previous_close is None


async def test_todays_bar_counts_once_and_the_later_one_is_it(yahoo: FakeYahoo) -> None:
    listing = Listing("AAPL", DAYS, CLOSES)

    def doubled() -> dict[str, object]:
        body = chart(listing, 0, 2**33)
        result = body["chart"]["result"][0]
        result["timestamp"].append(result["timestamp"][-1] + 4321)
        for column in result["indicators"]["quote"][0].values():
            column.append(110.0)
        result["indicators"]["adjclose"][0]["adjclose"].append(110.0)
        return body

    yahoo.answers["AAPL"] = doubled
    async with reached(yahoo) as source:
        bars = (await source.history("AAPL", None)).bars
    assert bars.session_days.tolist() == [epoch_day(day) for day in DAYS]
    assert bars.closes.tolist() == [*CLOSES[:9], 110]


async def test_an_action_on_a_lost_session_stays_on_its_day(yahoo: FakeYahoo) -> None:
    kept = [day for day in DAYS if day != DAYS[4]]
    upcoming = DAYS[-1] + timedelta(days=1)
    listing = Listing("AAPL", kept, CLOSES[:9], dividends={upcoming: 0.5}, splits={DAYS[4]: (2, 1)})
    history = await fetched(yahoo, listing)
    at = history.bars.session_days.tolist()
    lost, ahead = at.index(epoch_day(DAYS[4])), at.index(epoch_day(upcoming))
    assert history.bars.split_factors[lost] == 2
    assert history.bars.dividends[ahead] == 0.5
    assert math.isnan(history.bars.closes[lost])
    assert math.isnan(history.bars.closes[ahead])


async def test_what_yahoo_does_not_have_is_unknown(yahoo: FakeYahoo) -> None:
    async with reached(yahoo) as source:
        with pytest.raises(UnknownSymbol, match="delisted"):
            await source.history("GONE", None)
    assert len(yahoo.calls) == 1


async def test_an_isin_is_not_taken_for_another_symbol(yahoo: FakeYahoo) -> None:
    async with reached(yahoo) as source:
        with pytest.raises(Nonsense, match="ISIN"):
            await source.history("US0378331005", None)
    assert yahoo.calls == []


async def test_a_crumb_is_fetched_where_yahoo_wants_one(yahoo: FakeYahoo) -> None:
    yahoo.listings["AAPL"] = Listing("AAPL", DAYS, CLOSES)
    yahoo.wants_crumb = True
    async with reached(yahoo) as source:
        assert len((await source.history("AAPL", None)).bars.closes) == 10
        asked = len(yahoo.calls)
        assert asked <= 6
        await source.history("AAPL", DAYS[3])
    assert len(yahoo.calls) == asked + 1


async def test_search_names_what_is_served(yahoo: FakeYahoo) -> None:
    yahoo.results = [
        found_row("AAPL", "Apple Inc."),
        found_row("AAPL251219C00120000", "AAPL Dec 2025 120.000 call", "OPTION", "OPR"),
        found_row("BMW.DE", "Bayerische Motoren Werke Aktiengesellschaft", exchange="GER"),
        {"symbol": "not a symbol", "quoteType": "EQUITY"},
    ]
    async with reached(yahoo) as source:
        results = await source.search("apple")
        assert [(found.symbol, found.exchange_code) for found in results] == [
            ("AAPL", "NMS"),
            ("BMW.DE", "GER"),
        ]
        assert results[0].display_name == "Apple Inc."
        yahoo.results = []
        assert list(await source.search("apple")) == []
