"""Servers of a workshop, and who calls them."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

from checks import Mismatch, eventually, require, require_equal, shortened
from processes import kill_all, postgres_binaries, processes_in
from ttrpc import Connection


START_SECONDS = 40
STOP_SECONDS = 40
EVER = ["--from", "2000-01-01", "--to", "2100-01-01"]


class Server:
    """A `parley serve`."""

    def __init__(
        self, workshop, data, *flags, listen=None, env=None, prefix=(), secret=None, keep_data=True, **options
    ):
        """
        data: its folder; secret: a file, where it is not the one in there; listen: the addresses, where
        None stands for a Unix socket and a port, [] for what it chooses itself; options: of its process.
        """
        self.workshop = workshop
        self.data = Path(data)
        self.secret = secret
        self._flags = list(flags)
        self._keep_data = keep_data
        self._listen = listen
        self._env = env
        self._prefix = list(prefix)
        self._options = options
        # Beside the data: a fresh folder is to stay fresh.
        self.socket = workshop.new_folder("u") / "s"
        if "user" in options:
            os.chown(self.socket.parent, options["user"], options["group"])
        self._notes = workshop.new_folder("o")
        self._launches = 0
        self.process = None
        self.addresses = []

    # --- life

    def launch(self):
        self._launches += 1
        self._out = self._notes / f"{self._launches}.out"
        self._err = self._notes / f"{self._launches}.err"
        listen = [f"unix:{self.socket}", "127.0.0.1:0"] if self._listen is None else self._listen
        command = [*self._prefix, self.workshop.parley, "serve", *self._flags]
        if self._keep_data:
            command += ["--data", self.data]
        for address in listen:
            command += ["--listen", address]
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = self.workshop.popen(
                command, self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **self._options
            )
        return self

    def start(self, seconds=START_SECONDS):
        self.launch()
        self.await_listening(seconds)
        return self

    def await_listening(self, seconds=START_SECONDS):
        end = time.monotonic() + seconds
        while not (line := re.search(r"^parley \S+ listens on (.+)$", self.out, re.MULTILINE)):
            require(self.process.poll() is None, f"serve ended with {self.process.returncode}: {shortened(self.err)}")
            require(time.monotonic() < end, f"serve does not listen within {seconds} s: {shortened(self.err)}")
            time.sleep(0.02)
        self.addresses = line.group(1).split(" and ")

    def stop(self, with_signal=signal.SIGTERM, seconds=STOP_SECONDS):
        """- Returns: its status."""
        self.process.send_signal(with_signal)
        return self.wait(seconds)

    def wait(self, seconds=STOP_SECONDS):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Mismatch(f"serve does not end within {seconds} s: {shortened(self.err)}") from None

    def kill(self):
        """The server alone, without warning."""
        self.process.kill()
        self.process.wait()

    def kill_with_postgres(self):
        """As when the machine loses its power."""
        kill_all([self.process.pid, *self.postgres_processes()])
        self.process.wait()
        eventually(lambda: not self._kill_postgres_rest(), "PostgreSQL dies")

    def _kill_postgres_rest(self):
        rest = self.postgres_processes()
        kill_all(rest)
        return rest

    def end(self):
        """Ends it however it is; for the end of a scenario."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        if self._keep_data:
            eventually(lambda: not self._kill_postgres_rest(), "PostgreSQL dies")

    # --- what it says

    @property
    def out(self):
        return self._out.read_text(errors="replace")

    @property
    def err(self):
        return self._err.read_text(errors="replace")

    @property
    def unix(self):
        return next(address for address in self.addresses if address.startswith("unix:"))

    @property
    def tcp(self):
        return next(address for address in self.addresses if not address.startswith("unix:"))

    # --- its PostgreSQL

    def postgres_processes(self):
        return processes_in(self.data.resolve() / "postgres")

    def postmaster(self):
        """The running postmaster's process id, or nothing."""
        try:
            pid = int((self.data / "postgres/postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None
        return pid if pid in self.postgres_processes() else None

    def psql(self):
        """A client of the private PostgreSQL, beside the server, that reads SQL from its standard input."""
        return self.workshop.popen(
            [
                postgres_binaries() / "psql",
                "-XqAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                self.data.resolve() / "run",
                "-U",
                "postgres",
                "-d",
                "parley",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        )

    def sql(self, text):
        psql = self.psql()
        out, err = psql.communicate(text.encode() + b"\n", timeout=60)
        require_equal(psql.returncode, 0, f"psql's status ({err.decode()})")
        return out.decode().strip()

    # --- its users

    def token(self, tenant, *flags):
        where = ["--jwt-secret-file", self.secret] if self.secret else ["--data", self.data]
        return self.workshop.run("token", "--tenant", tenant, *where, *flags).succeeded().out.strip()

    def caller(self, tenant, *flags):
        return Caller(self, self.token(tenant, *flags))

    def connect(self, tenant):
        return Connection(self.addresses[0], self.token(tenant))


class Caller:
    """The command as somebody with a token uses it."""

    def __init__(self, server, token):
        self.server = server
        self.token = token

    @property
    def env(self):
        return {"PARLEY_ADDRESS": self.server.addresses[0], "PARLEY_TOKEN": self.token}

    def run(self, *arguments, input=b"", **options):
        return self.server.workshop.run(*arguments, input=input, env=self.env | options.pop("env", {}), **options)

    def json(self, *arguments, input=b""):
        return json.loads(self.run(*arguments, "--json", input=input).succeeded().out)

    def record(self, **interaction):
        return self.json("record", input=json.dumps(interaction))

    def get(self, id):
        return self.json("get", id)

    def list(self, *filters):
        return self.json("list", *filters)["interactions"]

    def everything(self, *filters):
        """All pages of a list."""
        found, page_token = [], []
        while True:
            page = self.json("list", "--page-size", "200", *page_token, *filters)
            found += page["interactions"]
            if not page["next_page_token"]:
                return found
            page_token = ["--page-token", page["next_page_token"]]

    def total(self):
        return self.json("stats", *EVER)["totals"]["total_interactions"]

    def popen(self, *arguments, **options):
        return self.server.workshop.popen([self.server.workshop.parley, *arguments], self.env, **options)

    def on_terminal(self, *arguments):
        """- Returns: the running command, and what waits for all that its standard error shows."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        child = self.popen(*arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)

        def shown():
            text = b""
            while True:
                try:
                    more = os.read(ours, 65_536)
                except OSError:
                    break
                if not more:
                    break
                text += more
            os.close(ours)
            return text.decode(errors="replace")

        return child, shown
