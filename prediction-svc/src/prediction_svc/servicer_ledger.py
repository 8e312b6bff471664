"""The part of PredictionService that shows the ledger."""

import re

from grpc import StatusCode

from foretick.prediction.v1 import prediction_pb2 as pb
from foretick_rpc.errors import AppError, invalid_argument
from foretick_rpc.symbols import parse_symbol
from prediction_svc.book import Book
from prediction_svc.ledger import Ledger
from prediction_svc.messages import asked_horizon, ledger_entry, ledger_head
from prediction_svc.verifying import ExpectedHead

MOST_ENTRIES, USUAL_ENTRIES = 500, 50
_ROW_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class LedgerCalls:
    """Part of PredictionServicer."""

    _book: Book
    _ledger: Ledger

    async def GetLedgerHead(
        self, _request: pb.GetLedgerHeadRequest, _context: object
    ) -> pb.GetLedgerHeadResponse:
        """Return the head of the market that is served."""
        return pb.GetLedgerHeadResponse(
            head=ledger_head(await self._ledger.head(self._book.market_id))
        )

    async def ListLedgerEntries(
        self, request: pb.ListLedgerEntriesRequest, _context: object
    ) -> pb.ListLedgerEntriesResponse:
        """Return rows, of a symbol or of all, page by page."""
        symbol = _symbol(request.symbol) if request.symbol else None
        horizon = asked_horizon(request.horizon) if request.horizon else None
        if not 0 <= request.page_size <= MOST_ENTRIES:
            raise invalid_argument("page_size", f"page_size must be 0 to {MOST_ENTRIES}")
        if request.page_token and not _ROW_NUMBER.fullmatch(request.page_token):
            raise invalid_argument("page_token", "page_token is not one that was given out")
        count = request.page_size or USUAL_ENTRIES
        market_id = self._book.market_id
        written = await self._ledger.written(
            market_id,
            symbol=symbol,
            horizon=horizon,
            before=int(request.page_token) if request.page_token else None,
            count=count,
        )
        return pb.ListLedgerEntriesResponse(
            market_id=market_id,
            entries=map(ledger_entry, written),
            next_page_token=str(written[-1].entry.number) if len(written) == count else "",
        )

    async def GetLedgerEntry(
        self, request: pb.GetLedgerEntryRequest, _context: object
    ) -> pb.GetLedgerEntryResponse:
        """Return one forecast and what came of it."""
        number, market_id = request.row_number, self._book.market_id
        written = await self._ledger.row(market_id, number)
        if written is None:
            message = f"the ledger of {market_id} has no row {number}"
            raise AppError(
                StatusCode.NOT_FOUND, "LEDGER_ROW_NOT_FOUND", message, field="row_number"
            )
        return pb.GetLedgerEntryResponse(market_id=market_id, entry=ledger_entry(written))

    async def VerifyLedger(
        self, request: pb.VerifyLedgerRequest, _context: object
    ) -> pb.VerifyLedgerResponse:
        """Walk a market's ledger."""
        expected = None
        if request.expected_head:
            try:
                expected = ExpectedHead.parse(request.expected_head)
            except ValueError as error:
                raise invalid_argument("expected_head", str(error)) from error
        market_id = request.market_id or self._book.market_id
        found = await self._ledger.verify(market_id, expected)
        fault = found.fault.message if found.fault else ""
        return pb.VerifyLedgerResponse(head=ledger_head(found.head), fault=fault)

    async def _add_entries(
        self, answer: pb.GetSymbolOutlookResponse, symbol: str, count: int, asked: int
    ) -> None:
        """Put the latest rows of a symbol into its outlook."""
        if not 0 <= count <= MOST_ENTRIES:
            raise invalid_argument("entry_count", f"entry_count must be 0 to {MOST_ENTRIES}")
        try:
            horizon = asked_horizon(asked)
        except AppError as error:
            raise invalid_argument("entry_horizon", error.message) from error
        if not count:
            return
        written = await self._ledger.written(
            answer.market_id, symbol=symbol, horizon=horizon, count=count
        )
        answer.entries.extend(map(ledger_entry, written))
        answer.next_page_token = str(written[-1].entry.number) if len(written) == count else ""


def _symbol(asked: str) -> str:
    try:
        return parse_symbol(asked)
    except ValueError as error:
        raise invalid_argument("symbol", str(error)) from error
