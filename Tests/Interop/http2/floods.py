"""Floods, which end a connection."""

from hyperframe.frame import DataFrame, PingFrame, RstStreamFrame, SettingsFrame
from expectations import CHECK, WATCH, check, expect_connection_error, expect_serving, expect_stream_error
from peer import CANCEL, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, REFUSED_STREAM, Closed, Peer, framed


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
