"""Header lists: large ones, wrong ones, and their blocks."""

from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame
from expectations import (
    AUTHORIZED, CHECK, GET, HEADERS, INVALID_ARGUMENT, SERVING, WATCH, check, expect_connection_error, expect_error,
    expect_serving, expect_stream_error,
)  # fmt: skip
from peer import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, Closed, Peer, framed


@check
def header_list_below_the_limit(address):
    with Peer(address) as peer:
        assert peer.call(CHECK, extra=[("x-large", "x" * 15_000)]).code == 0
        stream = peer.open(CHECK, [("x-large", "y" * 12_000)])
        peer.data(stream, framed(b""), end=True)
        assert peer.response(stream).code == 0


def open_in_blocks(peer, extra):
    """A call whose header block takes several frames."""
    stream = peer.next_id()
    headers = list(HEADERS)
    block = peer.encoder.encode(headers + extra, huffman=False)
    pieces = [block[place : place + 10_000] for place in range(0, len(block), 10_000)]
    peer.send(HeadersFrame(stream, pieces[0]))
    for piece in pieces[1:]:
        peer.send(ContinuationFrame(stream, piece, flags=["END_HEADERS"] if piece is pieces[-1] else []))
    return stream


@check
def metadata_past_the_limit(address):
    """It fails its own call, and no other, once the server's limit for headers is acknowledged."""
    with Peer(address) as peer:
        peer.settle()
        watch = peer.open(WATCH)
        peer.data(watch, framed(b""), end=True)
        for extra in ([("x-large", "x" * 16_384)], [(f"x-{number}", "x" * 1000) for number in range(40)]):
            expect_error(peer.response(open_in_blocks(peer, extra)), INVALID_ARGUMENT, "metadata is", "16384")
        expect_serving(peer)
        assert not peer.responses[watch].is_ended


@check
def header_list_past_the_limit(address):
    for extra in ([("x-large", "x" * 70_000)], [(f"x-{number}", "x" * 1000) for number in range(80)]):
        with Peer(address) as peer:
            try:
                assert peer.response(open_in_blocks(peer, extra)).code != 0
            except Closed:
                pass


@check
def header_list_of_references_past_the_limit(address):
    """A small block that says a great deal (an HPACK bomb)."""
    with Peer(address) as peer:
        assert peer.call(CHECK, extra=[("x-large", "x" * 3500)]).code == 0
        stream = peer.next_id()
        headers = list(HEADERS)
        headers += [("x-large", "x" * 3500)] * 4000
        block = peer.encoder.encode(headers)
        assert len(block) < 16_384
        peer.send(HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"]))
        expect_stream_error(peer, stream, ENHANCE_YOUR_CALM, COMPRESSION_ERROR, PROTOCOL_ERROR)


@check
def too_many_metadata(address):
    with Peer(address) as peer:
        response = peer.call(GET, extra=AUTHORIZED + [(f"k-{number}", "") for number in range(64)])
        expect_error(response, INVALID_ARGUMENT, "65 entries", "64")
        expect_serving(peer)


@check
def wrong_headers(address):
    good = list(HEADERS)
    wrong = [
        good[:2] + good[3:],  # no path
        good[:3] + good[4:],  # no authority
        [*good, (":path", CHECK)],
        [*good[:3], ("content-type", "application/grpc"), (":authority", "late")],
        [*good, ("Upper-Case", "1")],
        [*good, ("connection", "keep-alive")],
        [*good, ("te", "gzip")],
        [*good, (":unknown", "1")],
        [*good, ("content-length", "3")],
        [*good, ("content-length", "5"), ("content-length", "5")],
        [*good, ("x", "a\0b")],
        [*good, ("a b", "1")],
        [(":authority", "a b"), *good[:3], *good[4:]],
    ]
    for headers in wrong:
        with Peer(address) as peer:
            stream = peer.next_id()
            peer.send(peer.headers_frame(stream, headers))
            peer.quietly_send(DataFrame(stream, framed(b""), flags=["END_STREAM"]))
            expect_stream_error(peer, stream, PROTOCOL_ERROR)
            expect_serving(peer)


@check
def authorities(address):
    """Any visible ASCII: older clients name the path of a Unix socket."""
    with Peer(address) as peer:
        for authority in ("/run/p.sock", "%2Frun%2Fp.sock", "unix:///run/p.sock", "user@host:1", "[::1]:7310", '"<>\\^`{|}~'):
            stream = peer.next_id()
            peer.send(peer.headers_frame(stream, [*HEADERS[:3], (":authority", authority), *HEADERS[4:]]))
            peer.data(stream, framed(b""), end=True)
            assert peer.response(stream).data == SERVING, authority


@check
def broken_header_block(address):
    with Peer(address) as peer:
        peer.send(HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS"]))
        expect_connection_error(peer, COMPRESSION_ERROR)


@check
def no_dynamic_table(address):
    """A client with a table of 0 bytes understands the answers."""
    with Peer(address, settings={1: 0, 4: 1 << 20}) as peer:
        peer.settle()
        for _ in range(5):
            expect_serving(peer)


@check
def continuation(address):
    """A block in several frames is one; nothing may come between them, and too many are a flood."""
    headers = list(HEADERS)
    with Peer(address) as peer:
        block = peer.encoder.encode(headers)
        stream = peer.next_id()
        third = len(block) // 3
        peer.send(
            HeadersFrame(stream, block[:third]), ContinuationFrame(stream, block[third : 2 * third]),
            ContinuationFrame(stream, block[2 * third :], flags=["END_HEADERS"]),
            DataFrame(stream, framed(b""), flags=["END_STREAM"]),
        )  # fmt: skip
        assert peer.response(stream).data == SERVING
    with Peer(address) as peer:
        peer.send(HeadersFrame(1, peer.encoder.encode(headers)), PingFrame(0, b"between!"))
        expect_connection_error(peer, PROTOCOL_ERROR)
    for size in (0, 1, 8_000):
        with Peer(address) as peer:
            block = peer.encoder.encode(headers)
            try:
                peer.send(HeadersFrame(1, block))
                for _ in range(10_000):
                    peer.send(ContinuationFrame(1, bytes(size)))
            except Closed:
                pass
            expect_connection_error(peer, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR, None)
