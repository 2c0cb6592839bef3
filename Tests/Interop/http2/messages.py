"""What gRPC makes of HTTP/2: methods, paths, messages, timeouts and trailers."""

import base64
import gzip
import time
import urllib.parse
import zlib

from hyperframe.frame import DataFrame, RstStreamFrame
from expectations import (
    AUTHORIZED, CHECK, DEADLINE_EXCEEDED, GET, INTERNAL, INVALID_ARGUMENT, LIST, MESSAGE_BYTES_MAX, RECORD,
    RESOURCE_EXHAUSTED, SERVING, UNIMPLEMENTED, WATCH, check, expect_error, expect_serving, record_large,
)  # fmt: skip
from peer import CANCEL, PROTOCOL_ERROR, SERVICE, Closed, Peer, field, framed


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
