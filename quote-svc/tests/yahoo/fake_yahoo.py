"""Yahoo on this machine: an HTTPS server, and a proxy that leads every host to it.

Both run on a loop and a thread of their own, so that they answer whatever the caller's loop does.
`python quote-svc/tests/yahoo/fake_yahoo.py` serves a few instruments until it is stopped.
"""

import asyncio
import base64
import json
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import WSCloseCode, WSMsgType, web

from temporary_certificates import make_certificates
from yahoo_answers import NOT_FOUND, Json, Listing, chart, example_listings, found

CRUMB = "a/Crumb.1"
HOSTS = ("yahoo.com", "*.yahoo.com", "finance.yahoo.com", "*.finance.yahoo.com")


class Fault(Enum):
    """What goes wrong with charts and searches."""

    RATE_LIMITED = auto()
    SERVER_ERROR = auto()
    HTML = auto()
    HALF = auto()
    RESET = auto()
    STALL = auto()
    FORBIDDEN = auto()
    BAD_REQUEST = auto()


_PAGES = {
    Fault.RATE_LIMITED: (429, "Too Many Requests"),
    Fault.SERVER_ERROR: (500, "<html>internal error</html>"),
    Fault.FORBIDDEN: (403, "<html>forbidden</html>"),
    Fault.HTML: (200, "<!doctype html><html>Yahoo</html>"),
    Fault.BAD_REQUEST: (
        400,
        '{"chart": {"result": null, "error": '
        '{"code": "Bad Request", "description": "Data doesn\'t exist for startDate"}}}',
    ),
}


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    host: str
    path: str
    query: dict[str, str]


@dataclass
class FakeYahoo:
    """A context manager. What it answers may be changed at any time, from any thread.

    `answers` replaces the chart of a symbol by a body of its own, made anew for each request;
    `fault` strikes charts and searches, of `fault_symbols` only if there are any.
    """

    listings: dict[str, Listing] = field(default_factory=dict)
    answers: dict[str, Callable[[], Json]] = field(default_factory=dict)
    results: list[Json] = field(default_factory=list)
    fault: Fault | None = None
    fault_symbols: set[str] = field(default_factory=set)
    retry_after: str | None = None
    wants_crumb: bool = False
    calls: list[Call] = field(default_factory=list)
    subscriptions: list[set[str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="fake-yahoo-")
        self.ca_bundle, self._tls = make_certificates(Path(self._folder.name), *HOSTS)
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-yahoo")
        self._thread.start()
        self._in_loop(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._in_loop(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to know to come here instead of to Yahoo."""
        return {
            "HTTPS_PROXY": self.proxy,
            "https_proxy": self.proxy,
            "NO_PROXY": "",
            "no_proxy": "",
        }

    @property
    def charts(self) -> list[str]:
        """The symbols whose charts were asked for, in order."""
        return [call.path.rpartition("/")[2] for call in self.calls if "/chart/" in call.path]

    def hold(self) -> None:
        """Lets requests in and answers none of them until `release`."""
        self._loop.call_soon_threadsafe(self._released.clear)

    def release(self) -> None:
        """Answers what was held, and all that follows."""
        self._loop.call_soon_threadsafe(self._released.set)

    def wait_for_calls(self, count: int) -> None:
        """Blocks until that many requests have come in all."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.calls) >= count, timeout=10):
                raise TimeoutError(f"{len(self.calls)} requests came, {count} were waited for")

    def wait_for_subscriptions(self, count: int) -> None:
        """Blocks until streams have subscribed that many times in all."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.subscriptions) >= count, timeout=10):
                raise TimeoutError(f"{len(self.subscriptions)} of {count} subscriptions came")

    def push(self, message: bytes) -> None:
        """Sends a pricing message to every stream."""
        body = json.dumps({"type": "pricing", "message": base64.b64encode(message).decode()})
        self.push_text(body)

    def push_text(self, body: str) -> None:
        """Sends anything at all to every stream."""
        self._in_loop(self._push(body))

    def drop_streams(self) -> None:
        """Closes every stream, as Yahoo does from time to time."""
        self._in_loop(self._drop())

    def _in_loop(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> None:
        self._stopping = asyncio.Event()
        self._released = asyncio.Event()
        self._released.set()
        self._streams: set[web.WebSocketResponse] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        self._proxy = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.proxy = f"http://127.0.0.1:{self._proxy.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._released.set()
        self._stopping.set()
        await self._drop()
        self._proxy.close()
        await self._runner.cleanup()
        for writer in set(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._pipes)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        writers = [writer]
        self._writers.add(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._port)
            writers.append(there)
            self._writers.add(there)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pipe(reader, there), _pipe(there_reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # who was to be led here has gone
        finally:
            self._pipes.discard(task)
            for end in writers:
                end.transport.abort()
            self._writers.difference_update(writers)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        with self._changed:
            self.calls.append(Call(request.host, request.path, dict(request.query)))
            self._changed.notify_all()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._released.wait()
            if request.path.startswith(("/v8/finance/chart/", "/v1/finance/search")):
                return await self._data(request)
            return self._page(request)
        finally:
            self.in_flight -= 1

    async def _data(self, request: web.Request) -> web.StreamResponse:
        symbol = request.path.rpartition("/")[2]
        if self.wants_crumb and not (
            request.query.get("crumb") == CRUMB and request.cookies.get("A3")
        ):
            error = {"code": "Unauthorized", "description": "Invalid Crumb"}
            return web.json_response({"finance": {"result": None, "error": error}}, status=401)
        if self.fault is not None and (not self.fault_symbols or symbol in self.fault_symbols):
            return await self._broken(request, self.fault)
        body = self._body(request, symbol)
        return web.json_response(body, status=404 if body is NOT_FOUND else 200)

    def _body(self, request: web.Request, symbol: str) -> Json:
        if request.path.startswith("/v1/finance/search"):
            return found(*self.results)
        if symbol in self.answers:
            return self.answers[symbol]()
        if symbol not in self.listings:
            return NOT_FOUND
        periods = (int(request.query[name]) for name in ("period1", "period2"))
        return chart(self.listings[symbol], *periods)

    async def _broken(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault in _PAGES:
            status, text = _PAGES[fault]
            asked = self.retry_after if fault is Fault.RATE_LIMITED else None
            return web.Response(
                status=status,
                text=text,
                content_type="application/json" if text.startswith("{") else "text/html",
                headers={} if asked is None else {"Retry-After": asked},
            )
        if fault is Fault.HALF:
            text = json.dumps(self._body(request, request.path.rpartition("/")[2]))
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if fault is Fault.STALL:
            await self._stopping.wait()
        if request.transport is not None:  # else the caller has gone first
            request.transport.abort()
        return web.Response()

    def _page(self, request: web.Request) -> web.Response:
        """The cookie and the crumb. There is no consent page: that is for visitors from the EU."""
        if request.path.endswith("/getcrumb"):
            return web.Response(text=CRUMB if request.cookies.get("A3") else "<html></html>")
        if request.host.startswith("fc."):
            response = web.Response(status=404, text="<html></html>")
            response.set_cookie(
                "A3", "d=1", domain=".yahoo.com", path="/", secure=True, max_age=31_536_000
            )
            return response
        return web.Response(text="<html></html>", content_type="text/html")

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        self._streams.add(stream)
        try:
            async for message in stream:
                if message.type is WSMsgType.TEXT:
                    order = json.loads(message.data)
                    if "subscribe" in order:
                        with self._changed:
                            self.subscriptions.append(set(order["subscribe"]))
                            self._changed.notify_all()
        finally:
            self._streams.discard(stream)
        return stream

    async def _push(self, body: str) -> None:
        for stream in set(self._streams):
            await stream.send_str(body)

    async def _drop(self) -> None:
        for stream in set(self._streams):
            await stream.close(code=WSCloseCode.GOING_AWAY)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    # Whatever ended it, an end of one direction or a reset, the other direction ends too.
    writer.close()


def _serve() -> None:
    """A few instruments with a year of prices, until the process is stopped."""
    stopped = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stopped.set())
    with FakeYahoo(listings=example_listings(datetime.now(UTC).date())) as fake:
        for name, value in {**fake.environment, "QUOTE_CA_BUNDLE": str(fake.ca_bundle)}.items():
            print(f"export {name}={value}", flush=True)
        stopped.wait()


if __name__ == "__main__":
    _serve()
