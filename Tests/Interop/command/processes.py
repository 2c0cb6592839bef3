"""Users and processes, by what the kernel says of them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path


IS_ROOT = os.geteuid() == 0


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


def listens(path):
    """Whether somebody accepts connections at the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def kill_all(pids, with_signal=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, with_signal)
        except ProcessLookupError:
            pass
