"""A tiny client of the framed protocol: a 10-byte header, protobuf written by hand, unary calls."""

import os
import socket
import struct
import threading
import time

REQUEST, RESPONSE = 1, 2
SERVICE = "parley.v1.InteractionService"
UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 14, 4, 8
BYTES_FIELD, VARINT_FIELD = 2, 0


class Refusal(Exception):
    """The service answered with an error."""

    def __init__(self, code, message):
        super().__init__(f"code {code}: {message}")
        self.code = code


class Away(Exception):
    """No connection, or it was lost: the call's fate is unknown."""


# --- protobuf


def varint(number):
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3 | VARINT_FIELD) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES_FIELD) + varint(len(value)) + value


def fields(message):
    """Every field in order: its number, and an int or bytes."""
    place = 0

    def read_varint():
        nonlocal place
        number = shift = 0
        while True:
            byte = message[place]
            place += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while place < len(message):
        key = read_varint()
        if key & 7 == VARINT_FIELD:
            yield key >> 3, read_varint()
        else:
            length = {BYTES_FIELD: None, 1: 8, 5: 4}[key & 7]
            length = read_varint() if length is None else length
            yield key >> 3, message[place : place + length]
            place += length


def first(message, number, default):
    return next((value for name, value in fields(message) if name == number), default)


# --- messages


def new_id():
    """A UUIDv7 of now."""
    number = int(time.time() * 1000) << 80 | 7 << 76 | int.from_bytes(os.urandom(9), "big") & ~(3 << 62) & (1 << 76) - 1
    text = f"{number | 2 << 62:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def record_request(id, conversation):
    return field(1, field(1, id) + field(2, conversation) + field(4, f"says {id}"))


def list_request(page_token):
    return field(2, 200) + field(3, page_token)


# --- frames


class Connection:
    """One connection; calls may be sent before earlier ones are answered."""

    def __init__(self, address, token, timeout=60):
        self._token = token
        self._stream = -1
        self._sending = threading.Lock()
        try:
            if address.startswith("unix:"):
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(timeout)
                self._socket.connect(address[5:])
            else:
                host, port = address.rsplit(":", 1)
                self._socket = socket.create_connection((host, int(port)), timeout)
        except OSError as error:
            raise Away(str(error)) from None

    def send(self, method, payload, seconds=60):
        """- Returns: the call's stream."""
        with self._sending:
            self._stream += 2
            metadata = field(1, "authorization") + field(2, f"Bearer {self._token}")
            envelope = field(1, SERVICE) + field(2, method) + field(3, payload)
            envelope += field(4, int(seconds * 1e9)) + field(5, metadata)
            try:
                self._socket.sendall(struct.pack(">IIBB", len(envelope), self._stream, REQUEST, 0) + envelope)
            except OSError as error:
                raise Away(str(error)) from None
            return self._stream

    def receive(self):
        """- Returns: a stream, and its payload or refusal."""
        length, stream, kind, _ = struct.unpack(">IIBB", self._read(10))
        envelope = self._read(length)
        if kind != RESPONSE:
            return self.receive()
        status = first(envelope, 1, b"")
        code = first(status, 1, 0)
        if code:
            return stream, Refusal(code, first(status, 2, b"").decode())
        return stream, first(envelope, 2, b"")

    def _read(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self._socket.recv(count - len(data))
            except OSError as error:
                raise Away(str(error)) from None
            if not more:
                raise Away("the server closed the connection")
            data += more
        return data

    def call(self, method, payload, seconds=60):
        self.send(method, payload, seconds)
        answer = self.receive()[1]
        if isinstance(answer, Refusal):
            raise answer
        return answer

    def record(self, id, conversation="c", seconds=60):
        """- Returns: whether it had been recorded before."""
        answer = self.call("RecordInteraction", record_request(id, conversation), seconds)
        return bool(first(answer, 3, 0))

    def all_ids(self):
        ids, page_token = [], ""
        while True:
            page = self.call("ListInteractions", list_request(page_token))
            ids += [first(one, 1, b"").decode() for number, one in fields(page) if number == 1]
            page_token = first(page, 2, b"").decode()
            if not page_token:
                return ids

    def total(self):
        """How many there are of all times, by the statistics."""
        ever = field(9, field(1, 946684800)) + field(10, field(1, 4102444800))
        totals = first(self.call("GetStats", field(1, ever)), 1, b"")
        return first(totals, 1, 0)

    def close(self):
        self._socket.close()
