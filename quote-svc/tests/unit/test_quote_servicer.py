"""What the market's own words become in the contract's messages."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from enum import Enum

import pytest
from grpc import StatusCode

from foretick.quote.v1 import quote_pb2 as pb
from foretick_rpc.errors import AppError
from quote_svc import market as domain
from quote_svc.servicer import QuoteServicer

OPEN = datetime(2026, 1, 5, 9, tzinfo=UTC)
CLOSE = datetime(2026, 1, 5, 17, tzinfo=UTC)
SESSION = domain.Session(date(2026, 1, 5), OPEN, CLOSE)
PENDING = domain.SourceUnavailable("NEW", "HISTORY_PENDING", "it is being fetched")
INSTRUMENT = domain.Instrument("AAA", "Aaa plc", "XONE", "GBP", 2)
QUOTE = domain.Quote(
    INSTRUMENT,
    10.5,
    OPEN,
    10.0,
    SESSION.session_date,
    domain.SessionState.OPEN,
    SESSION,
    day_low=10.0,
    day_high=11.0,
    volume=None,
    stale=True,
    stale_reason="the source is away",
    version=42,
)


class OneQuoteMarket:
    """A `Market` that has one quote, and one symbol that is being fetched."""

    def __init__(self) -> None:
        self.description = domain.MarketDescription(
            "one", domain.MarketKind.YAHOO, "One", synthetic=False, notices=()
        )
        self.quote = QUOTE
        self.fetched: domain.FetchProgress | None = None

    async def clock(self) -> domain.MarketClock:
        return domain.MarketClock(OPEN, (), None)

    async def quotes(self, symbols: Sequence[str]) -> domain.QuoteBatch:
        answers: dict[str, domain.Quote | domain.SymbolUnavailable] = {
            "AAA": self.quote,
            "NEW": PENDING,
        }
        return domain.QuoteBatch(OPEN, {symbol: answers[symbol] for symbol in symbols})

    async def history(self, symbol: str, start: date | None) -> domain.History:
        raise PENDING

    async def search(self, query: str) -> Sequence[domain.Instrument]:
        return ()

    async def universe(self) -> Sequence[domain.Instrument]:
        return (INSTRUMENT,)

    async def progress(self) -> domain.FetchProgress | None:
        return self.fetched

    async def sessions_after(self, exchange_code: str, day: date) -> Sequence[domain.Session]:
        return ()


@pytest.fixture
def market() -> OneQuoteMarket:
    return OneQuoteMarket()


@pytest.fixture
def servicer(market: OneQuoteMarket) -> QuoteServicer:
    return QuoteServicer(market)


async def quoted(servicer: QuoteServicer) -> pb.Quote:
    request = pb.BatchGetQuotesRequest(symbols=["AAA"])
    return (await servicer.BatchGetQuotes(request, None)).quotes[0]


async def test_a_quote_says_all_that_is_known(servicer: QuoteServicer) -> None:
    quote = await quoted(servicer)
    assert quote.change == 0.5
    assert (quote.day_low, quote.day_high) == (10.0, 11.0)
    assert not quote.HasField("volume")
    assert (quote.stale, quote.stale_reason, quote.version) == (True, "the source is away", 42)


@pytest.mark.parametrize("kind", domain.InstrumentKind)
async def test_every_kind_of_instrument_has_its_name(
    market: OneQuoteMarket, servicer: QuoteServicer, kind: domain.InstrumentKind
) -> None:
    market.quote = replace(QUOTE, instrument=replace(INSTRUMENT, kind=kind))
    said = (await quoted(servicer)).instrument.kind
    assert pb.InstrumentKind.Name(said) == f"INSTRUMENT_KIND_{kind.name}"


@pytest.mark.parametrize("state", domain.SessionState)
async def test_every_state_has_its_name(
    market: OneQuoteMarket, servicer: QuoteServicer, state: domain.SessionState
) -> None:
    market.quote = replace(QUOTE, state=state)
    assert pb.SessionState.Name((await quoted(servicer)).state) == f"SESSION_STATE_{state.name}"


@pytest.mark.parametrize("kind", domain.MarketKind)
async def test_every_kind_of_market_has_its_name(
    market: OneQuoteMarket, servicer: QuoteServicer, kind: domain.MarketKind
) -> None:
    market.description = replace(market.description, kind=kind)
    said = (await servicer.GetMarket(pb.GetMarketRequest(), None)).market.kind
    assert pb.MarketKind.Name(said) == f"MARKET_KIND_{kind.name}"


def test_the_contract_has_nothing_that_the_market_cannot_say() -> None:
    pairs: tuple[tuple[type[Enum], int], ...] = (
        (domain.MarketKind, len(pb.MarketKind.values())),
        (domain.InstrumentKind, len(pb.InstrumentKind.values())),
        (domain.SessionState, len(pb.SessionState.values())),
    )
    assert [len(words) + 1 for words, _ in pairs] == [count for _, count in pairs]


async def test_a_source_that_cannot_be_asked(servicer: QuoteServicer) -> None:
    request = pb.BatchGetQuotesRequest(symbols=["AAA", "new"])
    answer = await servicer.BatchGetQuotes(request, None)
    assert list(answer.missing) == [
        pb.Missing(symbol="new", reason="HISTORY_PENDING", message="it is being fetched")
    ]
    with pytest.raises(AppError) as caught:
        await servicer.GetHistory(pb.GetHistoryRequest(symbol="NEW"), None)
    assert (caught.value.code, caught.value.reason) == (
        StatusCode.UNAVAILABLE,
        "HISTORY_PENDING",
    )


async def test_progress_is_said_where_something_is_fetched(
    market: OneQuoteMarket, servicer: QuoteServicer
) -> None:
    assert not (await servicer.ListUniverse(pb.ListUniverseRequest(), None)).HasField("progress")
    market.fetched = domain.FetchProgress(known=3, failed=1, total=9)
    answer = await servicer.ListUniverse(pb.ListUniverseRequest(), None)
    assert answer.progress == pb.FetchProgress(known=3, failed=1, total=9)
