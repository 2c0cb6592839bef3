"""`parley import` at a server that has no room for the moment."""

import socket
import struct
import threading

from checks import Scenario, check, require_equal
from importing import line, lines_of
from ttrpc import RESOURCE_EXHAUSTED, UNAVAILABLE, field, fields, first


class BusyService(threading.Thread):
    """Speaks the protocol and keeps nothing: it has no room for the first calls, nor for some of the next one's lines."""

    def __init__(self, path, refusals):
        super().__init__(daemon=True)
        self.calls = []
        self._refusals = refusals
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def run(self):
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(10):
                length, number, _, _ = struct.unpack(">IIBB", head)
                lines = [one for name, one in fields(first(stream.read(length), 3, b"")) if name == 1]
                self.calls.append(len(lines))
                reply = self._reply(lines)
                connection.sendall(struct.pack(">IIBB", len(reply), number, 2, 0) + reply)

    def _reply(self, lines):
        if len(self.calls) <= self._refusals:
            return field(1, self._status(RESOURCE_EXHAUSTED, "OVERLOADED"))
        is_next = len(self.calls) == self._refusals + 1
        results = [self._result(line, UNAVAILABLE if is_next and place % 2 else 0) for place, line in enumerate(lines)]
        return field(2, b"".join(field(1, result) for result in results))

    def _result(self, line, code):
        if code:
            return field(4, self._status(code, "DATABASE_UNAVAILABLE"))
        return field(1, first(line, 1, b"")) + field(2, field(1, 1714896000))

    @staticmethod
    def _status(code, reason):
        retry = field(1, "type.googleapis.com/google.rpc.RetryInfo") + field(2, field(1, field(2, 20_000_000)))
        info = field(1, "type.googleapis.com/google.rpc.ErrorInfo") + field(2, field(1, reason) + field(2, "parley"))
        return field(1, code) + field(2, "come again") + field(3, info) + field(3, retry)


class BusyServer(Scenario):
    """A server without room for the moment says so, and does not end an import."""

    @check
    def importOutlivesABusyServer(self):
        service = BusyService(self.folder / "s", refusals=3)
        service.start()
        path = self.folder / "lines"
        path.write_bytes(lines_of([line(number) for number in range(10)]))
        env = {"PARLEY_ADDRESS": f"unix:{self.folder / 's'}", "PARLEY_TOKEN": "any"}
        ran = self.workshop.run("import", path, env=env).succeeded()
        require_equal(ran.out, "imported 10, already there 0, bad 0, other tenants' 0\n", "standard output")
        require_equal(service.calls, [10, 10, 10, 10, 5], "the lines of each call")


SCENARIOS = [BusyServer]
