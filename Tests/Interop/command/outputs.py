"""Where a command's output goes: disks that are full, readers that went away, streams that are closed."""

import json
import os
import re
import subprocess

from checks import Scenario, check, eventually, require, require_equal
from servers import EVER, Server

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
# By the shell, which can close what a parent cannot.
CLOSED_OUTPUT = ["/bin/sh", "-c", 'exec "$@" >&-', "sh"]
CLOSED_INPUT = ["/bin/sh", "-c", 'exec "$@" <&-', "sh"]
CLOSED_ERROR = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh"]
FULL_ERROR = ["/bin/sh", "-c", 'exec "$@" 2>/dev/full', "sh"]
ALL_CLOSED = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]


class Outputs(Scenario):
    """What cannot be written was not done, and is told."""

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)
        self.url = self.postgres.new_database("outputs")
        flags = ["--database-url", self.url, "--jwt-secret-file", self.secret]
        self.server = Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False).start()
        self.caller = self.server.caller("acme")
        self.recorded = self.caller.record(conversation_id="c", created_at="2024-05-05T10:00:00Z")["interaction_id"]
        self.good = self.folder / "good.jsonl"
        self.good.write_text(json.dumps({"conversation_id": "c", "created_at_ms": 1714896000000}) + "\n")
        self.bad = self.folder / "bad.jsonl"
        self.bad.write_text("not json\n" * 3)

    def finish(self):
        self.server.end()

    def _commands(self):
        database = ["--database-url", self.url]
        reads = [["get", self.recorded], ["list", *EVER], ["stats", *EVER]]
        both = [*reads, ["record", "--conversation", "c"], ["import", self.good]]
        return [
            *both,
            *([*command, "--json"] for command in both),
            ["list", "--model", "none"],
            ["migrate", *database],
            ["migrate", "--plan", *database],
            ["verify", *database],
            ["token", "--tenant", "acme", "--jwt-secret-file", self.secret],
            ["version"],
            ["--version"],
            ["--help"],
            ["help", "list"],
            [],
            ["bench", "record", "--duration", "0.2", "--jwt-secret-file", self.secret],
        ]

    def _run(self, command, **options):
        with_stdout = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE} | options
        child = self.workshop.popen(
            [*with_stdout.pop("prefix", []), self.workshop.parley, *command], self.caller.env, **with_stdout
        )
        out, err = child.communicate(timeout=60)
        return child.returncode, (out or b"").decode(), (err or b"").decode()

    @check
    def fullDiskIsStatusOneAndTold(self):
        for command in self._commands():
            with open("/dev/full", "wb") as full:
                status, _, err = self._run(command, stdout=full)
            require_equal(status, 1, f"the status of {command} ({err})")
            require("standard output cannot be written: No space left on device" in err, f"{command} says {err!r}")

    @check
    def recordedInteractionIsToldOnAFullDisk(self):
        """A retry that knows nothing of it would record another."""
        command = ["record", "--conversation", "full disk", "--customer", "once"]
        with open("/dev/full", "wb") as full:
            _, _, err = self._run(command, stdout=full)
        told = re.search("the interaction (\\S+) was recorded .a retry with (--id) (\\S+) adds nothing", err)
        require(told, f"it says {err!r}")
        again = self.caller.run(*command, *told.groups()[1:]).succeeded().out
        require_equal(again, f"already recorded {told[1]}\n", "the answer to a retry")

    @check
    def closedInputIsStatusOneAndTold(self):
        for command in (["import", "-"], ["record"]):
            status, out, err = self._run(command, prefix=CLOSED_INPUT, stdout=subprocess.PIPE)
            require_equal((status, out), (1, ""), f"the end of {command}")
            require("standard input cannot be read: Bad file descriptor" in err, f"{command} says {err!r}")

    @check
    def closedOutputIsStatusOneAndTold(self):
        for command in self._commands():
            status, _, err = self._run(command, prefix=CLOSED_OUTPUT, stdout=subprocess.DEVNULL)
            require_equal(status, 1, f"the status of {command} ({err})")
            require("standard output cannot be written: Bad file descriptor" in err, f"{command} says {err!r}")

    @check
    def readerThatWentAwayIsNoNews(self):
        for command in self._commands():
            reader, writer = os.pipe()
            os.close(reader)
            status, _, err = self._run(command, stdout=writer)
            os.close(writer)
            require_equal(status, 1, f"the status of {command}")
            require("standard output" not in err, f"{command} says {err!r}")

    @check
    def closedOutputGoesToNobodyElse(self):
        """The lowest free number would be the next connection's."""
        status, _, _ = self._run(["record", "--conversation", "lost words"], prefix=ALL_CLOSED, stdout=subprocess.DEVNULL)
        require_equal(status, 1, "the status")
        require_equal(len(self.caller.list("--conversation", "lost words", *EVER)), 1, "the interactions")

    @check
    def nothingCrashesWithoutStandardError(self):
        for prefix in (CLOSED_ERROR, FULL_ERROR):
            for command in self._commands():
                status, out, _ = self._run(command, prefix=prefix, stdout=subprocess.PIPE)
                require_equal(status, 0, f"the status of {command}")
                require(out, f"{command} prints nothing")
            refusals = [["import", self.bad], ["get", "17"], ["list", "--nonsense"], ["migrate"], ["serve"]]
            for command in refusals:
                status, _, _ = self._run(command, prefix=prefix, stdout=subprocess.PIPE)
                require(0 < status < 128, f"{command} ends with {status}")

    @check
    def serverGoesOnWithoutItsStreams(self):
        for prefix in (CLOSED_ERROR, FULL_ERROR, ALL_CLOSED):
            flags = ["--database-url", self.url, "--jwt-secret-file", self.secret, "--log-level", "trace"]
            server = Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False, prefix=prefix)
            server.launch()
            try:
                eventually(server.socket.exists, "it listens")
                server.addresses = [f"unix:{server.socket}"]
                require(server.caller("acme").total() > 0, "it answers nothing")
                require_equal(server.stop(), 0, "the status")
            finally:
                server.end()


SCENARIOS = [Outputs]
