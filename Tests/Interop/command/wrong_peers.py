"""`parley record` where nobody, or somebody else, listens."""

import socket
import subprocess
import threading
import time

from checks import check, require, require_equal
from recording import RecordScenario
from ttrpc import new_id
from workshop import Outcome


class WrongPeers(RecordScenario):
    """What the command says when there is nobody to talk to, or they do not understand each other."""

    def prepare(self):
        super().prepare()
        self.silent = self._listener()
        self.web = self._listener()
        threading.Thread(target=self._answer_as_a_web_server, daemon=True).start()
        self.absent = f"unix:{self.folder}/absent"
        # All at once, for each may try again for a while before it gives up.
        addresses = [
            self._address(self.silent),
            self._address(self.web),
            self.absent,
            "127.0.0.1:1",
            "host.invalid:7310",
        ]
        self.asked = {address: self._ask(address) for address in addresses}
        self.recording = self._ask(self.absent, "record", "--conversation", "c")

    def finish(self):
        self.silent.close()
        self.web.close()

    def _listener(self):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return listener

    def _address(self, listener):
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def _answer_as_a_web_server(self):
        while True:
            try:
                connection, _ = self.web.accept()
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                connection.close()
            except OSError:
                return

    def _ask(self, address, *question):
        pipe = subprocess.PIPE
        question = question or ["list"]
        return self.caller.popen(*question, "--address", address, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)

    def _answer(self, address):
        return self._outcome(self.asked[address])

    def _outcome(self, child):
        out, err = child.communicate(timeout=60)
        return Outcome(child.returncode, out, err)

    @check
    def madeIdIsToldForTheNextTry(self):
        self._outcome(self.recording).refused("\nRetry with --id [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.")

    @check
    def addressIsAskedFor(self):
        self.workshop.run("list", env={"PARLEY_TOKEN": "x"}).refused("--address", "PARLEY_ADDRESS", "unix:PATH")

    @check
    def tokenIsAskedFor(self):
        self.workshop.run("list", env={"PARLEY_ADDRESS": "unix:/x"}).refused(
            "--token-file", "PARLEY_TOKEN", "parley token"
        )

    @check
    def unusableAddressIsRefused(self):
        self.workshop.run("list", env=self.caller.env | {"PARLEY_ADDRESS": ""}).refused("PARLEY_ADDRESS is empty")
        self.caller.run("list", "--address", "unix:/" + "x" * 119).refused("107 bytes", "this path has 120")
        self.caller.run("list", "--address", "127.0.0.1:0").refused("port 0", "parley serve")

    @check
    def malformedAddressIsRefused(self):
        for address in ("nonsense", "unix:", "127.0.0.1:99999", "http://127.0.0.1:80"):
            self.caller.run("list", "--address", address).refused(address, "unix:PATH", "HOST:PORT")

    @check
    def addressFlagGoesOverTheEnvironment(self):
        self.caller.run("list", "--address", self.server.tcp, env={"PARLEY_ADDRESS": "unix:/nowhere"}).succeeded()

    @check
    def absentServerIsToldOverTCP(self):
        self._answer("127.0.0.1:1").refused("127\\.0\\.0\\.1:1", "connection", "refused", "parley serve", "--address")

    @check
    def absentServerIsToldOverASocket(self):
        self._answer(self.absent).refused(self.absent, "connection", "no such file", "parley serve", "--address")

    @check
    def readsDoNotWaitLongForAnAbsentServer(self):
        for command in (["list"], ["stats"], ["get", new_id()]):
            ran = self.caller.run(*command, "--address", "127.0.0.1:1").refused("refused")
            require(ran.seconds < 5, f"{command[0]} takes {ran.seconds:.1f} s to say that nobody listens")

    @check
    def readsWaitForAServerThatRestarts(self):
        self._answered_when_listening("list", "--page-size", "1")

    @check
    def recordWaitsForAServerAndSaysSoOnATerminal(self):
        said = self._answered_when_listening("record", "--conversation", "late", seconds=5)
        require_equal(said.count("trying again, for 30 s at most"), 1, f"notices in {said!r}")

    @check
    def importWaitsForAServerAndSaysSoOnATerminal(self):
        path = self.folder / "late.jsonl"
        path.write_text('{"conversation_id": "late", "created_at_ms": 1714896000000}\n' * 1200)
        said = self._answered_when_listening("import", path, seconds=5)
        require_equal(said.count("trying again, for 30 s at most"), 1, f"notices in {said!r}")

    def _answered_when_listening(self, *command, seconds=1):
        """The command succeeds though its server comes so many seconds late.

        - Returns: what it says on its terminal.
        """
        address = self._address(late := self._listener())
        late.close()
        child, shown = self.caller.on_terminal(*command, "--address", address)
        time.sleep(seconds)
        relay = self._relay(address)
        said, status = shown(), child.wait(60)
        relay.close()
        require_equal(status, 0, f"the status (it said {said!r})")
        return said

    def _relay(self, address):
        """Listens there for the server."""
        host, port = address.split(":")
        listener = socket.create_server((host, int(port)))

        def accept():
            while True:
                try:
                    ours, _ = listener.accept()
                except OSError:
                    return
                theirs = socket.socket(socket.AF_UNIX)
                theirs.connect(self.server.unix.removeprefix("unix:"))
                for pair in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener

    def _pass_on(self, source, target):
        try:
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @check
    def unknownHostIsTold(self):
        self._answer("host.invalid:7310").refused("host\\.invalid")

    @check
    def silentPeerIsTold(self):
        self._answer(self._address(self.silent)).refused("DEADLINE_EXCEEDED|no answer|UNAVAILABLE", "nothing was changed: try again|no connection")

    @check
    def peerOfAnotherProtocolIsTold(self):
        """A web server, as at a mistyped port: its text is no frame, and nobody's message is too large."""
        answer = self._answer(self._address(self.web)).refused()
        require("send less" not in answer.err, f"it blames the caller: {answer.err!r}")
        answer.says_plainly(self._address(self.web))


SCENARIOS = [WrongPeers]
