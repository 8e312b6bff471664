"""Thousands of browsers that keep a page open: `python -m bench.sse_clients PORT PATH COUNT SLOW`.

The first line of its input is a JSON list of cookies, which take turns; the last SLOW of the COUNT
streams never read. When all are open it prints "open". From then on it answers each line with what
has come since the last one, as JSON: how many readers got an event, the monotonic nanoseconds at
which the first and the last of them had it, how many bytes readers have had so far, and how many
streams of either kind have ended so far. Of those who never read the kernel tells it: a client does
not see the end of its stream before it has read all that stands before it.
"""

import json
import os
import select
import socket
import sys
import time
from pathlib import Path

OPEN_WITHIN_SECONDS = 60.0
SMALL_BUFFER = 4096
ESTABLISHED = "01"  # in /proc/net/tcp
BUSY = (b"HTTP/1.1 503", b"HTTP/1.1 504")


class Streams:
    """The open streams of this process, read by one loop without any library in between."""

    def __init__(self, port: int, path: str, slow: int) -> None:
        self._port, self._path, self._slow = port, path, slow
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._slow_ones: set[int] = set()
        self._got: set[int] = set()
        self._first = self._last = self._bytes = 0
        self._ended = 0

    def open(self, cookies: list[str], count: int) -> None:
        """Open all, one after the other; raises RuntimeError where one is refused."""
        for number in range(count):
            is_slow = number >= count - self._slow
            stream = self._opened(cookies[number % len(cookies)], SMALL_BUFFER if is_slow else 0)
            stream.setblocking(False)
            self._sockets[stream.fileno()] = stream
            if is_slow:
                self._slow_ones.add(stream.getsockname()[1])
            else:
                self._poll.register(stream.fileno(), select.EPOLLIN)

    def _opened(self, cookie: str, buffer: int) -> socket.socket:
        """One stream; like a browser, it comes back where the gateway is too busy to let it in."""
        lines = (
            f"GET {self._path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Accept: text/event-stream",
            f"Cookie: {cookie}",
        )
        give_up = time.monotonic() + OPEN_WITHIN_SECONDS
        while True:
            stream = socket.socket()
            if buffer:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            stream.settimeout(OPEN_WITHIN_SECONDS)
            stream.connect(("127.0.0.1", self._port))
            stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
            head = stream.recv(4096)
            if head.startswith(b"HTTP/1.1 200"):
                return stream
            stream.close()
            if time.monotonic() > give_up or not head.startswith(BUSY):
                raise RuntimeError(head.decode("utf-8", "replace"))

    def serve(self) -> None:
        """Read until standard input ends."""
        asked = sys.stdin.fileno()
        self._poll.register(asked, select.EPOLLIN)
        while True:
            for number, _ in self._poll.poll():
                if number != asked:
                    self._read(number)
                elif not os.read(asked, 64):
                    return
                else:
                    print(json.dumps(self._told()), flush=True)

    def _read(self, number: int) -> None:
        try:
            received = os.read(number, 1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            received = b""
        self._bytes += len(received)
        if not received:
            self._end(number)
        # What keeps a stream alive, and what tells of the market, is no change of a price.
        elif b"event: row" in received:
            self._last = time.monotonic_ns()
            if not self._got:
                self._first = self._last
            self._got.add(number)

    def _end(self, number: int) -> None:
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        self._ended += 1

    def _held_open(self) -> set[int]:
        """The ports of all whose connections the gateway has not closed."""
        table = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        ends = ((local, remote, state) for _, local, remote, state, *_ in map(str.split, table))
        return {
            int(remote.partition(":")[2], 16)
            for local, remote, state in ends
            if state == ESTABLISHED and int(local.partition(":")[2], 16) == self._port
        }

    def _told(self) -> dict[str, int]:
        told = {"readers": len(self._got), "first": self._first, "last": self._last}
        told |= {"bytes": self._bytes, "readers_ended": self._ended}
        if self._slow_ones:
            told["slow_ended"] = len(self._slow_ones - self._held_open())
        self._got.clear()
        return told


def main() -> None:
    """Open what is asked for, and read."""
    port, path, count, slow = sys.argv[1:]
    streams = Streams(int(port), path, int(slow))
    # Unbuffered, since what follows is read by the loop.
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(sys.stdin.fileno(), 1 << 16)
    streams.open(json.loads(line), int(count))
    print("open", flush=True)
    streams.serve()


if __name__ == "__main__":
    main()
