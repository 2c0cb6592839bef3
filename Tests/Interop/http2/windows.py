"""Windows: closed, narrow and overflowing."""

import struct
import time

from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from expectations import (
    AUTHORIZED, CHECK, GET, LIST, MESSAGE_BYTES_MAX, SERVING, UNAUTHENTICATED, UNIMPLEMENTED, WATCH, check,
    expect_connection_error, expect_serving, expect_stream_error, record_large,
)  # fmt: skip
from peer import CANCEL, FLOW_CONTROL_ERROR, PROTOCOL_ERROR, Closed, Peer, field, framed


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


@check
def connection_window_of_zero(address):
    """65,535 bytes come unasked, the others as the connection's window opens."""
    with Peer(address, window=0) as peer:
        request = record_large(peer)
        stream = peer.open(LIST, AUTHORIZED)
        peer.data(stream, framed(request), end=True)
        peer.until(lambda: peer.responses.get(stream) and peer.responses[stream].data)
        peer.settle()
        response = peer.responses[stream]
        granted = 65_535
        assert len(response.data) <= granted and not response.is_ended, response
        while not response.is_ended:
            peer.send(WindowUpdateFrame(0, window_increment=50_000))
            granted += 50_000
            peer.settle()
            # A busy server may send later what an earlier update let it.
            assert len(response.data) <= granted
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
