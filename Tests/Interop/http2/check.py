"""What HTTP/2 and gRPC ask of the server where stock clients do not go: wrong frames, floods, windows of zero.

    check.py ADDRESS [CHECK...]     ADDRESS is unix:PATH or HOST:PORT

PARLEY_TOKEN holds a token that may record and read. After each check the server must answer a call on a
connection of another client. One line a check, then "N passed, M failed".
"""

import base64
import gzip
import os
import struct
import sys
import time
import urllib.parse
import zlib

from hyperframe.frame import (
    ContinuationFrame, DataFrame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame,
    SettingsFrame, WindowUpdateFrame,
)  # fmt: skip
from peer import (
    CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, HEALTH, NO_ERROR, PREFACE,
    PROTOCOL_ERROR, REFUSED_STREAM, SERVICE, STREAM_CLOSED, Closed, Peer, TimedOut, ask_health, framed,
)  # fmt: skip

DEADLINE_EXCEEDED, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED = 4, 3, 8, 12, 13, 16
SERVING = framed(b"\x08\x01")
CHECK, WATCH = HEALTH + "Check", HEALTH + "Watch"
GET, LIST, RECORD = (f"/{SERVICE}/{method}" for method in ("GetInteraction", "ListInteractions", "RecordInteraction"))
AUTHORIZED = [("authorization", "Bearer " + os.environ.get("PARLEY_TOKEN", ""))]
HEADERS = [
    (":method", "POST"), (":scheme", "http"), (":path", CHECK), (":authority", "test"),
    ("content-type", "application/grpc"),
]  # fmt: skip
MESSAGE_BYTES_MAX = 4 << 20
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def varint(value):
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded + bytes([value]))


def field(number, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def expect_serving(peer):
    """The connection still works."""
    response = peer.call(CHECK)
    assert (response.status, response.code, response.data) == ("200", 0, SERVING), response


def expect_connection_error(peer, *codes):
    code = peer.closed()
    assert code in codes or code is None and None in codes, f"GOAWAY {code}"


def expect_stream_error(peer, stream, *codes):
    """The stream ends alone; a connection error is as good, for a server may make it one (RFC 9113, section 5.4.1)."""
    try:
        response = peer.response(stream)
        peer.settle()
    except Closed:
        assert peer.goaways and peer.goaways[-1].error_code in codes, peer.goaways
        return
    assert response.reset in codes or peer.goaways and peer.goaways[-1].error_code in codes, response


def expect_error(response, code, *words):
    assert response.code == code, response
    assert all(word in response.message for word in words), response.message


# --- Frames out of place


@check
def settings_come_after_three_bytes(address):
    """Some clients wait for the server's SETTINGS before they go on."""
    with Peer(address, preface=None) as peer:
        peer.send_bytes(PREFACE[:3])
        peer.until(lambda: peer.settings, 3)
        assert peer.settings[3] >= 100 and peer.settings[6] == 64 * 1024, peer.settings
        for byte in PREFACE[3:]:
            peer.send_bytes(bytes([byte]))
        peer.send(SettingsFrame(0))
        expect_serving(peer)


@check
def wrong_preface(address):
    with Peer(address, preface=None) as peer:
        peer.send_bytes(PREFACE[:-3] + b"XX\r" + bytes(100))
        peer.closed()


@check
def first_frame_is_not_settings(address):
    with Peer(address, preface=None) as peer:
        peer.send_bytes(PREFACE)
        peer.send(PingFrame(0, b"too soon"))
        expect_connection_error(peer, PROTOCOL_ERROR, None)


@check
def frames_on_idle_streams(address):
    """DATA before HEADERS, and others that an idle stream does not take (RFC 9113, section 5.1)."""
    for frame in (DataFrame(1, framed(b"")), RstStreamFrame(1, CANCEL), WindowUpdateFrame(1, window_increment=1)):
        with Peer(address) as peer:
            peer.send(frame)
            expect_connection_error(peer, PROTOCOL_ERROR)


@check
def stream_ids_of_servers_and_of_the_past(address):
    with Peer(address) as peer:
        peer.last_id = 0
        peer.open(CHECK)
        expect_connection_error(peer, PROTOCOL_ERROR)
    with Peer(address) as peer:
        peer.last_id = 7
        expect_serving(peer)
        peer.last_id = 1
        # As good as an error: it is taken for a late frame of a stream that is gone, and answered by nothing.
        stream = peer.open(CHECK)
        try:
            peer.settle()
        except Closed:
            expect_connection_error(peer, PROTOCOL_ERROR, STREAM_CLOSED)
        else:
            assert stream not in peer.responses
            peer.last_id = 9
            expect_serving(peer)


@check
def highest_stream_id(address):
    with Peer(address) as peer:
        peer.last_id = (1 << 31) - 3
        expect_serving(peer)


@check
def frames_on_closed_streams(address):
    for frame in (DataFrame(1, b"x"), DataFrame(1, b"x", flags=["END_STREAM"])):
        with Peer(address) as peer:
            expect_serving(peer)
            peer.send(frame)
            expect_stream_error(peer, 1, STREAM_CLOSED)
    with Peer(address) as peer:
        expect_serving(peer)
        peer.send(WindowUpdateFrame(1, window_increment=100), RstStreamFrame(1, CANCEL), PriorityFrame(1, 0, 1, False))
        expect_serving(peer)


@check
def half_closed_by_the_client(address):
    """END_STREAM was sent; the stream still runs, and takes no more."""
    for late in ("data", "headers"):
        with Peer(address) as peer:
            stream = peer.open(WATCH)
            peer.data(stream, framed(b""), end=True)
            peer.until(lambda: peer.responses.get(stream) and peer.responses[stream].data == SERVING)
            if late == "data":
                peer.send(DataFrame(stream, framed(b"")))
            else:
                peer.send(peer.headers_frame(stream, [("late", "1")], "END_STREAM"))
            expect_stream_error(peer, stream, STREAM_CLOSED, PROTOCOL_ERROR)


@check
def half_closed_by_the_server(address):
    """The call is refused at its headers while the client still sends."""
    with Peer(address) as peer:
        streams = []
        for _ in range(300):
            streams.append(peer.open("/no.Such/Method"))
        for stream in streams:
            peer.data(stream, framed(bytes(3000)), end=True)
        for stream in streams:
            response = peer.response(stream)
            assert response.code == UNIMPLEMENTED and response.reset in (None, NO_ERROR), response
        expect_serving(peer)


@check
def trailers_of_the_client(address):
    with Peer(address) as peer:
        stream = peer.open(CHECK)
        peer.data(stream, framed(b""))
        peer.send(peer.headers_frame(stream, [("x-trailer", "1")], "END_STREAM"))
        assert peer.response(stream).code == 0
        # HEADERS again without END_STREAM are no trailers.
        stream = peer.open(CHECK)
        peer.send(peer.headers_frame(stream, [("x-trailer", "1")]))
        expect_stream_error(peer, stream, PROTOCOL_ERROR)


@check
def unknown_frames_and_settings_are_ignored(address):
    with Peer(address, settings={4: 1 << 20, 0xF0: 7, 0x7777: 1}) as peer:
        for stream in (0, 99):
            peer.send_bytes(b"\x00\x00\x04\xbe\xff" + struct.pack(">I", stream) + b"????")
        peer.send(PriorityFrame(5, 0, 200, True))
        expect_serving(peer)


@check
def padding_and_priority(address):
    with Peer(address) as peer:
        stream = peer.next_id()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", CHECK), (":authority", "t"),
            ("content-type", "application/grpc"),
        ]  # fmt: skip
        frame = HeadersFrame(stream, peer.encoder.encode(headers), flags=["END_HEADERS", "PADDED", "PRIORITY"])
        frame.pad_length, frame.stream_weight = 200, 15
        peer.send(frame)
        frame = DataFrame(stream, framed(b""), flags=["END_STREAM", "PADDED"])
        frame.pad_length = 255
        peer.send(frame)
        assert peer.response(stream).data == SERVING
        # Padding longer than the frame.
        peer.send_bytes(b"\x00\x00\x02\x00\x09\x00\x00\x00\x01\xff\x00")
        peer.closed()


@check
def frames_of_wrong_size(address):
    wrong = {
        "a PING of 7 bytes": b"\x00\x00\x07\x06\x00\x00\x00\x00\x00" + bytes(7),
        "SETTINGS of 5 bytes": b"\x00\x00\x05\x04\x00\x00\x00\x00\x00" + bytes(5),
        "a WINDOW_UPDATE of 3 bytes": b"\x00\x00\x03\x08\x00\x00\x00\x00\x00" + bytes(3),
        "an acknowledgement of SETTINGS with some": b"\x00\x00\x06\x04\x01\x00\x00\x00\x00" + bytes(6),
        "a frame of 16 MiB": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        "a frame past the limit": b"\x00\x40\x01\x00\x00\x00\x00\x00\x01" + bytes(16_385),
    }
    for what, data in wrong.items():
        with Peer(address) as peer:
            stream = peer.open(WATCH)
            assert stream == 1
            try:
                peer.send_bytes(data)
            except Closed:
                pass
            assert peer.closed() in (FRAME_SIZE_ERROR, PROTOCOL_ERROR, None), what


@check
def wrong_settings(address):
    for settings, code in (({5: 100}, PROTOCOL_ERROR), ({5: 1 << 24}, PROTOCOL_ERROR), ({2: 2}, PROTOCOL_ERROR)):
        with Peer(address, settings=settings, window=0) as peer:
            expect_connection_error(peer, code)
    with Peer(address, settings={}, window=0) as peer:
        peer.send_bytes(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + struct.pack(">HI", 4, 1 << 31))
        expect_connection_error(peer, FLOW_CONTROL_ERROR)


# --- Header lists


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


# --- Windows


@check
def window_of_zero(address):
    """The answer's message waits for the window, byte by byte; its trailers come after it."""
    with Peer(address, settings={4: 0}) as peer:
        stream = peer.open(CHECK)
        peer.data(stream, framed(b""), end=True)
        peer.until(lambda: peer.responses.get(stream) and peer.responses[stream].blocks)
        time.sleep(0.3)
        peer.settle()
        response = peer.responses[stream]
        assert response.status == "200" and not response.data and not response.is_ended, response
        for count in range(1, len(SERVING) + 1):
            peer.send(WindowUpdateFrame(stream, window_increment=1))
            peer.until(lambda: len(response.data) >= count)
            assert len(response.data) == count
        assert peer.response(stream).code == 0 and response.data == SERVING
        # Errors need no window.
        assert peer.call(GET).code == UNAUTHENTICATED


@check
def window_of_zero_and_cancelled(address):
    with Peer(address, settings={4: 0}) as peer:
        for _ in range(1500):
            stream = peer.open(CHECK)
            peer.data(stream, framed(b""), end=True)
            peer.send(RstStreamFrame(stream, CANCEL))
        peer.send(SettingsFrame(0, settings={4: 65_535}))
        expect_serving(peer)


@check
def windows_widened_by_settings(address):
    with Peer(address, settings={4: 0}) as peer:
        streams = [peer.open(CHECK) for _ in range(20)]
        for stream in streams:
            peer.data(stream, framed(b""), end=True)
        peer.until(lambda: all(peer.responses.get(stream) and peer.responses[stream].blocks for stream in streams))
        assert not any(peer.responses[stream].data for stream in streams)
        peer.send(SettingsFrame(0, settings={4: 5}))
        peer.until(lambda: all(stream in peer.responses and len(peer.responses[stream].data) == 5 for stream in streams))
        # Now narrower than what was sent: the windows are below zero.
        peer.send(SettingsFrame(0, settings={4: 0}))
        peer.settle()
        for stream in streams:
            peer.send(WindowUpdateFrame(stream, window_increment=7))
        for stream in streams:
            assert peer.response(stream).code == 0 and peer.responses[stream].data == SERVING


def record_large(peer):
    """Enough of one conversation that a page of it is larger than a connection's first window."""
    # From here on the windows are as large as the server's SETTINGS say.
    peer.settle()
    conversation = f"http2-{time.time_ns()}"
    for _ in range(6):
        interaction = field(2, conversation) + field(4, "c" * 60_000) + field(5, "a" * 60_000) + field(7, "m")
        response = peer.call(RECORD, field(1, interaction), AUTHORIZED)
        assert response.code == 0, response
    return field(1, field(1, conversation)) + b"\x20\x02"


@check
def connection_window_of_zero(address):
    """65,535 bytes come unasked, the others as the connection's window opens."""
    with Peer(address, window=0) as peer:
        request = record_large(peer)
        stream = peer.open(LIST, AUTHORIZED)
        peer.data(stream, framed(request), end=True)
        peer.until(lambda: peer.responses.get(stream) and peer.responses[stream].data)
        time.sleep(0.3)
        peer.settle()
        response = peer.responses[stream]
        assert len(response.data) <= 65_535 and not response.is_ended, response
        seen = len(response.data)
        while not response.is_ended:
            peer.send(WindowUpdateFrame(0, window_increment=50_000))
            peer.settle()
            assert len(response.data) <= seen + 50_000
            seen = len(response.data)
        assert response.code == 0 and seen > 700_000, response
        (length,) = struct.unpack(">I", response.data[1:5])
        assert length == seen - 5


@check
def unread_answers(address):
    """A client that asks for much and opens no window costs a bounded amount, and can still be answered."""
    with Peer(address) as peer:
        request = record_large(peer)
    with Peer(address, settings={4: 0}) as peer:
        streams = []
        for _ in range(40):
            streams.append(peer.open(LIST, AUTHORIZED))
            peer.data(streams[-1], framed(request), end=True)
        assert peer.call(GET).code == UNAUTHENTICATED
        for stream in streams:
            peer.send(WindowUpdateFrame(stream, window_increment=1 << 22))
        for stream in streams:
            assert peer.response(stream, 30).code == 0 and len(peer.responses[stream].data) > 700_000


@check
def window_updates_of_zero(address):
    with Peer(address) as peer:
        stream = peer.open(WATCH)
        peer.send_bytes(b"\x00\x00\x04\x08\x00" + struct.pack(">II", stream, 0))
        expect_stream_error(peer, stream, PROTOCOL_ERROR)
    with Peer(address) as peer:
        peer.send_bytes(b"\x00\x00\x04\x08\x00" + struct.pack(">II", 0, 0))
        expect_connection_error(peer, PROTOCOL_ERROR)


@check
def windows_that_overflow(address):
    with Peer(address) as peer:
        stream = peer.open(WATCH)
        peer.send(WindowUpdateFrame(stream, window_increment=(1 << 31) - 1))
        expect_stream_error(peer, stream, FLOW_CONTROL_ERROR)
        expect_serving(peer)
    with Peer(address) as peer:
        peer.send(WindowUpdateFrame(0, window_increment=(1 << 31) - 1))
        expect_connection_error(peer, FLOW_CONTROL_ERROR)


@check
def requests_within_the_windows(address):
    """The server gives windows back as it takes what was sent, on streams and on the connection."""
    with Peer(address) as peer:
        peer.settle()
        window = peer.settings.get(4, 65_535)
        total = 0
        message = framed(field(99, bytes(MESSAGE_BYTES_MAX - 100)))
        for _ in range(3):
            stream = peer.open(CHECK)
            sent = 0
            while sent < len(message):
                peer.until(lambda: sent < window + peer.windows.get(stream, 0))
                size = min(16_384, len(message) - sent, window + peer.windows.get(stream, 0) - sent)
                total += size
                assert total <= 65_535 + peer.windows.get(0, 0), "the connection's window is closed"
                peer.send(DataFrame(stream, message[sent : sent + size]))
                sent += size
            peer.send(DataFrame(stream, b"", flags=["END_STREAM"]))
            assert peer.response(stream).code == 0


@check
def request_past_its_window(address):
    with Peer(address) as peer:
        peer.settle()
        streams = [peer.open(CHECK) for _ in range(2)]
        try:
            for _ in range(peer.settings[4] // 16_384 + 2):
                peer.send(*(DataFrame(stream, framed(bytes(16_379))) for stream in streams))
                # The first message is one too many already for a unary call; so only unanswered ones count.
        except Closed:
            pass
        try:
            responses = [peer.response(stream) for stream in streams]
            assert all(response.code == UNIMPLEMENTED for response in responses)
        except Closed:
            pass


# --- Floods


@check
def rapid_reset_flood(address):
    with Peer(address) as peer:
        try:
            for _ in range(20_000):
                stream = peer.open(CHECK)
                peer.send(RstStreamFrame(stream, CANCEL))
        except Closed:
            pass
        expect_connection_error(peer, ENHANCE_YOUR_CALM, None)


@check
def ping_flood(address):
    with Peer(address) as peer:
        for _ in range(1000):
            peer.send(PingFrame(0, b"12345678"))
        peer.until(lambda: peer.pings == 1000)
        try:
            for _ in range(20_000):
                peer.send(PingFrame(0, b"12345678"))
        except Closed:
            pass
        expect_connection_error(peer, ENHANCE_YOUR_CALM, None)


@check
def settings_flood(address):
    with Peer(address) as peer:
        try:
            for number in range(20_000):
                peer.send(SettingsFrame(0, settings={4: 65_535 + number % 2}))
        except Closed:
            pass
        expect_connection_error(peer, ENHANCE_YOUR_CALM, None)


@check
def empty_data_flood(address):
    with Peer(address) as peer:
        stream = peer.open(CHECK)
        try:
            for _ in range(20_000):
                peer.send(DataFrame(stream, b""))
        except Closed:
            pass
        expect_connection_error(peer, ENHANCE_YOUR_CALM, None)


@check
def too_many_streams(address):
    """As many as SETTINGS tell can be open; one more ends it or the connection, never the server."""
    with Peer(address) as peer:
        peer.settle()
        streams = []
        for _ in range(peer.settings[3]):
            streams.append(peer.open(WATCH))
            peer.data(streams[-1], framed(b""), end=True)
        peer.until(lambda: all(stream in peer.responses and peer.responses[stream].data for stream in streams))
        peer.send(RstStreamFrame(streams.pop(0), CANCEL))
        expect_serving(peer)
        streams.append(peer.open(WATCH))
        expect_stream_error(peer, peer.open(WATCH), REFUSED_STREAM, PROTOCOL_ERROR)


# --- What is no gRPC


@check
def get_is_405(address):
    with Peer(address) as peer:
        for method in ("GET", "PUT", "HEAD", "OPTIONS"):
            stream = peer.open(CHECK, method=method, end=True)
            assert peer.response(stream).status == "405"
        expect_serving(peer)


@check
def content_types(address):
    with Peer(address) as peer:
        for wrong in (
            None, "", "text/html", "application/json", "application/grpc-web", "application/grpc-web+proto",
            "application/grpc+json", "application/grpcx", "application",
        ):  # fmt: skip
            assert peer.call(CHECK, content_type=wrong).status == "415", wrong
        for right in (
            "application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "Application/GRPC",
            "application/grpc+proto; x=y",
        ):  # fmt: skip
            response = peer.call(CHECK, content_type=right)
            assert response.code == 0 and response.first("content-type").startswith("application/grpc"), right


@check
def paths(address):
    with Peer(address) as peer:
        for path in ("/", "//", "/a", "/a/b/c", "a/b", f"/{SERVICE}", f"/{SERVICE}/", f"/{SERVICE}/getinteraction", "*"):
            try:
                response = peer.call(path)
            except Closed:
                raise AssertionError(f"{path}: the connection is closed") from None
            assert response.code == UNIMPLEMENTED or response.reset == PROTOCOL_ERROR, f"{path}: {response}"


# --- Messages


@check
def message_counts(address):
    with Peer(address) as peer:
        stream = peer.open(CHECK, end=True)
        expect_error(peer.response(stream), UNIMPLEMENTED, "one message")
        for path in (CHECK, WATCH):
            stream = peer.open(path)
            peer.data(stream, b"", end=True)
            expect_error(peer.response(stream), UNIMPLEMENTED, "one message")
            stream = peer.open(path)
            peer.data(stream, framed(b"") * 2, end=True)
            expect_error(peer.response(stream), UNIMPLEMENTED, "one message")
        expect_serving(peer)


@check
def message_in_single_bytes(address):
    with Peer(address) as peer:
        stream = peer.open(GET, AUTHORIZED)
        for byte in framed(field(1, "no-id")):
            peer.send(DataFrame(stream, bytes([byte])))
        peer.send(DataFrame(stream, b"", flags=["END_STREAM"]))
        expect_error(peer.response(stream), INVALID_ARGUMENT, "no-id")


@check
def message_that_claims_too_much(address):
    with Peer(address) as peer:
        for length in (MESSAGE_BYTES_MAX + 1, 5 << 20, 0x7FFFFFFF, 0xFFFFFFFF):
            for path in (CHECK, WATCH, GET):
                stream = peer.open(path)
                peer.data(stream, framed(b"", length=length))
                response = peer.response(stream)
                expect_error(response, RESOURCE_EXHAUSTED, str(MESSAGE_BYTES_MAX))
        expect_serving(peer)


@check
def message_cut_off(address):
    with Peer(address) as peer:
        for data in (b"\x00", framed(b"")[:4], framed(b"", length=100), framed(b"12345", length=6)):
            for path in (CHECK, WATCH):
                stream = peer.open(path)
                peer.data(stream, data, end=True)
                expect_error(peer.response(stream), INTERNAL, "within a message")
        expect_serving(peer)


@check
def wrong_flags(address):
    with Peer(address) as peer:
        for flag in (2, 128, 255):
            stream = peer.open(CHECK)
            peer.data(stream, framed(b"", flag=flag), end=True)
            expect_error(peer.response(stream), INTERNAL)
        # Compressed, where no encoding is told.
        for extra in ([], [("grpc-encoding", "identity")]):
            stream = peer.open(CHECK, extra)
            peer.data(stream, framed(gzip.compress(b""), flag=1), end=True)
            expect_error(peer.response(stream), INTERNAL, "grpc-encoding")


@check
def encodings(address):
    with Peer(address) as peer:
        for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
            stream = peer.open(CHECK, [("grpc-encoding", encoding)])
            peer.data(stream, framed(compress(b""), flag=1), end=True)
            assert peer.response(stream).data == SERVING
            # Encoded is a matter of each message.
            stream = peer.open(CHECK, [("grpc-encoding", encoding)])
            peer.data(stream, framed(b""), end=True)
            assert peer.response(stream).data == SERVING
            stream = peer.open(CHECK, [("grpc-encoding", encoding)])
            peer.data(stream, framed(b"no such form", flag=1), end=True)
            expect_error(peer.response(stream), INTERNAL, encoding)
        for encoding in ("br", "zstd", "snappy", "GZIP", ""):
            response = peer.call(CHECK, extra=[("grpc-encoding", encoding)])
            assert response.code == UNIMPLEMENTED, response
            accepted = response.first("grpc-accept-encoding")
            assert accepted and {"identity", "gzip"} <= set(accepted.replace(" ", "").split(",")), response


@check
def answers_compressed_as_asked(address):
    with Peer(address) as peer:
        request = record_large(peer)
        for sent, accepted, used in (
            ("gzip", "identity,gzip", "gzip"), ("deflate", "deflate, gzip", "deflate"), (None, "gzip", None),
            ("gzip", "identity", None),
        ):  # fmt: skip
            extra = [("grpc-encoding", sent)] if sent else []
            response = peer.call(LIST, request, [*AUTHORIZED, *extra, ("grpc-accept-encoding", accepted)])
            assert response.code == 0 and (response.first("grpc-encoding") or "identity") == (used or "identity")
            flag, body = response.data[0], response.data[5:]
            assert flag == (1 if used else 0)
            if used:
                body = gzip.decompress(body) if used == "gzip" else zlib.decompress(body)
            assert len(body) > 700_000


@check
def zip_bombs(address):
    with Peer(address) as peer:
        for size in (MESSAGE_BYTES_MAX + 1, 256 << 20):
            bomb = gzip.compress(bytes(size), 9)
            for path in (CHECK, WATCH):
                stream = peer.open(path, [("grpc-encoding", "gzip")])
                peer.data(stream, framed(bomb, flag=1), end=True)
                expect_error(peer.response(stream, 30), RESOURCE_EXHAUSTED, str(MESSAGE_BYTES_MAX))
        expect_serving(peer)


@check
def messages_held_without_end(address):
    """Messages that are complete on streams that do not end hold a bounded memory."""
    with Peer(address) as peer:
        bomb = framed(gzip.compress(bytes(MESSAGE_BYTES_MAX), 9), flag=1)
        streams = []
        for _ in range(100):
            streams.append(peer.open(CHECK, [("grpc-encoding", "gzip")]))
            peer.data(streams[-1], bomb)
        peer.settle()
        refused = [stream for stream in streams if stream in peer.responses and peer.responses[stream].is_ended]
        assert len(refused) > 80, f"{100 - len(refused)} messages of 4 MiB are held"
        for stream in refused:
            expect_error(peer.responses[stream], RESOURCE_EXHAUSTED)
        peer.send(*(RstStreamFrame(stream, CANCEL) for stream in streams if stream not in refused))
        expect_serving(peer)


# --- Timeouts


@check
def timeouts_of_every_unit(address):
    with Peer(address) as peer:
        for value in ("1H", "1M", "10S", "9999m", "9999999u", "99999999n", "99999999H", "99999999S", "00000010S"):
            assert peer.call(CHECK, extra=[("grpc-timeout", value)]).code == 0, value
        for value in ("0H", "0M", "0S", "0m", "0u", "0n", "1n"):
            expect_error(peer.call(CHECK, extra=[("grpc-timeout", value)]), DEADLINE_EXCEEDED)
        for value, seconds in (("300m", 0.3), ("300000u", 0.3), ("99999999n", 0.1), ("1S", 1)):
            begun = time.monotonic()
            stream = peer.open(WATCH, [("grpc-timeout", value)])
            peer.data(stream, framed(b""), end=True)
            expect_error(peer.response(stream), DEADLINE_EXCEEDED)
            assert seconds - 0.05 < time.monotonic() - begun < seconds + 20, value
            assert peer.responses[stream].data == SERVING


@check
def longest_timeouts_of_streams(address):
    with Peer(address) as peer:
        for value in ("99999999H", "99999999M", "99999999S"):
            stream = peer.open(WATCH, [("grpc-timeout", value)])
            peer.data(stream, framed(b""), end=True)
            peer.until(lambda: peer.responses.get(stream) and peer.responses[stream].data == SERVING)
            peer.settle()
            assert not peer.responses[stream].is_ended
        expect_serving(peer)


@check
def wrong_timeouts(address):
    with Peer(address) as peer:
        for value in ("", "1", "S", "123456789S", "-1S", "+1S", "1.5S", "1s", "1h", "1 S", "1SS", "0x1S", "١S"):
            response = peer.call(CHECK, extra=[("grpc-timeout", value)])
            expect_error(response, INVALID_ARGUMENT, "grpc-timeout")


@check
def request_that_never_ends_has_its_timeout(address):
    with Peer(address) as peer:
        stream = peer.open(CHECK, [("grpc-timeout", "1S")])
        peer.data(stream, framed(b"", length=100))
        expect_error(peer.response(stream, 15), DEADLINE_EXCEEDED)


# --- Trailers


@check
def status_trailers(address):
    with Peer(address) as peer:
        response = peer.call(GET, field(1, "é%\n☺"), AUTHORIZED)
        assert response.status == "200" and len(response.blocks) == 1 and not response.data, "no Trailers-Only"
        assert response.code == INVALID_ARGUMENT
        message = response.message
        assert all(" " <= letter <= "~" for letter in message) and "%25" in message and "%C3%A9" in message, message
        details = response.first("grpc-status-details-bin")
        assert "=" not in details
        status = base64.b64decode(details + "=" * (-len(details) % 4), validate=True)
        assert status.startswith(b"\x08\x03" + field(2, urllib.parse.unquote(message)))
        assert b"google.rpc.ErrorInfo" in status and b"google.rpc.BadRequest" in status


@check
def trailers_stay_small(address):
    """gRPC's C core takes some 8 KiB of them, others 16."""
    wide = "e" + "\u0301" * 1000
    calls = [
        (f"/{wide}/{wide}", b"", []),
        (CHECK, field(1, "s" + "\u0301" * 100_000), []),
        (GET, field(1, wide), AUTHORIZED),
        (RECORD, field(1, b"".join(field(6, field(1, "")) for _ in range(64))), AUTHORIZED),
        (RECORD, field(1, field(13, wide) + field(1, wide) + field(2, "x" * 10_000)) + field(2, wide), AUTHORIZED),
        (GET, b"", [("grpc-encoding", "x" * 10_000)]),
        (GET, b"", [("authorization", "Bearer " + "x" * 10_000)]),
        (GET, b"", [*AUTHORIZED, ("x-tenant-id", "x" * 10_000)]),
    ]
    with Peer(address) as peer:
        for path, payload, extra in calls:
            response = peer.call(path, payload, extra)
            size = sum(len(name) + len(value) + 32 for block in response.blocks for name, value in block)
            assert response.code not in (None, 0) and size < 8192, f"{path[:40]}: {size} bytes of trailers"


def main():
    address, *names = sys.argv[1:]
    passed = failed = 0
    for function in CHECKS:
        if names and function.__name__ not in names:
            continue
        try:
            function(address)
            ask_health(address)
        except TimedOut:
            problem = "what it waits for does not come"
        except Closed:
            problem = "the connection is closed"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}" if str(error) or not isinstance(error, AssertionError) else ""
            if not problem:
                line = error.__traceback__.tb_next.tb_lineno
                problem = f"line {line}"
        else:
            passed += 1
            print("ok   ", function.__name__)
            continue
        failed += 1
        print("FAIL ", function.__name__, problem[:400])
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
