"""The source as every replica reaches it: the holder of the lease itself, others through it."""

import asyncio
from collections.abc import Callable, Sequence

from foretick_rpc.errors import DatabaseUnavailableError
from quote_svc.errands import (
    ASKED,
    SEARCH,
    SYMBOL,
    Answer,
    Errands,
    TooManyErrands,
    instruments_of,
    refusal_of,
    told_instruments,
    told_refusal,
)
from quote_svc.flights import Flights
from quote_svc.refreshing import Refresher, pending
from quote_svc.source import Source, SourceFailure, SourceInstrument, Unreachable

_SEARCH_SECONDS = 3.0
_ERRAND_SECONDS = 60.0


class Upstream:
    """Fetches and searches, by itself or by an errand, and does the errands of others."""

    def __init__(
        self,
        source: Source,
        refresher: Refresher,
        errands: Errands,
        holds: Callable[[], bool],
        at_once: int,
    ) -> None:
        """`holds` says whether this replica may ask the source, `at_once` for how many people."""
        self.flights = Flights(self._fetch, at_once)
        self._source = source
        self._refresher = refresher
        self._errands = errands
        self._holds = holds

    async def search(self, query: str) -> Sequence[SourceInstrument]:
        """Instruments that `query` may mean, best first; raises SourceFailure."""
        try:
            async with asyncio.timeout(_SEARCH_SECONDS):
                if self._holds():
                    return await self._source.search(query)
                # No text in PostgreSQL has this character in it, and nothing is called so.
                errand = f"{SEARCH}:{query}".replace("\0", "")
                return instruments_of(await self._errands.answered(errand))
        except TimeoutError as error:
            raise Unreachable("too slow") from error
        except (DatabaseUnavailableError, TooManyErrands) as error:
            raise Unreachable("the replica that searches cannot be asked") from error

    async def serve(self) -> None:
        """Begin to do the errands that wait."""
        await self._errands.run(self._do)

    async def stop(self) -> None:
        """Break off everything."""
        await self._errands.stop()
        await self.flights.stop()

    async def _fetch(self, symbol: str) -> None:
        if self._holds():
            await self._refresher.fetch(symbol)
            return
        try:
            async with asyncio.timeout(_ERRAND_SECONDS):
                await self._sent_for(symbol)
        except (TimeoutError, DatabaseUnavailableError, TooManyErrands) as error:
            raise pending(symbol) from error

    async def _sent_for(self, symbol: str) -> None:
        known = self._refresher.known
        is_damaged = symbol in known
        await self._refresher.load()
        if symbol in known and not is_damaged:
            return
        refusal = refusal_of(symbol, await self._errands.answered(f"{SYMBOL}:{symbol}"))
        await self._refresher.load()
        if symbol in known:
            return
        if refusal is None:
            raise pending(symbol)
        self._refresher.refuse(symbol, refusal)
        raise refusal.error

    async def _do(self, errand: str) -> Answer | None:
        kind, _, what = errand.partition(":")
        if kind == SEARCH:
            try:
                return told_instruments(await self.search(what))
            except SourceFailure as failure:
                return {"failure": str(failure)}
        known = self._refresher.known
        if kind == ASKED:
            if what in known:
                self._refresher.asked(what)
            return {}
        is_known = what in known and await self._refresher.bars(what) is not None
        if not is_known and self._refresher.refusal(what) is None:
            await asyncio.wait([self.flights.start(what, urgent=True)])
        if what in known:
            return {}
        refusal = self._refresher.refusals.get(what)
        return None if refusal is None else told_refusal(refusal)
