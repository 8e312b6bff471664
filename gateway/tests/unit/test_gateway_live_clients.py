import asyncio

from gateway.live import MOST_UNREAD_BYTES, Client, Event


class Wire(asyncio.WriteTransport):
    """A connection whose other end reads, or doesn't."""

    def __init__(self, unread: int = 0) -> None:
        super().__init__()
        self.written = b""
        self.unread = unread
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def client(wire: Wire, *, is_chunked: bool = True) -> Client:
    ended = asyncio.get_running_loop().create_future()
    return Client(wire, is_chunked, "ann", ("AAPL",), ended)


async def test_an_event_is_framed_as_the_connection_needs_it() -> None:
    event = Event.of(b"data: 17 bytes long\n\n")
    chunked, plain = Wire(), Wire()
    client(chunked).write([event])
    client(plain, is_chunked=False).write([event, event])
    assert chunked.written == b"15\r\ndata: 17 bytes long\n\n\r\n"
    assert plain.written == b"data: 17 bytes long\n\n" * 2


async def test_whoever_does_not_read_is_cut_off_and_nobody_else() -> None:
    slow, quick = Wire(unread=MOST_UNREAD_BYTES + 1), Wire(unread=MOST_UNREAD_BYTES)
    clients = [client(slow), client(quick)]
    for each in clients:
        each.write([Event.of(b"data: x\n\n")])
    assert (slow.is_aborted, slow.written) == (True, b"")
    assert (quick.is_aborted, bool(quick.written)) == (False, True)
    assert [each.ended.done() for each in clients] == [True, False]


async def test_a_connection_that_has_closed_ends_its_response() -> None:
    wire = Wire()
    wire.abort()
    gone = client(wire)
    gone.write([Event.of(b"data: x\n\n")])
    gone.write([Event.of(b"data: x\n\n")])
    assert gone.ended.done()
    assert wire.written == b""
