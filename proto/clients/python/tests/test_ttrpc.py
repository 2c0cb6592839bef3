"""The recorder's calls over ttRPC: against the service, and against peers that misbehave."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import Service
from proxy import Proxy

from parley_client import (
    Cancelled,
    DeadlineExceeded,
    Interaction,
    InteractionFilter,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    uuid7,
)
from parley_client._ttrpc import FramedClient


@pytest.fixture(params=["tcp", "unix"])
def framed(request: pytest.FixtureRequest, service: Service) -> Iterator[FramedClient]:
    address = service.address if request.param == "tcp" else service.unix_address
    client = FramedClient(address, service.token)
    yield client
    client.close()


def test_it_is_the_whole_client(framed: FramedClient, conversation: str) -> None:
    alone = framed.record(Interaction(conversation_id=conversation, customer_message="Grüße"))
    assert framed.get(alone.id).customer_message == "Grüße"
    turns = [Interaction(conversation_id=conversation, confidence_score=n) for n in range(3)]
    good, other, bad = framed.record_many(turns)
    assert not isinstance(good, Exception)
    assert not isinstance(other, Exception)
    assert isinstance(bad, InvalidArgument)
    wanted = InteractionFilter(conversation_id=conversation)
    assert len(list(framed.list(wanted, page_size=2))) == 3
    assert framed.stats(wanted).totals.total_interactions == 3


def test_a_batch_as_large_as_they_are(framed: FramedClient, conversation: str) -> None:
    text = "x" * 65_000
    turns = [Interaction(conversation_id=conversation, customer_message=text) for _ in range(48)]
    assert not any(isinstance(outcome, Exception) for outcome in framed.record_many(turns))


def test_errors_have_their_details(service: Service, framed: FramedClient) -> None:
    with pytest.raises(InvalidArgument) as invalid:
        framed.record(Interaction(confidence_score=7))
    assert "confidence_score" in str(invalid.value.field_violations)
    with pytest.raises(NotFound):
        framed.get(uuid7())
    with pytest.raises(Unauthenticated), FramedClient(service.address, "nonsense") as stranger:
        stranger.stats()
    with pytest.raises(PermissionDenied), FramedClient(service.address, service.read_token) as one:
        one.record(Interaction(conversation_id="c"))


def test_a_token_is_asked_for_again_when_it_is_refused(service: Service) -> None:
    tokens = ["nonsense", service.token]
    with FramedClient(service.address, lambda: tokens.pop(0)) as client:
        client.stats()
    assert tokens == []


def test_a_connection_that_ended_while_idle_is_no_failure(service: Service, proxy: Proxy) -> None:
    with FramedClient(proxy.address, service.token) as client:
        client.stats()
        proxy.cut()
        proxy.restore()
        client.stats()
        proxy.cut()
        with pytest.raises(Unavailable, match="cannot connect"):
            client.stats()
        proxy.restore()
        client.stats()


def test_a_deadline(service: Service, proxy: Proxy) -> None:
    with FramedClient(proxy.address, service.token) as client:
        client.stats()
        proxy.hang()
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.stats(timeout=0.3)
        assert time.monotonic() - begin >= 0.3
        proxy.resume()
        client.stats()


def test_closing_ends_a_call(service: Service, proxy: Proxy) -> None:
    proxy.hang()
    client = FramedClient(proxy.address, service.token, timeout=60)
    threading.Timer(0.2, client.close).start()
    with pytest.raises(Cancelled):
        client.stats()
    with pytest.raises(Cancelled):
        client.stats()


def test_no_service_at_all(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", "unix:/nowhere/parley.sock", "nowhere.invalid:1"):
        with pytest.raises(Unavailable, match="cannot connect"):
            FramedClient(address, service.token).stats()


@contextmanager
def peer(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Answers the first frame of each connection, and ends it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(answer(connection.recv(1 << 20)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def frame(data: bytes, stream: int = 1, kind: int = 2) -> bytes:
    return struct.pack(">IIBB", len(data), stream, kind, 0) + data


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
        b"\0\0",
        frame(b"")[:-1] + b"\1",
        frame(b"no protobuf"),
        frame(b"\x12\x05wrong"),
        struct.pack(">IIBB", 0xFFFFFFFF, 1, 2, 0),
    ],
)
def test_peers_that_speak_something_else(answer: bytes) -> None:
    with peer(lambda _: answer) as address, FramedClient(address, "t", timeout=5) as client:
        if answer[-1:] == b"\1":
            client.stats()  # Flags of a response mean nothing here.
        else:
            with pytest.raises(Unavailable):
                client.stats()


def test_frames_that_are_not_the_answer_are_passed_over() -> None:
    noise = frame(b"older", stream=99) + frame(b"data", kind=3)
    with peer(lambda _: noise + frame(b"")) as address, FramedClient(address, "t") as client:
        assert client.stats().totals.total_interactions == 0


def test_a_child_leaves_the_connection_to_its_parent(service: Service) -> None:
    client = FramedClient(service.address, service.token)
    client.stats()
    child = os.fork()
    if child == 0:
        try:
            client.abandon()
            client.stats()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    client.stats()
    client.close()
