"""Where the scenarios work: their folders and processes, servers, PostgreSQL; and the clearing up."""

import fcntl
import json
import os
import pty
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path

from checks import Mismatch, eventually, require, require_equal, shortened
from ttrpc import Connection

IS_ROOT = os.geteuid() == 0
START_SECONDS = 40
STOP_SECONDS = 40
COMMAND_SECONDS = 60
EVER = ["--from", "2000-01-01", "--to", "2100-01-01"]

# What a message to a person never holds: the insides of the program, or a crash.
INNARDS = re.compile(
    r"Error Domain=|NSCocoa|NSPOSIX|UserInfo|Fatal error|Backtrace|Stack trace|Swift runtime|\.swift:\d+"
    r"|Optional\(|ConnectionFailure\(|\w+\((\w+:)+\)|Expected to decode"
)
# What must not reach a terminal raw: controls except the newline, and marks that turn the text around.
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def ordinary_user():
    """As whom an ordinary user's processes start: root's take another user, an ordinary user's are."""
    return as_user("nobody") if IS_ROOT else {}


def postgres_user():
    return as_user("postgres") if IS_ROOT else {}


def as_user(name):
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def may_make_namespaces():
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True)
    return IS_ROOT and tried.returncode == 0


def postgres_binaries():
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if folders:
        return folders[-1]
    return Path(shutil.which("pg_ctl")).resolve().parent


# --- processes, by what the kernel says of them


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def processes_in(folder):
    """Processes that work in the folder, or were started with a path in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            works_in = os.readlink(entry / "cwd")
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if (works_in + "/").startswith(f"{folder}/") or f"{folder}/" in arguments:
            found.append(int(entry.name))
    return [pid for pid in found if is_alive(pid)]


def listening_ports(pid):
    """TCP ports the process listens on."""
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A":
                ports[f"socket:[{columns[9]}]"] = int(columns[1].rsplit(":", 1)[1], 16)
    return [ports[link] for link in open_files(pid) if link in ports]


def unix_sockets(pid):
    """Paths of the Unix sockets the process listens on."""
    paths = {}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        columns = line.split(maxsplit=7)
        if len(columns) == 8:
            paths[f"socket:[{columns[6]}]"] = columns[7]
    return [paths[link] for link in open_files(pid) if link in paths]


def open_files(pid):
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(descriptor))
        except OSError:
            pass
    return links


def kill_all(pids, with_signal=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, with_signal)
        except ProcessLookupError:
            pass


# --- the workshop


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


class Postgres:
    """A PostgreSQL that is not Parley's own."""

    def __init__(self, workshop, folder):
        self.workshop = workshop
        self.cluster = folder / "cluster"
        self.sockets = folder / "s"
        self._log = folder / "log"
        self.sockets.mkdir()
        if IS_ROOT:
            owner = postgres_user()
            os.chown(self.sockets, owner["user"], owner["group"])
        self._program("initdb", "-D", self.cluster, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        self.start()

    def start(self):
        settings = f"-k {self.sockets} -c listen_addresses='' -c max_connections=200 -c fsync=off"
        self._program("pg_ctl", "-D", self.cluster, "-w", "-l", self._log, "-o", settings, "start")

    def stop(self):
        self._program("pg_ctl", "-D", self.cluster, "-w", "-m", "immediate", "stop")

    def _program(self, name, *arguments):
        subprocess.run(
            [postgres_binaries() / name, *map(str, arguments)],
            check=True,
            cwd="/",
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **postgres_user(),
        )

    def psql(self, database, text):
        """The command that runs the text."""
        return [
            postgres_binaries() / "psql",
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self.sockets,
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            text,
        ]

    def sql(self, text, database="postgres"):
        ran = subprocess.run(
            self.psql(database, text), cwd="/", timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        require_equal(ran.returncode, 0, f"psql's status ({ran.stderr})")
        return ran.stdout.strip()

    def new_database(self, name):
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, name, user="postgres"):
        return f"host={self.sockets} user={user} dbname={name}"


def listens(path):
    """Whether somebody accepts connections at the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
