"""Pages that are compressed once and are each person's own all the same."""

import gzip
import zlib

from gateway.shared_pages import SharedPage, gzip_joined


def test_a_beginning_and_a_compressed_rest_make_one_stream() -> None:
    rest = ("<p>the same for everybody</p>" * 500).encode()
    packer = zlib.compressobj(wbits=-15)
    page = SharedPage("", rest, packer.compress(rest) + packer.flush())
    for beginning in (b"", b"ann@example.org", b"<p>the same for everybody</p>" * 50):
        stream = gzip_joined(beginning, page)
        assert gzip.decompress(stream) == beginning + rest
        # As browsers read it: one member, and nothing after it.
        reader = zlib.decompressobj(wbits=31)
        assert reader.decompress(stream) == beginning + rest
        assert reader.eof
        assert reader.unused_data == b""
        assert len(stream) < 1000
