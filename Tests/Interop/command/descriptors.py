"""A server that has as many files open as it may."""

import socket
import time

from checks import Scenario, check, eventually, require, require_equal, shortened
from crashes import CrashScenario
from servers import Server


class NoDescriptors(CrashScenario):
    """More connections than the server may have files open: its PostgreSQL is not taken for dead."""

    def prepare(self):
        limit = ["/usr/bin/prlimit", "--nofile=256:256", "--"]
        self.server = Server(self.workshop, self.folder / "data", prefix=limit).start()
        self.writers = None
        self.caller = self.server.caller("acme")
        self.caller.record(conversation_id="before")
        self.postmaster = self.server.postmaster()
        self.crowd = []

    def finish(self):
        self._disperse()
        super().finish()

    def _disperse(self):
        for one in self.crowd:
            one.close()
        self.crowd = []

    @check
    def crowdOfConnectionsLeavesPostgreSQLAlone(self):
        for _ in range(300):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            try:
                one.connect(str(self.server.socket))
            except BlockingIOError:
                pass
            self.crowd.append(one)
        # The keeper looks once a second.
        for _ in range(40):
            require(self.server.postmaster() == self.postmaster, "the postmaster, or its file, is gone")
            time.sleep(0.1)
        require("starting it again" not in self.server.err, f"it says {shortened(self.server.err)}")

    @check
    def serverWorksOnceTheCrowdIsGone(self):
        self._disperse()
        self.caller.record(conversation_id="after")
        require_equal(self.caller.total(), 2, "the interactions")
        require_equal(self.server.postmaster(), self.postmaster, "the postmaster")

    @check
    def serverStopsAndStartsAfterwards(self):
        require_equal(self.server.stop(), 0, "the status")
        require_equal(self.server.postgres_processes(), [], "PostgreSQL's processes")
        self.server.start(seconds=15)
        require_equal(self.caller.total(), 2, "the interactions")


def connect(address):
    if address.startswith("unix:"):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(address[5:])
        return peer
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def is_closed(peer):
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


class FewDescriptors(Scenario):
    """256 files, and strangers who would take them all."""

    def prepare(self):
        self.server = Server(self.workshop, self.folder / "data", prefix=("prlimit", "--nofile=256:256", "--")).start()
        self.caller = self.server.caller("acme")
        self.recorded = self.caller.record(conversation_id="first")["interaction_id"]

    def finish(self):
        self.server.end()

    @check
    def smallLimitIsToldWithItsRemedy(self):
        warning = next((line for line in self.server.err.splitlines() if "open files allows" in line), "")
        for word in ("256", "128 connections", "ulimit"):
            require(word in warning, f"the warning does not say {word}: {self.server.err}")

    @check
    def strangersDoNotTakeWhatTheServerNeeds(self):
        postmaster = self.server.postmaster()
        strangers = [connect(self.server.tcp) for _ in range(300)]
        eventually(lambda: sum(map(is_closed, strangers)) >= 300 - 128, "the oldest made room")
        for address in self.server.addresses:
            found = self.workshop.run("get", self.recorded, "--json", env=self.caller.env | {"PARLEY_ADDRESS": address})
            found.succeeded()
        require_equal(self.server.postmaster(), postmaster, "the postmaster")
        for stranger in strangers:
            stranger.close()

    @check
    def tooSmallALimitIsRefused(self):
        other = self.workshop.run("serve", "--data", self.folder / "other", prefix=("prlimit", "--nofile=100:100", "--"))
        other.refused("100 open files", "ulimit")


SCENARIOS = [NoDescriptors, FewDescriptors]
