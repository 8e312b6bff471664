"""Live updates: what changes on the board, written once and sent to every page that shows it."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.board import Board, Entry
from gateway.fragments import Fragments
from gateway.languages import Language, speaking
from gateway.surroundings import Poll

# A symbol is told of at most this often, its latest state, so that a page stays calm.
CALM_SECONDS = 0.5
MARKET_SECONDS = 5.0
HEARTBEAT_SECONDS = 15.0
# Whoever has not read so much is cut off, and begins anew once it reads again.
MOST_UNREAD_BYTES = 256 * 1024
# So many are written to before others get their turn.
_AT_ONCE = 100


@dataclass(eq=False, slots=True)
class Client:
    """One page that is open: where to write, and what it shows."""

    transport: asyncio.WriteTransport
    is_chunked: bool
    account_id: str
    symbols: tuple[str, ...]
    ended: asyncio.Future[None]

    def write(self, events: Iterable["Event"]) -> None:
        """Send events, or cut off whoever does not read them."""
        if self.transport.is_closing():
            self.end()
        elif self.transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            self.transport.abort()
            self.end()
        else:
            framed = [each.chunk if self.is_chunked else each.text for each in events]
            self.transport.write(framed[0] if len(framed) == 1 else b"".join(framed))

    def end(self) -> None:
        """Let the response end."""
        if not self.ended.done():
            self.ended.set_result(None)


@dataclass(frozen=True, slots=True)
class Event:
    """Something to be sent: as it is, and as a chunk of HTTP/1.1."""

    text: bytes
    chunk: bytes

    @classmethod
    def of(cls, text: bytes) -> "Event":
        """Frame it, once for all."""
        return cls(text, b"%x\r\n%b\r\n" % (len(text), text))


_BEAT = Event.of(b":\n\n")
_LIST = Event.of(b"event: list\ndata: changed\n\n")


@dataclass(eq=False, slots=True)
class _Group:
    """The pages of one language, and what they were sent last."""

    # Of thousands a set takes three times the memory of such a dict.
    clients: dict[Client, None] = field(default_factory=dict)
    showing: dict[str, dict[Client, None]] = field(default_factory=dict)
    cells: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    market: bytes = b""
    notices: bytes = b""

    def add(self, client: Client) -> None:
        self.clients[client] = None
        for symbol in client.symbols:
            self.showing.setdefault(symbol, {})[client] = None

    def remove(self, client: Client) -> None:
        self.clients.pop(client, None)
        for symbol in client.symbols:
            showing = self.showing[symbol]
            showing.pop(client, None)
            if not showing:
                # Nobody hears of it from now on, so nobody knows what it was.
                del self.showing[symbol]
                self.cells.pop(symbol, None)


class Live:
    """Tells open pages what changes; numbers are the board's, see `Board.token`."""

    def __init__(
        self, board: Board, poll: Poll, fragments: Fragments, monotonic: Callable[[], float]
    ) -> None:
        self._board = board
        self._poll = poll
        self._fragments = fragments
        self._monotonic = monotonic
        self._groups: dict[Language, _Group] = {}
        self._of_account: dict[str, set[Client]] = {}
        self._unsent: dict[str, int] = {}  # the first change that was not sent yet, by symbol
        self._sent_at: dict[str, float] = {}
        self._market_at = 0.0
        self._changed = asyncio.Event()
        self._is_open = True

    @property
    def count(self) -> int:
        """How many pages are open."""
        return sum(len(group.clients) for group in self._groups.values())

    def take(self, changed: Iterable[Entry]) -> None:
        """Note what has changed on the board; it is sent when its turn comes."""
        if self._groups:
            for entry in changed:
                self._unsent.setdefault(entry.symbol, entry.changed)
            self._changed.set()

    def look_around(self) -> None:
        """Note that what stands around the rows may have changed."""
        self._changed.set()

    def list_changed(self, account_id: str) -> None:
        """Tell the pages of an account that its lists are others now."""
        for client in list(self._of_account.get(account_id, ())):
            client.write([_LIST])

    @contextmanager
    def joined(self, client: Client, language: Language, since: str) -> Iterator[None]:
        """Keep a page up to date; at first what changed since the state that it shows."""
        group = self._groups.setdefault(language, _Group())
        with speaking(language):
            client.write(self._missed(client, since))
        group.add(client)
        self._of_account.setdefault(client.account_id, set()).add(client)
        for symbol in client.symbols:
            if symbol in self._unsent:
                # It may show what was never sent: then a difference would not do.
                group.cells.pop(symbol, None)
        if not self._is_open:
            client.end()
        try:
            yield
        finally:
            self._leave(client, language, group)

    def close(self) -> None:
        """Let all responses end, now and from now on."""
        self._is_open = False
        for client in self._clients():
            client.end()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wait = await self._send()
            if wait is not None:
                asyncio.get_running_loop().call_later(wait, self._changed.set)

    async def beat(self) -> None:
        """Keep connections open, and what they show on the board, until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            clients = self._clients()
            if clients:
                self._board.look({symbol for client in clients for symbol in client.symbols})
                await self._poll.look(self._monotonic())
            for number, client in enumerate(clients):
                client.write([_BEAT])
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)

    def _clients(self) -> list[Client]:
        return [client for group in self._groups.values() for client in group.clients]

    def _leave(self, client: Client, language: Language, group: _Group) -> None:
        group.remove(client)
        if not group.clients:
            self._groups.pop(language, None)
        ours = self._of_account[client.account_id]
        ours.discard(client)
        if not ours:
            del self._of_account[client.account_id]
        if not self._groups:
            self._unsent.clear()
            self._sent_at.clear()

    def _missed(self, client: Client, since: str) -> list[Event]:
        """What a page that shows the state ``since`` must be told; all where that is unknown."""
        boot, _, number = since.partition("-")
        is_known = boot == self._board.boot and number.isascii() and number.isdecimal()
        seen = int(number[:18]) if is_known else -1
        entries = self._board.look(client.symbols)
        pause = random.randrange(500, 2000)  # noqa: S311 - so that not all come back at once
        rows = [
            self._row(entry.symbol, self._fragments.drawn(self._board, entry).cells, {})
            for entry in entries
            if entry.changed > seen
        ]
        return [Event.of(b"retry: %d\n\n" % pause), self._market(), self._notices(), *rows]

    async def _send(self) -> float | None:
        """Send what is due; the seconds until more is, or None."""
        now = self._monotonic()
        due, later = [], []
        for symbol in self._unsent:
            ready_in = self._sent_at.get(symbol, -CALM_SECONDS) + CALM_SECONDS - now
            due.append(symbol) if ready_in <= 0 else later.append(ready_in)
        for symbol in due:
            del self._unsent[symbol]
            self._sent_at[symbol] = now
        is_market_due = now - self._market_at >= MARKET_SECONDS
        if is_market_due:
            self._market_at = now
        for language, group in list(self._groups.items()):
            with speaking(language):
                events = self._rows(group, due)
                around = self._around(group, with_market=is_market_due)
            await _write(group, events, around)
        return min(later, default=None)

    def _rows(self, group: _Group, due: Iterable[str]) -> dict[str, Event]:
        events = {}
        for symbol in due:
            entry = self._board.entries.get(symbol)
            if entry is None or symbol not in group.showing:
                continue
            cells = self._fragments.drawn(self._board, entry).cells
            before = dict(enumerate(group.cells.get(symbol, ())))
            group.cells[symbol] = cells
            if tuple(before.values()) != cells:
                events[symbol] = self._row(symbol, cells, before)
        return events

    def _row(self, symbol: str, cells: tuple[bytes, ...], before: dict[int, bytes]) -> Event:
        """The cells that are not what they were, after the symbol, each with its number."""
        lines = [
            b"data: %d %b\n" % (number, cell)
            for number, cell in enumerate(cells)
            if before.get(number) != cell
        ]
        text = b"id: %b\nevent: row\ndata: %b\n%b\n" % (
            self._token(),
            symbol.encode(),
            b"".join(lines),
        )
        return Event.of(text)

    def _token(self) -> bytes:
        """The last state all of whose changes have been sent."""
        number = min(self._unsent.values(), default=self._board.number + 1) - 1
        return f"{self._board.boot}-{number}".encode()

    def _around(self, group: _Group, *, with_market: bool) -> list[Event]:
        events = []
        if with_market and (market := self._market()).text != group.market:
            group.market = market.text
            events.append(market)
        notices = self._notices()
        if notices.text != group.notices:
            group.notices = notices.text
            events.append(notices)
        return events

    def _market(self) -> Event:
        around = self._poll.known
        text = self._fragments.market(around.market, around.market_time, around.pace)
        return _around(b"market", text)

    def _notices(self) -> Event:
        """What is wrong or under way, after the names of what is old."""
        around = self._poll.known
        old = [
            name
            for name, reason in (
                (b"prices", around.price_reason),
                (b"forecasts", around.forecast_reason),
            )
            if reason
        ]
        return _around(b"notices", b" ".join(old) + b"\ndata: " + self._fragments.notices(around))


def _around(name: bytes, text: bytes) -> Event:
    return Event.of(b"event: %b\ndata: %b\n\n" % (name, text))


async def _write(group: _Group, rows: dict[str, Event], around: list[Event]) -> None:
    sent: dict[Client, list[Event]] = {}
    if around:
        sent = {client: list(around) for client in group.clients}
    for symbol, event in rows.items():
        for client in group.showing.get(symbol, ()):
            sent.setdefault(client, []).append(event)
    for number, (client, events) in enumerate(sent.items()):
        client.write(events)
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
