"""HTTP/2 clients for tests: `Peer` sends any frame, right or wrong; `ask_health` is a strict client on h2."""

import socket
import struct
import time

import h2.config
import h2.connection
import h2.events
import hpack
from hyperframe.frame import (
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame,
    WindowUpdateFrame,
)  # fmt: skip

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SERVICE = "parley.v1.InteractionService"
HEALTH = "/grpc.health.v1.Health/"
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 3, 5, 6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11


class Closed(Exception):
    """The server has closed the connection."""


class TimedOut(Exception):
    """What was waited for did not come."""


class Response:
    """What came on a stream."""

    def __init__(self):
        self.blocks = []
        self.data = b""
        self.is_ended = False
        self.reset = None

    @property
    def status(self):
        return self.first(":status")

    def first(self, name):
        return next((value for block in self.blocks for key, value in block if key == name), None)

    @property
    def code(self):
        text = self.first("grpc-status")
        return None if text is None else int(text)

    @property
    def message(self):
        return self.first("grpc-message")

    def __str__(self):
        return f"headers {self.blocks}, {len(self.data)} bytes, ended {self.is_ended}, reset {self.reset}"


def connect(address, within=5):
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address[5:])
    else:
        host, port = address.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(within)
    return connection


class Peer:
    """Sends what it is told. Acknowledges SETTINGS and PING; gives windows away in full, unless told not to."""

    def __init__(self, address, settings=None, window=1 << 30, preface=PREFACE):
        self.socket = connect(address)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 24
        self.buffer = b""
        self.responses = {}
        self.goaways = []
        self.pings = 0
        self.settings_acks = 0
        self.windows = {}
        self.settings = {}
        self.open_block = None
        self.last_id = -1
        self.acknowledges = preface is not None
        if preface is not None:
            self.send_bytes(preface)
            self.send(SettingsFrame(0, settings={4: (1 << 31) - 1} if settings is None else settings))
            if window:
                self.send(WindowUpdateFrame(0, window_increment=window))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # Out

    def send_bytes(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def send(self, *frames):
        self.send_bytes(b"".join(frame.serialize() for frame in frames))

    def next_id(self):
        self.last_id += 2
        return self.last_id

    def headers_frame(self, stream, headers, *flags):
        return HeadersFrame(stream, self.encoder.encode(headers), flags=["END_HEADERS", *flags])

    def open(self, path, extra=(), method="POST", content_type="application/grpc", end=False):
        """Sends the headers of a call and answers with its stream."""
        stream = self.next_id()
        headers = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test"), ("te", "trailers")]
        if content_type is not None:
            headers.append(("content-type", content_type))
        self.send(self.headers_frame(stream, headers + list(extra), *(["END_STREAM"] if end else [])))
        return stream

    def data(self, stream, data, end=False):
        """In frames of at most 16 KiB; waits for no window."""
        pieces = [data[place : place + 16_384] for place in range(0, len(data), 16_384)] or [b""]
        for piece in pieces:
            self.send(DataFrame(stream, piece, flags=["END_STREAM"] if end and piece is pieces[-1] else []))

    def call(self, path, payload=b"", extra=(), within=10, **options):
        """A whole call with one message."""
        stream = self.open(path, extra, **options)
        self.data(stream, framed(payload), end=True)
        return self.response(stream, within)

    # In

    def read(self, within):
        """Takes what comes, at most so many seconds; False when nothing did."""
        self.socket.settimeout(max(within, 0.001))
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except ConnectionResetError as error:
            raise Closed from error
        if not data:
            raise Closed
        self.buffer += data
        while len(self.buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
            if len(self.buffer) < 9 + length:
                break
            frame.parse_body(memoryview(self.buffer[9 : 9 + length]))
            self.buffer = self.buffer[9 + length :]
            self.take(frame)
        return True

    def take(self, frame):
        response = self.responses.setdefault(frame.stream_id, Response())
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            ends = isinstance(frame, HeadersFrame) and "END_STREAM" in frame.flags
            block, ended = self.open_block or (b"", False)
            block, ended = block + frame.data, ended or ends
            if "END_HEADERS" not in frame.flags:
                self.open_block = block, ended
                return
            self.open_block = None
            response.blocks.append(self.decoder.decode(block))
            response.is_ended |= ended
        elif isinstance(frame, DataFrame):
            response.data += frame.data
            response.is_ended |= "END_STREAM" in frame.flags
        elif isinstance(frame, RstStreamFrame):
            response.reset = frame.error_code
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        elif isinstance(frame, WindowUpdateFrame):
            self.windows[frame.stream_id] = self.windows.get(frame.stream_id, 0) + frame.window_increment
        elif isinstance(frame, SettingsFrame):
            if "ACK" in frame.flags:
                self.settings_acks += 1
            else:
                self.settings.update(frame.settings)
                if self.acknowledges:
                    self.quietly_send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame):
            if "ACK" in frame.flags:
                self.pings += 1
            else:
                self.quietly_send(PingFrame(0, frame.opaque_data, flags=["ACK"]))

    def quietly_send(self, frame):
        try:
            self.send(frame)
        except Closed:
            pass

    def until(self, condition, within=10):
        deadline = time.monotonic() + within
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut
            self.read(left)

    def response(self, stream, within=10):
        """Waits for the end of a stream."""
        response = self.responses.setdefault(stream, Response())
        self.until(lambda: response.is_ended or response.reset is not None, within)
        return response

    def closed(self, within=10):
        """Waits for the server to end the connection; the error of its GOAWAY, or None."""
        try:
            self.until(lambda: False, within)
        except Closed:
            pass
        return self.goaways[-1].error_code if self.goaways else None

    def settle(self):
        """All that was sent is read when this PING is answered."""
        before = self.pings
        self.send(PingFrame(0, b"settling"))
        self.until(lambda: self.pings > before)


def varint(value):
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded + bytes([value]))


def field(number, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def framed(message, flag=0, length=None):
    return struct.pack(">BI", flag, len(message) if length is None else length) + message


def ask_health(address):
    """Calls Health.Check on a new connection of h2's, which takes no wrong frame from the server."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    with connect(address, within=10) as channel:
        connection.initiate_connection()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", HEALTH + "Check"), (":authority", "test"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        connection.send_headers(1, headers)
        connection.send_data(1, framed(b""), end_stream=True)
        channel.sendall(connection.data_to_send())
        data, code = b"", None
        while True:
            received = channel.recv(1 << 16)
            assert received, "the connection of another was closed"
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.DataReceived):
                    data += event.data
                elif isinstance(event, h2.events.TrailersReceived):
                    code = dict(event.headers)["grpc-status"]
                elif isinstance(event, h2.events.StreamEnded):
                    assert (data, code) == (framed(b"\x08\x01"), "0"), (data, code)
                    return
            channel.sendall(connection.data_to_send())
