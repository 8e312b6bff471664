"""Counts the remote calls that pass between a gateway and the services, call by call.

`python -m bench.rpc_counter TARGET…` listens on a free port for each target, prints the ports in
one line, and from then on answers each line of its input with the number of calls so far. A call
is a HEADERS frame from the client, since gRPC clients send no trailers; so are retries.
"""

import asyncio
import sys
from contextlib import suppress

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_HEADERS = 1


class Frames:
    """The frames of one direction of an HTTP/2 connection, told apart as bytes come in."""

    def __init__(self) -> None:
        self._head = b""
        self._skip = _PREFACE

    def headers_in(self, received: bytes) -> int:
        """How many HEADERS frames begin in what was received."""
        found = at = 0
        while at < len(received):
            skipped = min(self._skip, len(received) - at)
            self._skip -= skipped
            at += skipped
            missing = 9 - len(self._head)
            self._head += received[at : at + missing]
            at += missing
            if len(self._head) == 9:
                found += self._head[3] == _HEADERS
                self._skip = int.from_bytes(self._head[:3], "big")
                self._head = b""
        return found


class Counter:
    """All connections, and the calls that passed through them."""

    def __init__(self) -> None:
        self.calls = 0

    async def listen(self, target: str) -> int:
        """Pass on what comes to a free port, which is returned."""
        host, _, port = target.rpartition(":")

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                there, back = await asyncio.open_connection(host, int(port))
                await asyncio.gather(self._pass(reader, back, Frames()), self._pass(there, writer))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        frames: Frames | None = None,
    ) -> None:
        try:
            while received := await reader.read(65536):
                if frames:
                    self.calls += frames.headers_in(received)
                writer.write(received)
                await writer.drain()
        finally:
            writer.close()


async def main() -> None:
    """Serve until standard input ends."""
    counter = Counter()
    ports = [str(await counter.listen(target)) for target in sys.argv[1:]]
    print(*ports, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(counter.calls, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
