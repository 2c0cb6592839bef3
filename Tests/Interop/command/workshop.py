"""Where the scenarios work: their folders and commands, and the clearing up."""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from checks import require, require_equal, shortened
from postgres import Postgres
from processes import kill_all, processes_in
from servers import Server


COMMAND_SECONDS = 60

# What a message to a person never holds: the insides of the program, or a crash.
INNARDS = re.compile(
    r"Error Domain=|NSCocoa|NSPOSIX|UserInfo|Fatal error|Backtrace|Stack trace|Swift runtime|\.swift:\d+"
    r"|Optional\(|ConnectionFailure\(|\w+\((\w+:)+\)|Expected to decode"
)
# What must not reach a terminal raw: controls except the newline, and marks that turn the text around.
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Outcome:
    """How a command ended and what it said."""

    def __init__(self, status, out, err, seconds=0.0):
        self.status = status
        self.out = out.decode(errors="surrogateescape")
        self.err = err.decode(errors="surrogateescape")
        self.seconds = seconds

    def __str__(self):
        return f"status {self.status}, out {shortened(self.out)!r}, err {shortened(self.err)!r}"

    def succeeded(self):
        require_equal(self.status, 0, f"the status (it said {shortened(self.err)!r})")
        return self

    def refused(self, *says):
        """It failed with a message that says all of this (regular expressions), and nothing of its insides."""
        require(self.status > 0, f"it should refuse; {self}")
        require_equal(self.out, "", "standard output of a refusal")
        self.says_plainly(*says)
        return self

    def says_plainly(self, *says):
        require(not INNARDS.search(self.err), f"the message shows the program's insides: {shortened(self.err)}")
        for text in says:
            require(re.search(text, self.err, re.IGNORECASE), f"the message says nothing of /{text}/: {self.err!r}")
        return self


class Workshop:
    def __init__(self, binary, parent):
        self.folder = Path(tempfile.mkdtemp(prefix="c.", dir=Path(parent).resolve()))
        self.folder.chmod(0o755)
        self.parley = self.folder / "parley"
        shutil.copy(binary, self.parley)
        self.parley.chmod(0o755)
        # `parley bench` looks for it beside itself.
        shutil.copy(Path(binary).parent / "parley-bench", self.folder / "parley-bench")
        self._lock = threading.Lock()
        self._children = []
        self._is_closed = False
        self._folders = 0
        self._server = None
        self._postgres = None

    # Folders are short, for the paths of sockets have little room.
    def new_folder(self, name):
        with self._lock:
            self._folders += 1
            folder = self.folder / f"{self._folders}{name[:8]}"
        folder.mkdir()
        # Like /tmp: others may put their own things here.
        folder.chmod(0o1777)
        return folder

    def new_secret(self, folder):
        path = folder / "secret"
        path.write_bytes(os.urandom(24).hex().encode() + b"\n")
        path.chmod(0o644)
        return path

    def environment(self, extra=None):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}
        return kept | {name: str(value) for name, value in (extra or {}).items()}

    def popen(self, command, env=None, **options):
        with self._lock:
            require(not self._is_closed, "the workshop is closed")
            child = subprocess.Popen(list(map(str, command)), env=self.environment(env), **options)
            self._children.append(child)
        return child

    def run(self, *arguments, input=b"", env=None, seconds=COMMAND_SECONDS, prefix=(), **options):
        """Runs `parley` to its end."""
        command = [*prefix, self.parley, *arguments]
        begin = time.monotonic()
        child = self.popen(
            command, env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )
        try:
            out, err = child.communicate(input.encode() if isinstance(input, str) else input, seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise
        return Outcome(child.returncode, out, err, time.monotonic() - begin)

    # Shared by scenarios that each keep to tenants and databases of their own.
    def shared_server(self):
        with self._sharing():
            if self._server is None:
                self._server = Server(self, self.new_folder("shared") / "data").start()
            return self._server

    def shared_postgres(self):
        with self._sharing():
            if self._postgres is None:
                self._postgres = Postgres(self, self.new_folder("pg"))
            return self._postgres

    _sharing_lock = threading.RLock()

    def _sharing(self):
        return self._sharing_lock

    def close(self):
        """Ends everything that was started here and removes every file."""
        with self._lock:
            self._is_closed = True
            children = list(self._children)
        kill_all(child.pid for child in children if child.poll() is None)
        for _ in range(100):
            remaining = processes_in(self.folder)
            if not remaining:
                break
            kill_all(remaining)
            time.sleep(0.05)
        for child in children:
            child.wait()
        # Also what was closed for a check.
        subprocess.run(["chmod", "-R", "u+rwX", self.folder], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder)
