"""QuoteService: the contract's messages to and from the market's own words, nothing else."""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from foretick.quote.v1 import quote_pb2 as pb
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceServicer
from foretick_rpc.convert import timestamp
from foretick_rpc.errors import AppError, invalid_argument
from foretick_rpc.symbols import parse_symbol
from quote_svc import market as domain
from quote_svc.paging import PageTokenInvalid, page
from quote_svc.watching import SessionEventKind, Watching, WatchingEnded

_MARKET_KINDS: Mapping[domain.MarketKind, pb.MarketKind.ValueType] = {
    domain.MarketKind.CSV: pb.MARKET_KIND_CSV,
    domain.MarketKind.DEMO: pb.MARKET_KIND_DEMO,
    domain.MarketKind.YAHOO: pb.MARKET_KIND_YAHOO,
}
_PRICE_SOURCES: Mapping[domain.PriceSource, pb.PriceSource.ValueType] = {
    domain.PriceSource.FINAL_BAR: pb.PRICE_SOURCE_FINAL_BAR,
    domain.PriceSource.LATEST_TRADE: pb.PRICE_SOURCE_LATEST_TRADE,
}
_INSTRUMENT_KINDS: Mapping[domain.InstrumentKind, pb.InstrumentKind.ValueType] = {
    domain.InstrumentKind.STOCK: pb.INSTRUMENT_KIND_STOCK,
    domain.InstrumentKind.ETF: pb.INSTRUMENT_KIND_ETF,
    domain.InstrumentKind.INDEX: pb.INSTRUMENT_KIND_INDEX,
    domain.InstrumentKind.FUND: pb.INSTRUMENT_KIND_FUND,
    domain.InstrumentKind.FX: pb.INSTRUMENT_KIND_FX,
    domain.InstrumentKind.CRYPTO: pb.INSTRUMENT_KIND_CRYPTO,
    domain.InstrumentKind.FUTURE: pb.INSTRUMENT_KIND_FUTURE,
}
_STATES: Mapping[domain.SessionState, pb.SessionState.ValueType] = {
    domain.SessionState.PRE: pb.SESSION_STATE_PRE,
    domain.SessionState.OPEN: pb.SESSION_STATE_OPEN,
    domain.SessionState.POST: pb.SESSION_STATE_POST,
    domain.SessionState.CLOSED: pb.SESSION_STATE_CLOSED,
    domain.SessionState.HALTED: pb.SESSION_STATE_HALTED,
}
_EVENT_KINDS: Mapping[SessionEventKind, pb.SessionEventKind.ValueType] = {
    SessionEventKind.OPENED: pb.SESSION_EVENT_KIND_OPENED,
    SessionEventKind.CLOSED: pb.SESSION_EVENT_KIND_CLOSED,
    SessionEventKind.BARS_FINAL: pb.SESSION_EVENT_KIND_BARS_FINAL,
}
_Answers: TypeAlias = Mapping[str, domain.Quote | domain.SymbolUnavailable]
_MOST_SYMBOLS = 500
_LONGEST_QUERY = 100


P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _refusing() -> Iterator[None]:
    """Says as the contracts do that the market answers nothing, or that the service stops."""
    try:
        yield
    except domain.MarketDown as error:
        raise AppError(StatusCode.UNAVAILABLE, "MARKET_DOWN", str(error)) from error
    except WatchingEnded as error:
        message = "the service is stopping; ask again"
        raise AppError(StatusCode.UNAVAILABLE, "SERVICE_STOPPING", message) from error


def _answered(call: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """A unary call, refused as `_refusing` says."""

    @wraps(call)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        with _refusing():
            return await call(*args, **kwargs)

    return answer


class QuoteServicer(QuoteServiceServicer):
    """Serves one market, and watches it for as long as somebody asks for its streams."""

    def __init__(self, market: domain.Market, watching: Watching | None = None) -> None:
        self._market = market
        self._market_id = market.description.market_id
        self._watching = Watching(market) if watching is None else watching

    def end_streams(self) -> None:
        """End every stream with UNAVAILABLE, so that a stop need not wait for their callers."""
        self._watching.end()

    @_answered
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

    @_answered
    async def GetClock(self, _request: pb.GetClockRequest, _context: object) -> pb.GetClockResponse:
        """See quote.proto."""
        clock = await self._market.clock()
        response = pb.GetClockResponse(
            market_id=self._market_id,
            market_time=timestamp(clock.market_time),
            exchanges=[_exchange_clock(exchange) for exchange in clock.exchanges],
        )
        if clock.next_change_in is not None:
            change = Duration()
            change.FromTimedelta(clock.next_change_in)
            response.next_change_in.CopyFrom(change)
        return response

    @_answered
    async def BatchGetQuotes(
        self, request: pb.BatchGetQuotesRequest, _context: object
    ) -> pb.BatchGetQuotesResponse:
        """See quote.proto."""
        asked = _Asked.parse(request.symbols)
        batch = self._watching.versioned(await self._market.quotes(asked.symbols))
        return pb.BatchGetQuotesResponse(
            market_id=self._market_id,
            market_time=timestamp(batch.market_time),
            quotes=_quotes(batch.answers, asked.symbols),
            missing=(*asked.malformed, *asked.missing(batch.answers)),
        )

    @_answered
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
            raise AppError(*_reason(error), error.message, symbol=symbol) from error
        bars = history.bars
        return pb.GetHistoryResponse(
            market_id=self._market_id,
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
            next_session_days=history.ahead.days,
            known_next_sessions=history.ahead.known,
            lost_session_days=history.lost_days,
        )

    @_answered
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

    @_answered
    async def ListUniverse(
        self, request: pb.ListUniverseRequest, _context: object
    ) -> pb.ListUniverseResponse:
        """See quote.proto."""
        size = _page_size(request.page_size, usual=500, most=1000)
        universe = await self._market.universe()
        progress = await self._market.progress()
        try:
            instruments, token = page(universe, size, request.page_token, "universe")
        except PageTokenInvalid as error:
            raise _bad_token() from error
        return pb.ListUniverseResponse(
            market_id=self._market_id,
            instruments=[_instrument(instrument) for instrument in instruments],
            next_page_token=token,
            progress=None if progress is None else _progress(progress),
        )

    async def WatchQuotes(
        self, request: pb.WatchQuotesRequest, _context: object
    ) -> AsyncIterator[pb.WatchQuotesResponse]:
        """See quote.proto."""
        asked = _Asked.parse(request.symbols)
        snapshot, malformed = True, asked.malformed
        with _refusing():
            async with aclosing(self._watching.quotes(asked.symbols)) as batches:
                async for batch in batches:
                    yield pb.WatchQuotesResponse(
                        market_id=self._market_id,
                        market_time=timestamp(batch.market_time),
                        snapshot=snapshot,
                        quotes=_quotes(batch.answers, asked.symbols),
                        missing=(*malformed, *asked.missing(batch.answers)),
                    )
                    snapshot, malformed = False, ()

    async def WatchMarketSessions(
        self, request: pb.WatchMarketSessionsRequest, _context: object
    ) -> AsyncIterator[pb.WatchMarketSessionsResponse]:
        """See quote.proto."""
        seen = {mark.exchange_code: _date("seen", mark.session_date) for mark in request.seen}
        if len(seen) != len(request.seen):
            raise invalid_argument("seen", "seen must name each exchange once")
        with _refusing():
            async with aclosing(self._watching.sessions(seen)) as events:
                async for event in events:
                    yield pb.WatchMarketSessionsResponse(
                        market_id=self._market_id,
                        exchange_code=event.exchange_code,
                        kind=_EVENT_KINDS[event.kind],
                        session=_session(event.session),
                    )


@dataclass(frozen=True)
class _Asked:
    """The symbols of a request: how each text is meant, and what cannot be a symbol."""

    meant: Mapping[str, str]
    symbols: Sequence[str]
    malformed: tuple[pb.Missing, ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "_Asked":
        """Raises AppError where there are none, or too many."""
        if not 1 <= len(texts) <= _MOST_SYMBOLS:
            raise invalid_argument(
                "symbols", f"ask for 1 to {_MOST_SYMBOLS} symbols, not {len(texts)}"
            )
        meant: dict[str, str] = {}
        malformed: list[pb.Missing] = []
        for text in dict.fromkeys(texts):
            try:
                meant[text] = parse_symbol(text)
            except ValueError as error:
                malformed.append(_missing(text, "SYMBOL_MALFORMED", str(error)))
        return cls(meant, list(dict.fromkeys(meant.values())), tuple(malformed))

    def missing(self, answers: _Answers) -> Iterator[pb.Missing]:
        """What `answers` says to be unavailable, in the caller's own spellings."""
        for text, symbol in self.meant.items():
            answer = answers.get(symbol)
            if isinstance(answer, domain.SymbolUnavailable):
                yield _missing(text, _reason(answer)[1], answer.message)


def _quotes(answers: _Answers, order: Iterable[str]) -> Iterator[pb.Quote]:
    found = (answers.get(symbol) for symbol in order)
    return (_quote(quote) for quote in found if isinstance(quote, domain.Quote))


def _progress(progress: domain.FetchProgress) -> pb.FetchProgress:
    return pb.FetchProgress(known=progress.known, failed=progress.failed, total=progress.total)


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


def _reason(unavailable: domain.SymbolUnavailable) -> tuple[StatusCode, str]:
    if isinstance(unavailable, domain.SourceUnavailable):
        return StatusCode.UNAVAILABLE, unavailable.reason
    if isinstance(unavailable, domain.PricesInvalid):
        return StatusCode.FAILED_PRECONDITION, "PRICES_INVALID"
    return StatusCode.NOT_FOUND, "SYMBOL_NOT_FOUND"


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
    previous = quote.previous_close
    return pb.Quote(
        instrument=_instrument(quote.instrument),
        price=quote.price,
        as_of_time=timestamp(quote.as_of_time),
        previous_close=previous,
        session_date=quote.session_date.isoformat(),
        state=_STATES[quote.state],
        next_session=_session(quote.next_session),
        change=None if previous is None else quote.price - previous,
        day_low=quote.day_low,
        day_high=quote.day_high,
        volume=quote.volume,
        stale=quote.stale,
        stale_reason=quote.stale_reason,
        source=_PRICE_SOURCES[quote.source],
        version=quote.version,
        recent_closes=quote.recent_closes,
    )
