"""Calls for the symbol page and the track record; what they answer is the same for everybody."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from google.protobuf.message import Message
from grpc.aio import Channel

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick.prediction.v1.prediction_pb2_grpc import PredictionServiceStub
from foretick.quote.v1 import quote_pb2
from foretick.quote.v1.quote_pb2_grpc import QuoteServiceStub
from gateway import record_answers
from gateway.calls import READ_SECONDS, answered
from gateway.keeping import Kept
from gateway.model import PREDICTION, QUOTE
from gateway.price_history import pack_history
from gateway.record_model import (
    Entries,
    Entry,
    History,
    LedgerHead,
    Outlook,
    SymbolRecord,
    TrackRecord,
)

A = TypeVar("A", bound=Message)
V = TypeVar("V")

FRESH_SECONDS = 1.0
HISTORY_SECONDS = 60.0
MOST_OUTLOOKS, MOST_HISTORIES = 512, 64
SHOWN_ENTRIES, CHARTED_ENTRIES = 20, 60
MOST_SYMBOLS = 1000
BASES = {"live": pb.SCORE_BASIS_LIVE, "backtest": pb.SCORE_BASIS_BACKTEST}
HORIZONS = (1, 5, 20)


@dataclass(frozen=True, slots=True)
class Standing:
    """All that the track record shows."""

    records: dict[tuple[int, str], TrackRecord]
    """By horizon and basis."""
    symbols: dict[str, tuple[SymbolRecord, ...]]
    """By basis, at horizon 1; in order of the symbols."""
    ledger: Entries
    """Its latest rows."""
    head: LedgerHead


class Records:
    """Outlooks, histories, the track record and the ledger; calls raise `RequestError`."""

    def __init__(self, *, quote: Channel, prediction: Channel) -> None:
        self._quotes = QuoteServiceStub(quote)
        self._predictions = PredictionServiceStub(prediction)
        self._outlooks = Kept(self._outlook, seconds=FRESH_SECONDS, most=MOST_OUTLOOKS)
        self._histories = Kept(self._history, seconds=HISTORY_SECONDS, most=MOST_HISTORIES)
        self._standings = Kept(self._standing, seconds=FRESH_SECONDS, most=1)
        self._converted: OrderedDict[object, tuple[Message, Any]] = OrderedDict()

    async def outlook(self, symbol: str, horizon: int) -> Outlook:
        """Get what is known of a symbol, with its latest rows of the ledger at a horizon.

        As long as nothing changes the answer is the same object.
        """
        return await self._outlooks.get((symbol, horizon))

    async def history(self, symbol: str, next_session: str) -> History:
        """Get a symbol's bars; ``next_session`` is the date up to which they are wanted."""
        return await self._histories.get((symbol, next_session))

    async def standing(self) -> Standing:
        """Get the track record; as long as nothing changes, so are its parts the same objects."""
        return await self._standings.get(None)

    async def entries(self, symbol: str = "", horizon: int = 0, page: str = "") -> Entries:
        """List the ledger, the latest row first: of a symbol and a horizon, or of all."""
        request = pb.ListLedgerEntriesRequest(
            symbol=symbol, horizon=horizon, page_size=SHOWN_ENTRIES, page_token=page
        )
        call = self._predictions.ListLedgerEntries(request, timeout=READ_SECONDS)
        response = await answered(PREDICTION, call)
        return self._unchanged((symbol, horizon, page), response, record_answers.entries)

    async def entry(self, number: int) -> Entry:
        """Get a forecast by the number of a row that is of it."""
        request = pb.GetLedgerEntryRequest(row_number=number)
        call = self._predictions.GetLedgerEntry(request, timeout=READ_SECONDS)
        return record_answers.entry((await answered(PREDICTION, call)).entry)

    async def _outlook(self, key: tuple[str, int]) -> Outlook:
        symbol, horizon = key
        request = pb.GetSymbolOutlookRequest(
            symbol=symbol, entry_count=CHARTED_ENTRIES, entry_horizon=horizon
        )
        call = self._predictions.GetSymbolOutlook(request, timeout=READ_SECONDS)
        return self._unchanged(key, await answered(PREDICTION, call), record_answers.outlook)

    async def _history(self, key: tuple[str, str]) -> History:
        request = quote_pb2.GetHistoryRequest(symbol=key[0])
        call = self._quotes.GetHistory(request, timeout=READ_SECONDS)
        return await asyncio.to_thread(pack_history, await answered(QUOTE, call))

    async def _standing(self, _key: None) -> Standing:
        keys = [(horizon, basis) for horizon in HORIZONS for basis in BASES]
        records, symbols, ledger, head = await asyncio.gather(
            asyncio.gather(*(self._record(*key) for key in keys)),
            asyncio.gather(*(self._symbols(basis) for basis in BASES)),
            self.entries(),
            self._head(),
        )
        by_key, by_basis = zip(keys, records, strict=True), zip(BASES, symbols, strict=True)
        return Standing(dict(by_key), dict(by_basis), ledger, head)

    async def _head(self) -> LedgerHead:
        call = self._predictions.GetLedgerHead(pb.GetLedgerHeadRequest(), timeout=READ_SECONDS)
        return self._unchanged("head", await answered(PREDICTION, call), _ledger_head)

    async def _record(self, horizon: int, basis: str) -> TrackRecord:
        request = pb.GetTrackRecordRequest(horizon=horizon, basis=BASES[basis])
        call = self._predictions.GetTrackRecord(request, timeout=READ_SECONDS)
        response = await answered(PREDICTION, call)
        return self._unchanged((basis, horizon), response, record_answers.track_record)

    async def _symbols(self, basis: str) -> tuple[SymbolRecord, ...]:
        request = pb.ListSymbolRecordsRequest(page_size=MOST_SYMBOLS, basis=BASES[basis])
        call = self._predictions.ListSymbolRecords(request, timeout=READ_SECONDS)
        response = await answered(PREDICTION, call)
        return self._unchanged(basis, response, _symbol_records)

    def _unchanged(self, key: object, response: A, convert: Callable[[A], V]) -> V:
        """Convert a response, unless it says what the last one said."""
        known = self._converted.get(key)
        if known is None or known[0] != response:
            known = response, convert(response)
            self._converted[key] = known
        self._converted.move_to_end(key)
        if len(self._converted) > MOST_OUTLOOKS:
            self._converted.popitem(last=False)
        return known[1]


def _ledger_head(response: pb.GetLedgerHeadResponse) -> LedgerHead:
    return record_answers.ledger_head(response.head)


def _symbol_records(response: pb.ListSymbolRecordsResponse) -> tuple[SymbolRecord, ...]:
    return tuple(map(record_answers.symbol_record, response.records))


RECORDS = web.AppKey("records", Records)
