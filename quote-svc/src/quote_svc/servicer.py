"""QuoteService: the contract's messages to and from the market's own words, nothing else."""

from collections.abc import Mapping
from datetime import date

from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceServicer
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError, invalid_argument
from foretick_rpc.symbols import parse_symbol
from quote_svc import market as domain
from quote_svc.paging import PageTokenInvalid, page

_MARKET_KINDS: Mapping[domain.MarketKind, pb.MarketKind.ValueType] = {
    domain.MarketKind.CSV: pb.MARKET_KIND_CSV,
    domain.MarketKind.DEMO: pb.MARKET_KIND_DEMO,
}
_INSTRUMENT_KINDS: Mapping[domain.InstrumentKind, pb.InstrumentKind.ValueType] = {
    domain.InstrumentKind.STOCK: pb.INSTRUMENT_KIND_STOCK,
}
_STATES: Mapping[domain.SessionState, pb.SessionState.ValueType] = {
    domain.SessionState.OPEN: pb.SESSION_STATE_OPEN,
    domain.SessionState.CLOSED: pb.SESSION_STATE_CLOSED,
}
_MOST_SYMBOLS = 500
_LONGEST_QUERY = 100


class QuoteServicer(QuoteServiceServicer):
    """Serves one market."""

    def __init__(self, market: domain.Market) -> None:
        self._market = market

    async def GetMarket(
        self, _request: pb.GetMarketRequest, _context: object
    ) -> pb.GetMarketResponse:
        """See quote.proto."""
        description = self._market.description
        return pb.GetMarketResponse(
            market=pb.Market(
                market_id=description.market_id,
                kind=_MARKET_KINDS[description.kind],
                display_name=description.display_name,
                synthetic=description.synthetic,
                notices=description.notices,
            )
        )

    async def GetClock(self, _request: pb.GetClockRequest, _context: object) -> pb.GetClockResponse:
        """See quote.proto."""
        clock = await self._market.clock()
        response = pb.GetClockResponse(
            market_id=self._market.description.market_id,
            market_time=timestamp(clock.market_time),
            exchanges=[_exchange_clock(exchange) for exchange in clock.exchanges],
        )
        if clock.next_change_in is not None:
            change = Duration()
            change.FromTimedelta(clock.next_change_in)
            response.next_change_in.CopyFrom(change)
        return response

    async def BatchGetQuotes(
        self, request: pb.BatchGetQuotesRequest, _context: object
    ) -> pb.BatchGetQuotesResponse:
        """See quote.proto."""
        if not 1 <= len(request.symbols) <= _MOST_SYMBOLS:
            raise invalid_argument(
                "symbols", f"ask for 1 to {_MOST_SYMBOLS} symbols, not {len(request.symbols)}"
            )
        response = pb.BatchGetQuotesResponse(market_id=self._market.description.market_id)
        meant: dict[str, str] = {}
        for text in dict.fromkeys(request.symbols):
            try:
                meant[text] = parse_symbol(text)
            except ValueError as error:
                response.missing.append(_missing(text, "SYMBOL_MALFORMED", str(error)))
        symbols = list(dict.fromkeys(meant.values()))
        batch = await self._market.quotes(symbols)
        response.market_time.CopyFrom(timestamp(batch.market_time))
        found = (batch.answers[symbol] for symbol in symbols)
        response.quotes.extend(_quote(quote) for quote in found if isinstance(quote, domain.Quote))
        for text, symbol in meant.items():
            answer = batch.answers[symbol]
            if isinstance(answer, domain.SymbolUnavailable):
                response.missing.append(_missing(text, _reason(answer), answer.message))
        return response

    async def GetHistory(
        self, request: pb.GetHistoryRequest, _context: object
    ) -> pb.GetHistoryResponse:
        """See quote.proto."""
        try:
            symbol = parse_symbol(request.symbol)
        except ValueError as error:
            raise invalid_argument("symbol", str(error)) from error
        start = _date("start_date", request.start_date) if request.start_date else None
        try:
            history = await self._market.history(symbol, start)
        except domain.SymbolUnavailable as error:
            broken = isinstance(error, domain.PricesInvalid)
            code = StatusCode.FAILED_PRECONDITION if broken else StatusCode.NOT_FOUND
            raise AppError(code, _reason(error), error.message, symbol=symbol) from error
        bars = history.bars
        return pb.GetHistoryResponse(
            market_id=self._market.description.market_id,
            instrument=_instrument(history.instrument),
            session_days=bars.session_days.tolist(),
            opens=bars.opens.tolist(),
            highs=bars.highs.tolist(),
            lows=bars.lows.tolist(),
            closes=bars.closes.tolist(),
            volumes=bars.volumes.tolist(),
            dividends=bars.dividends.tolist(),
            split_factors=bars.split_factors.tolist(),
            close_seconds=bars.close_seconds.tolist(),
            next_session=_session(history.next_session),
        )

    async def SearchInstruments(
        self, request: pb.SearchInstrumentsRequest, _context: object
    ) -> pb.SearchInstrumentsResponse:
        """See quote.proto."""
        query = request.query.strip()
        if not 1 <= len(query) <= _LONGEST_QUERY:
            raise invalid_argument("query", f"a query has 1 to {_LONGEST_QUERY} characters")
        size = _page_size(request.page_size, usual=20, most=100)
        found = await self._market.search(query)
        try:
            instruments, token = page(found, size, request.page_token, f"search {query}")
        except PageTokenInvalid as error:
            raise _bad_token() from error
        return pb.SearchInstrumentsResponse(
            instruments=[_instrument(instrument) for instrument in instruments],
            next_page_token=token,
        )

    async def ListUniverse(
        self, request: pb.ListUniverseRequest, _context: object
    ) -> pb.ListUniverseResponse:
        """See quote.proto."""
        size = _page_size(request.page_size, usual=500, most=1000)
        universe = await self._market.universe()
        try:
            instruments, token = page(universe, size, request.page_token, "universe")
        except PageTokenInvalid as error:
            raise _bad_token() from error
        return pb.ListUniverseResponse(
            market_id=self._market.description.market_id,
            instruments=[_instrument(instrument) for instrument in instruments],
            next_page_token=token,
        )


def _date(name: str, text: str) -> date:
    try:
        return domain.iso_date(text)
    except ValueError as error:
        raise invalid_argument(name, f"{name} must be a date like 2019-12-31") from error


def _page_size(asked: int, *, usual: int, most: int) -> int:
    if not 0 <= asked <= most:
        raise invalid_argument("page_size", f"page_size must be 1 to {most}, or 0 for {usual}")
    return asked or usual


def _bad_token() -> AppError:
    return invalid_argument(
        "page_token", "page_token must be empty or the next_page_token of the same listing"
    )


def _reason(unavailable: domain.SymbolUnavailable) -> str:
    broken = isinstance(unavailable, domain.PricesInvalid)
    return "PRICES_INVALID" if broken else "SYMBOL_NOT_FOUND"


def _missing(text: str, reason: str, message: str) -> pb.Missing:
    return pb.Missing(symbol=text, reason=reason, message=message)


def _instrument(instrument: domain.Instrument) -> pb.Instrument:
    return pb.Instrument(
        symbol=instrument.symbol,
        display_name=instrument.display_name,
        kind=_INSTRUMENT_KINDS[instrument.kind],
        exchange_code=instrument.exchange_code,
        currency_code=instrument.currency_code,
        price_decimals=instrument.price_decimals,
    )


def _session(session: domain.Session) -> pb.Session:
    return pb.Session(
        session_date=session.session_date.isoformat(),
        open_time=timestamp(session.open_time),
        close_time=timestamp(session.close_time),
        inferred=session.inferred,
    )


def _exchange_clock(clock: domain.ExchangeClock) -> pb.ExchangeClock:
    last = clock.last_session
    return pb.ExchangeClock(
        exchange_code=clock.exchange_code,
        state=_STATES[clock.state],
        last_session=None if last is None else _session(last),
        next_session=_session(clock.next_session),
    )


def _quote(quote: domain.Quote) -> pb.Quote:
    return pb.Quote(
        instrument=_instrument(quote.instrument),
        price=quote.price,
        as_of_time=timestamp(quote.as_of_time),
        previous_close=quote.previous_close,
        session_date=quote.session_date.isoformat(),
        state=_STATES[quote.state],
        next_session=_session(quote.next_session),
    )
