"""The calls that checks make, and what they expect of the server."""

import os
import time

from peer import HEALTH, SERVICE, Closed, field, framed

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
