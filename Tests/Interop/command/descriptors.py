"""A server that has as many files open as it may."""

import socket
import time

from checks import check, require, require_equal, shortened
from crashes import CrashScenario
from workshop import Server


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


SCENARIOS = [NoDescriptors]
