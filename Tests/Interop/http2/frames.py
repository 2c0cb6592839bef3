"""Frames out of place."""

import struct

from hyperframe.frame import (
    DataFrame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)  # fmt: skip
from expectations import (
    CHECK, SERVING, UNIMPLEMENTED, WATCH, check, expect_connection_error, expect_serving, expect_stream_error,
)  # fmt: skip
from peer import (
    CANCEL, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, NO_ERROR, PREFACE, PROTOCOL_ERROR, STREAM_CLOSED, Closed, Peer,
    framed,
)  # fmt: skip


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
