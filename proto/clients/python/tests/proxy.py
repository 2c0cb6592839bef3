"""A TCP proxy that can be cut, restored, slowed and made to hang: a service that comes and goes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from types import TracebackType


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes bytes on to ``target`` (HOST:PORT).

    With ``tls`` it ends TLS itself, so that the service behind it speaks plainly.
    """

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host.strip("[]"), int(port))
        self._tls = tls
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._link = threading.Lock()
        self._rate: float | None = None
        self.carried = 0
        """Bytes that went to the service."""
        self._listener = self._listen(0)
        self._port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Ends every connection and refuses new ones."""
        with self._lock:
            _shut(self._listener)
            for one in self._sockets:
                _shut(one)
            self._sockets.clear()
        self._flowing.set()

    def restore(self) -> None:
        """Lets connections through again, at the same address."""
        self._listener = self._listen(self._port)

    def hang(self) -> None:
        """Keeps connections, and takes new ones, but passes nothing on until `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def forget(self) -> None:
        """Lets the connections there are pass nothing on for ever, unclosed, and new ones all."""
        self.hang()
        self._flowing = threading.Event()
        self._flowing.set()

    def throttle(self, bytes_per_second: float | None) -> None:
        """Lets no more than this through to the service, on all connections that come together."""
        self._rate = bytes_per_second
        self._narrow(self._listener)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        self._narrow(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _narrow(self, listener: socket.socket) -> None:
        if self._rate is not None:
            # A slow link has no megabytes on the way. What is accepted has the listener's buffer.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._serve, args=(listener, near), daemon=True).start()

    def _serve(self, listener: socket.socket, near: socket.socket) -> None:
        try:
            if self._tls is not None:
                near = self._tls.wrap_socket(near, server_side=True)
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        with self._lock:
            if listener.fileno() == -1:
                near.close()
                far.close()
                return
            self._sockets |= {near, far}
        threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
        self._pump(far, near, False)

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        flowing = self._flowing
        with contextlib.suppress(OSError):
            while data := source.recv(2048 if up and self._rate else 65536):
                flowing.wait()
                if up:
                    with self._link:
                        self.carried += len(data)
                        if self._rate:
                            time.sleep(len(data) / self._rate)
                sink.sendall(data)
        _shut(source)
        _shut(sink)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
