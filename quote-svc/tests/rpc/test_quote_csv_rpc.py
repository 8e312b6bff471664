"""Every RPC on the csv market, and what each refuses."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, insecure_channel

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from foretick_rpc.convert import epoch_day, instant
from foretick_rpc.errors import AppError, StartupError
from foretick_rpc.testing import serving
from quote_svc.app import service
from quote_svc.demo_market import DemoMarket
from quote_svc.demo_time import DemoPace
from quote_svc.servicer import QuoteServicer
from quote_svc.settings import MarketChoice

Refusal = Callable[[Awaitable[object]], Awaitable[AppError]]
CLOSE = datetime(2019, 12, 31, 21, tzinfo=UTC)


async def test_get_market(csv: QuoteServiceStub) -> None:
    market = (await csv.GetMarket(pb.GetMarketRequest())).market
    assert market.market_id.startswith("csv:")
    assert len(market.market_id) == len("csv:") + 16
    assert market.kind == pb.MARKET_KIND_CSV
    assert not market.synthetic
    (notice,) = market.notices
    assert notice.startswith("prices.csv line 9, column symbol: '??' is not a symbol")


async def test_get_clock_stands_still(csv: QuoteServiceStub) -> None:
    clock = await csv.GetClock(pb.GetClockRequest())
    assert instant(clock.market_time) == CLOSE
    assert not clock.HasField("next_change_in")
    (exchange,) = clock.exchanges
    assert exchange.exchange_code == "XNYS"
    assert exchange.state == pb.SESSION_STATE_CLOSED
    assert exchange.last_session.session_date == "2019-12-31"
    assert exchange.next_session.session_date == "2020-01-02"
    assert instant(exchange.next_session.open_time) == datetime(2020, 1, 2, 14, 30, tzinfo=UTC)
    assert instant(exchange.next_session.close_time) == datetime(2020, 1, 2, 21, tzinfo=UTC)
    assert not exchange.next_session.inferred


async def test_batch_get_quotes(csv: QuoteServiceStub) -> None:
    asked = ["BBB", "bad", "aaa", "BBB", "N/A", "CCC", "AAA", "NONE", "BAD"]
    batch = await csv.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=asked))
    market = (await csv.GetMarket(pb.GetMarketRequest())).market
    assert batch.market_id == market.market_id
    assert instant(batch.market_time) == CLOSE
    assert [quote.instrument.symbol for quote in batch.quotes] == ["BBB", "AAA", "CCC"]
    bbb, _, ccc = batch.quotes
    assert (bbb.price, bbb.previous_close) == (21.2, 21.0)
    assert bbb.recent_closes[-2:] == [21.0, 21.2]
    assert instant(bbb.as_of_time) == CLOSE
    assert bbb.session_date == "2019-12-31"
    assert bbb.state == pb.SESSION_STATE_CLOSED
    assert bbb.next_session.session_date == "2020-01-02"
    assert bbb.instrument.kind == pb.INSTRUMENT_KIND_STOCK
    assert (bbb.instrument.currency_code, bbb.instrument.price_decimals) == ("USD", 2)
    assert (bbb.day_low, bbb.day_high, bbb.volume, bbb.stale) == (20.8, 21.5, 2200, False)
    assert not ccc.HasField("previous_close")
    missing = {item.symbol: item for item in batch.missing}
    assert {symbol: item.reason for symbol, item in missing.items()} == {
        "bad": "PRICES_INVALID",
        "BAD": "PRICES_INVALID",
        "N/A": "SYMBOL_MALFORMED",
        "NONE": "SYMBOL_NOT_FOUND",
    }
    assert missing["bad"].message == "prices.csv line 5, column close: 'x' is not a number"


async def test_a_batch_of_nothing_but_bad_symbols_is_answered(csv: QuoteServiceStub) -> None:
    batch = await csv.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["", "A" * 10_000]))
    assert [item.reason for item in batch.missing] == ["SYMBOL_MALFORMED"] * 2
    assert instant(batch.market_time) == CLOSE


@pytest.mark.parametrize("count", [0, 501])
async def test_a_batch_has_1_to_500_symbols(
    csv: QuoteServiceStub, refusal: Refusal, count: int
) -> None:
    error = await refusal(csv.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=["AAA"] * count)))
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata["field"] == "symbols"


async def test_500_symbols_are_allowed(csv: QuoteServiceStub) -> None:
    symbols = [f"S{number}" for number in range(500)]
    batch = await csv.BatchGetQuotes(pb.BatchGetQuotesRequest(symbols=symbols))
    assert [item.symbol for item in batch.missing] == symbols


async def test_get_history(csv: QuoteServiceStub) -> None:
    history = await csv.GetHistory(pb.GetHistoryRequest(symbol=" aaa "))
    assert history.instrument.symbol == "AAA"
    days = [datetime(2019, 12, day, tzinfo=UTC).date() for day in (30, 31)]
    assert list(history.session_days) == [epoch_day(day) for day in days]
    assert list(history.opens) == [10.5, 11.0]
    assert list(history.highs) == [12.0, 11.5]
    assert list(history.lows) == [10.0, 10.8]
    assert list(history.closes) == [11.0, 11.2]
    assert list(history.volumes) == [1100.0, 1200.0]
    assert list(history.dividends) == [0.0, 0.0]
    assert list(history.split_factors) == [1.0, 1.0]
    assert history.next_session.session_date == "2020-01-02"
    assert history.next_session_days[0] == epoch_day(date(2020, 1, 2))
    assert history.next_session_days[-1] == epoch_day(date(2020, 1, 30))
    assert history.known_next_sessions == len(history.next_session_days) == 20
    assert list(history.lost_session_days) == []
    assert list(history.close_seconds) == [CLOSE.timestamp() - 86_400, CLOSE.timestamp()]
    assert history.next_session.session_date == "2020-01-02"


async def test_get_history_from_a_date_on(csv: QuoteServiceStub) -> None:
    request = pb.GetHistoryRequest(symbol="AAA", start_date="2019-12-31")
    assert list((await csv.GetHistory(request)).closes) == [11.2]


@pytest.mark.parametrize(
    ("symbol", "code", "reason"),
    [
        ("NONE", StatusCode.NOT_FOUND, "SYMBOL_NOT_FOUND"),
        ("BAD", StatusCode.FAILED_PRECONDITION, "PRICES_INVALID"),
    ],
)
async def test_no_history(
    csv: QuoteServiceStub, refusal: Refusal, symbol: str, code: StatusCode, reason: str
) -> None:
    error = await refusal(csv.GetHistory(pb.GetHistoryRequest(symbol=symbol)))
    assert (error.code, error.reason) == (code, reason)
    assert error.metadata == {"symbol": symbol}


@pytest.mark.parametrize(
    ("symbol", "start_date", "field"),
    [
        ("A B", "", "symbol"),
        ("", "", "symbol"),
        ("AAA", "x", "start_date"),
        ("AAA", "20191231", "start_date"),
    ],
)
async def test_history_refused(
    csv: QuoteServiceStub, refusal: Refusal, symbol: str, start_date: str, field: str
) -> None:
    request = pb.GetHistoryRequest(symbol=symbol, start_date=start_date)
    error = await refusal(csv.GetHistory(request))
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata == {"field": field}


async def test_a_broken_line_is_named(csv: QuoteServiceStub, refusal: Refusal) -> None:
    error = await refusal(csv.GetHistory(pb.GetHistoryRequest(symbol="BAD")))
    assert error.message == "prices.csv line 5, column close: 'x' is not a number"


async def test_list_universe(csv: QuoteServiceStub) -> None:
    universe = await csv.ListUniverse(pb.ListUniverseRequest())
    assert [instrument.symbol for instrument in universe.instruments] == ["AAA", "BBB", "CCC"]
    assert [instrument.display_name for instrument in universe.instruments] == [
        "AAA",
        "BBB",
        "CCC",
    ]
    assert universe.market_id.startswith("csv:")
    assert universe.next_page_token == ""


async def test_list_universe_by_pages(csv: QuoteServiceStub) -> None:
    first = await csv.ListUniverse(pb.ListUniverseRequest(page_size=2))
    token = first.next_page_token
    second = await csv.ListUniverse(pb.ListUniverseRequest(page_size=2, page_token=token))
    symbols = [instrument.symbol for page in (first, second) for instrument in page.instruments]
    assert symbols == ["AAA", "BBB", "CCC"]
    assert second.next_page_token == ""


async def test_search_instruments(csv: QuoteServiceStub) -> None:
    found = await csv.SearchInstruments(pb.SearchInstrumentsRequest(query=" a "))
    assert [instrument.symbol for instrument in found.instruments] == ["AAA"]
    assert found.next_page_token == ""


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SearchInstrumentsRequest(query=""), "query"),
        (pb.SearchInstrumentsRequest(query="  "), "query"),
        (pb.SearchInstrumentsRequest(query="x" * 101), "query"),
        (pb.SearchInstrumentsRequest(query="a", page_size=-1), "page_size"),
        (pb.SearchInstrumentsRequest(query="a", page_size=101), "page_size"),
        (pb.SearchInstrumentsRequest(query="a", page_token="x"), "page_token"),
    ],
)
async def test_search_refused(
    csv: QuoteServiceStub,
    refusal: Refusal,
    request_: pb.SearchInstrumentsRequest,
    field: str,
) -> None:
    error = await refusal(csv.SearchInstruments(request_))
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata["field"] == field


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListUniverseRequest(page_size=-1), "page_size"),
        (pb.ListUniverseRequest(page_size=1001), "page_size"),
        (pb.ListUniverseRequest(page_token="MTAuMTA="), "page_token"),
    ],
)
async def test_list_universe_refused(
    csv: QuoteServiceStub, refusal: Refusal, request_: pb.ListUniverseRequest, field: str
) -> None:
    error = await refusal(csv.ListUniverse(request_))
    assert error.code is StatusCode.INVALID_ARGUMENT
    assert error.metadata["field"] == field


async def test_a_useless_file_stops_the_start(
    start: Callable[..., AbstractAsyncContextManager[QuoteServiceStub]], tmp_path: Path
) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("")
    with pytest.raises(StartupError, match=r"QUOTE_CSV_PATH: empty\.csv has no rows"):
        async with start(QUOTE_MARKET=MarketChoice.CSV, QUOTE_CSV_PATH=path):
            pass


async def test_a_call_without_the_token_is_unauthenticated() -> None:
    market = DemoMarket(7, DemoPace(120, 15), lambda: 0.0)
    async with (
        serving(service(QuoteServicer(market))) as server,
        insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        with pytest.raises(AioRpcError) as caught:
            await QuoteServiceStub(channel).GetMarket(pb.GetMarketRequest(), timeout=5)
    assert caught.value.code() is StatusCode.UNAUTHENTICATED
