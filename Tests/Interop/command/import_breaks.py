"""`parley import` that is broken off, and goes on."""

import json
import re
import signal
import subprocess
import threading
import time

from checks import check, eventually, require, require_equal
from importing import ImportScenario, line, lines_of
from servers import Server


class BrokenOff(ImportScenario):
    """Imports that are killed, and servers that are killed under them."""

    def prepare(self):
        self.secret = self.workshop.new_secret(self.folder)
        url = self.workshop.shared_postgres().new_database("broken")
        flags = ["--database-url", url, "--jwt-secret-file", self.secret]
        self.server = Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False).start()

    def finish(self):
        self.server.end()

    def _feed(self, caller, content, **options):
        """An import whose standard input is ours, with so much of it written."""
        child = caller.popen(
            "import", "-", "--json", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        child.stdin.write(content)
        child.stdin.flush()
        return child

    @check
    def killedImportIsTakenUpAgain(self):
        caller = self._new_caller("killed")
        content = [line(number % 2700) for number in range(3000)]
        child = self._feed(caller, lines_of(content[:2000]))
        eventually(lambda: caller.total() >= 500, "a good part is imported")
        child.kill()
        child.communicate()
        there = caller.total()
        require(0 < there < 3000, f"{there} were there when it was killed")
        report, _ = self._import(caller, self._write("killed", content))
        require_equal((report["imported"], report["already_recorded"]), (3000 - there, there), "the counts of the rest")
        require_equal(caller.total(), 3000, "the interactions")
        require_equal(len({one["id"] for one in caller.everything()}), 3000, "the different ids")

    @check
    def importOutlivesItsServer(self):
        caller = self._new_caller("outlives")
        content = [line(number) for number in range(4000)]
        child = self._feed(caller, lines_of(content[:2000]))
        eventually(lambda: caller.total() >= 500, "some are imported")
        self.server.kill()
        feeding = threading.Thread(target=self._finish_feeding, args=(child, lines_of(content[2000:])))
        feeding.start()
        time.sleep(0.5)
        self.server._listen = self.server.addresses
        self.server.start()
        feeding.join(60)
        out, err = child.stdout.read(), child.stderr.read()
        require_equal(child.wait(60), 0, f"the status ({err.decode()})")
        report = json.loads(out)
        require_equal(report["imported"] + report["already_recorded"], 4000, "imported and already there together")
        require_equal(caller.total(), 4000, "the interactions")

    def _finish_feeding(self, child, content):
        child.stdin.write(content)
        child.stdin.close()

    @check
    def importWithoutItsScopeEnds(self):
        token = self.server.token("reader", "--scope", "analytics:view")
        path = self._write("scope", [line(number) for number in range(3000)])
        ran = self.workshop.run("import", path, env={"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token})
        ran.refused("PERMISSION_DENIED", "interactions:record")

    @check
    def interruptedImportSaysHowFarItCame(self):
        for with_signal in (signal.SIGINT, signal.SIGTERM):
            caller = self._new_caller(f"interrupted {with_signal}")
            content = lines_of([line(number) for number in range(1000)])
            child = self._feed(caller, content)
            eventually(lambda: caller.total() >= 500, "some are imported")
            child.send_signal(with_signal)
            out, err = child.communicate(timeout=60)
            require_equal(child.returncode, 128 + with_signal, "the status")
            require_equal(out, b"", "standard output")
            told = re.fullmatch(
                rb"interrupted: of (\d+) lines read, (\d+) were imported, 0 were already there, 0 were bad and (\d+) may"
                rb" have been imported; import the same lines again to go on: nothing is added twice\n",
                err,
            )
            require(told, f"it says {err!r}")
            read, imported, perhaps = map(int, told.groups())
            require(imported + perhaps == read <= 1000, f"it says {err!r}")
            require(imported <= caller.total() <= read, f"{caller.total()} are there, it says {err!r}")
            report, _ = self._import(caller, "-", input=content)
            require_equal(report["imported"] + report["already_recorded"], 1000, "the lines imported again")
            require_equal(caller.total(), 1000, "the interactions")

    @check
    def importThatIsBrokenOffSaysHowFarItCame(self):
        token = self.server.token("reader", "--scope", "analytics:view")
        path = self._write("refused", [line(number) for number in range(10)])
        env = {"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": token}
        ran = self.workshop.run("import", path, env=env)
        ran.refused("PERMISSION_DENIED", "broken off: of 10 lines read, 0 were imported")

    @check
    def terminalShowsProgress(self):
        caller = self._new_caller("terminal")
        path = self._write("terminal", [line(number, agent_response="x" * 500) for number in range(4500)])
        shown, status = self._import_on_a_terminal(caller, path)
        require_equal(status, 0, f"the status ({shown[-300:]!r})")
        bars = re.findall(r"\r\x1b\[K\[(#*)(\.*)\] (\d+)%", shown)
        require(bars, f"no bar was shown: {shown[:300]!r}")
        require_equal({len(done) + len(rest) for done, rest, _ in bars}, {40}, "the bar's length")
        shares = [int(share) for _, _, share in bars]
        require(shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 100, f"the shares are {shares}")
        require(shown.endswith("\r\x1b[K"), f"the bar is not cleared at the end: {shown[-60:]!r}")

    @check
    def badLineOnATerminalHasALineOfItsOwn(self):
        caller = self._new_caller("terminal bad")
        content = [line(number, agent_response="x" * 500) for number in range(4500)]
        content[3500] = b"not json\n"
        shown, status = self._import_on_a_terminal(caller, self._write("terminal bad", content))
        require_equal(status, 1, "the status")
        row = next(row for row in shown.split("\n") if "line 3501" in row)
        require(re.search("(^|\r|\x1b\\[K)line 3501:", row), f"a bar stays before the bad line: {row!r}")

    @check
    def pipeShowsNoProgress(self):
        caller = self._new_caller("pipe")
        path = self._write("pipe", [line(number, agent_response="x" * 500) for number in range(4500)])
        child = caller.popen("import", path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._hold_the_server()
        out, err = child.communicate(timeout=60)
        require_equal(child.returncode, 0, f"the status ({err})")
        require_equal(err, b"", "standard error")
        require(b"\r" not in out and b"\x1b" not in out, f"standard output is {out!r}")

    def _hold_the_server(self):
        """So long that a bar has to be shown, however fast the machine is."""
        self.server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        self.server.process.send_signal(signal.SIGCONT)

    def _import_on_a_terminal(self, caller, path):
        """- Returns: all that standard error showed, and the status."""
        child, shown = caller.on_terminal("import", path)
        holding = threading.Thread(target=self._hold_the_server)
        holding.start()
        text = shown()
        holding.join()
        return text, child.wait(60)


SCENARIOS = [BrokenOff]
