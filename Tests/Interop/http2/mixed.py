"""Both protocols on one address at once: 8 connections of each, 50,000 calls each protocol, and every answer
its own call's.

    mixed.py ADDRESS

PARLEY_TOKEN holds a token that may read. The calls ask for an id that is none, which the refusal repeats.
"""

import os
import struct
import sys
import threading
import time

import hpack
from peer import PREFACE, SERVICE, connect, field

CONNECTIONS, CALLS, AT_ONCE = 8, 50_000, 32
TOKEN = "Bearer " + os.environ.get("PARLEY_TOKEN", "")
METHOD = "GetInteraction"


class Connection:
    def __init__(self, address):
        self.socket = connect(address, within=60)
        self.buffer = b""

    def read(self, count):
        while len(self.buffer) < count:
            received = self.socket.recv(1 << 16)
            if not received:
                raise EOFError("the server closed the connection")
            self.buffer += received
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data


class GRPC(Connection):
    name = "gRPC"

    def __init__(self, address):
        super().__init__(address)
        self.decoder = hpack.Decoder()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/{METHOD}"), (":authority", "test"),
            ("te", "trailers"), ("content-type", "application/grpc"), ("authorization", TOKEN),
        ]  # fmt: skip
        # Never indexed, so that the block is the same for every call.
        self.block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*header) for header in headers])
        self.socket.sendall(PREFACE + self.frame(4, 0, 0, b"") + self.frame(8, 0, 0, struct.pack(">I", 1 << 30)))

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def request(self, stream, identity):
        message = field(1, identity)
        return self.frame(1, 4, stream, self.block) + self.frame(
            0, 1, stream, struct.pack(">BI", 0, len(message)) + message
        )

    def answer(self):
        while True:
            head = self.read(9)
            payload = self.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
            if kind == 1:
                assert flags == 5, f"flags {flags}: headers and the end of the stream are expected"
                headers = dict(self.decoder.decode(payload))
                return stream, int(headers["grpc-status"]), headers["grpc-message"]
            if kind == 4 and not flags:
                self.socket.sendall(self.frame(4, 1, 0, b""))
            elif kind == 6 and not flags:
                self.socket.sendall(self.frame(6, 1, 0, payload))
            assert kind in (4, 6, 8), f"a frame of kind {kind}"


class TTRPC(Connection):
    name = "ttRPC"

    def request(self, stream, identity):
        envelope = field(1, SERVICE) + field(2, METHOD) + field(3, field(1, identity))
        envelope += field(5, field(1, "authorization") + field(2, TOKEN))
        return struct.pack(">IIBB", len(envelope), stream, 1, 0) + envelope

    def answer(self):
        length, stream, kind, _ = struct.unpack(">IIBB", self.read(10))
        assert kind == 2
        data = self.read(length)
        # The status comes first: its code, then its message.
        place = data.index(b"\x08")
        text = data[place + 2 :].decode(errors="replace")
        return stream, data[place + 1], text


def drive(connection, number, count, failures):
    try:
        due = {}
        stream, sent = 1, 0
        while sent < count or due:
            batch = b""
            while sent < count and len(due) < AT_ONCE:
                due[stream] = f"{connection.name}-{number}-{sent}"
                batch += connection.request(stream, due[stream])
                stream, sent = stream + 2, sent + 1
            if batch:
                connection.socket.sendall(batch)
            for _ in range(max(len(due) // 2, 1)):
                answered, code, message = connection.answer()
                identity = due.pop(answered)
                assert code == 3 and f'"{identity}"' in message, f"{identity} is answered with {code} {message}"
    except BaseException as error:
        failures.append(f"{connection.name} connection {number}: {type(error).__name__} {error}")


def main():
    address = sys.argv[1]
    failures = []
    begun = time.monotonic()
    threads = [
        threading.Thread(target=drive, args=(kind(address), number, CALLS // CONNECTIONS, failures))
        for kind in (GRPC, TTRPC)
        for number in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        print("FAIL ", failure[:400])
    if failures:
        sys.exit(1)
    seconds = time.monotonic() - begun
    print(f"{CALLS} calls by gRPC and {CALLS} by ttRPC on {address}, each answered with its own, in {seconds:.0f} s")


if __name__ == "__main__":
    main()
