"""Calls over ttRPC, Parley's framed protocol, on a plain socket.

A fork breaks nothing here, as it does in gRPC: there are no threads and no state of the process's
own, only a socket that a child can close and open anew. proto/PROTOCOL.md describes the protocol.
"""

from __future__ import annotations

import contextlib

# Looking up a host's name imports it. A thread that did so while another forked would leave the
# module locked for ever in the child.
import encodings.idna  # noqa: F401
import socket
import struct
import threading
from collections.abc import Iterable
from functools import partial

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from parley.v1.interactions_pb2 import DESCRIPTOR

from ._calls import TIMEOUT_SECONDS, Deadline
from ._channels import grpc_target
from ._tokens import TokenSource
from ._ttrpc_pb2 import KeyValue, Request, Response
from .client import ParleyClient
from .errors import Cancelled, DeadlineExceeded, ParleyError, Unavailable, error_from_status

_HEADER = struct.Struct(">IIBB")
_REQUEST, _RESPONSE = 1, 2
_RESPONSE_BYTES_MAX = 16 * 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
_FOREIGN = "what answers does not speak ttRPC"
_SERVICE = DESCRIPTOR.services_by_name["InteractionService"]

Metadata = Iterable[tuple[str, str]]


class FramedClient(ParleyClient):
    """`ParleyClient` over ttRPC, unencrypted. Its calls go one after the other, each once."""

    def __init__(
        self, address: str, token: TokenSource, *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        stub = _FramedStub(address)
        self._use(stub.close, stub, token, timeout)
        self._abandon = stub.abandon

    def abandon(self) -> None:
        """In a forked child: closes the connection here; the parent goes on with it."""
        self._abandon()


class _FramedStub:
    """The service's methods, as gRPC's generated stub has them; what fails is a `ParleyError`."""

    def __init__(self, address: str) -> None:
        grpc_target(address)
        self._address = address
        self._calling = threading.Lock()
        self._connection: _Connection | None = None
        self._closed = False
        for method in _SERVICE.methods:
            setattr(self, method.name, partial(self._call, method))

    def close(self) -> None:
        self._closed = True
        connection = self._connection
        if connection is not None:
            connection.interrupt()
        if self._calling.acquire(blocking=False):
            # No call is under way that would close it.
            self.abandon()
            self._calling.release()

    def abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _call(
        self, method: MethodDescriptor, request: Message, *, timeout: float, metadata: Metadata
    ) -> Message:
        deadline = Deadline(timeout)
        envelope = Request(
            service=_SERVICE.full_name,
            method=method.name,
            payload=request.SerializeToString(),
            # Not 0, which would mean no deadline.
            timeout_nano=max(1, int(timeout * 1e9)),
            metadata=[KeyValue(key=key, value=value) for key, value in metadata],
        ).SerializeToString()
        with self._calling:
            data = self._exchange(envelope, deadline, timeout)
        try:
            response = Response.FromString(data)
            if response.status.code:
                raise error_from_status(response.status)
            answer: Message = GetMessageClass(method.output_type).FromString(response.payload)
        except DecodeError as error:
            raise Unavailable(_FOREIGN) from error
        return answer

    def _exchange(self, envelope: bytes, deadline: Deadline, timeout: float) -> bytes:
        used = self._connection is not None
        try:
            return self._try(envelope, deadline)
        except Unavailable:
            if not used or deadline.left() < timeout / 2:
                raise
            # The service had ended an idle connection, as it does when it is restarted.
            return self._try(envelope, deadline)

    def _try(self, envelope: bytes, deadline: Deadline) -> bytes:
        try:
            if self._connection is None:
                self._connection = _Connection(self._address, deadline)
            if self._closed:
                raise OSError("the client is closed")
            return self._connection.exchange(envelope, deadline)
        except (OSError, ParleyError) as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.reset()
            raise self._failure(error, connection is not None) from error

    def _failure(self, error: OSError | ParleyError, connected: bool) -> ParleyError:
        if self._closed:
            return Cancelled("the client was closed")
        if isinstance(error, ParleyError):
            return error
        if not connected:
            return Unavailable(f"cannot connect to {self._address}: {error}")
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(f"{self._address} has not answered in time")
        return Unavailable(f"the connection to {self._address} ended without an answer: {error}")


class _Connection:
    """A socket, and the streams counted on it."""

    def __init__(self, address: str, deadline: Deadline) -> None:
        """Raises OSError."""
        self._socket = _connect(address, deadline)
        self._stream = 1

    def exchange(self, envelope: bytes, deadline: Deadline) -> bytes:
        """Sends a request and reads its response. Raises OSError, TimeoutError, Unavailable."""
        stream, self._stream = self._stream, self._stream + 2
        self._limit(deadline)
        self._socket.sendall(_HEADER.pack(len(envelope), stream, _REQUEST, 0) + envelope)
        while True:
            length, answered, kind, _ = _HEADER.unpack(self._read(_HEADER.size, deadline))
            if length > _RESPONSE_BYTES_MAX:
                raise Unavailable(_FOREIGN)
            data = self._read(length, deadline)
            if (answered, kind) == (stream, _RESPONSE):
                return data

    def interrupt(self) -> None:
        """Makes another thread's exchange fail."""
        with contextlib.suppress(OSError):  # It may have ended by itself.
            self._socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Ends it, and takes back what the kernel has not sent yet: it would fill a slow link."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.interrupt()
        self.close()

    def close(self) -> None:
        self._socket.close()

    def _read(self, count: int, deadline: Deadline) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._limit(deadline)
            piece = self._socket.recv(min(count - len(data), 1 << 20))
            if not piece:
                raise ConnectionError("the peer has closed it")
            data += piece
        return bytes(data)

    def _limit(self, deadline: Deadline) -> None:
        left = deadline.left()
        if not left:
            raise TimeoutError
        self._socket.settimeout(left)


def _connect(address: str, deadline: Deadline) -> socket.socket:
    left = deadline.left()
    if not left:
        raise TimeoutError("no time is left")
    scheme, _, path = address.partition(":")
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(left)
            connection.connect(path)
        except BaseException:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host.strip("[]"), int(port)), left)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
