"""A new user's first minutes with `parley serve --data`, and an operator's folders."""

import os
import shutil
import signal
import stat
from pathlib import Path

from checks import Scenario, check, eventually, require, require_equal
from processes import (
    IS_ROOT,
    as_user,
    listening_ports,
    listens,
    may_make_namespaces,
    ordinary_user,
    postgres_binaries,
    processes_in,
    unix_sockets,
)
from servers import Server
from workshop import Outcome


class FreshFolder(Scenario):
    """`parley serve --data DIR`, from nothing to the end, again and again."""

    def prepare(self):
        self.server = Server(self.workshop, self.folder / "data").start()
        self.caller = self.server.caller("acme")
        self.recorded = self.caller.record(conversation_id="first", customer_message="hello")["interaction_id"]

    def finish(self):
        self.server.end()

    @check
    def freshFolderIsMadeIntoACluster(self):
        version = (self.server.data / "postgres/PG_VERSION").read_text().strip()
        require_equal(version, postgres_binaries().parent.name, "the cluster's version")
        require(self.server.postmaster(), "no PostgreSQL runs in the folder")

    @check
    def freshFolderListensWhereItSays(self):
        require_equal(self.server.addresses[0], f"unix:{self.server.socket}", "the first address")
        port = int(self.server.tcp.rsplit(":", 1)[1])
        require_equal(listening_ports(self.server.process.pid), [port], "the ports listened on")
        for address in self.server.addresses:
            found = self.workshop.run("get", self.recorded, "--json", env=self.caller.env | {"PARLEY_ADDRESS": address})
            require('"first"' in found.succeeded().out, f"the record is not found at {address}")

    @check
    def freshFolderGetsASecretOfItsOwn(self):
        path = self.server.data / "jwt.secret"
        require_equal(stat.S_IMODE(path.stat().st_mode), 0o600, "the secret's permissions")
        require(len(path.read_bytes().strip()) >= 32, "the secret is short")
        require(str(path) in self.server.err, f"it does not tell of the secret {path}: {self.server.err}")
        require("parley token" in self.server.err, "it does not tell how to mint a token")
        require(path.read_text().strip() not in self.server.err, "it tells the secret itself")

    @check
    def privatePostgreSQLHasNoPort(self):
        postmaster = self.server.postmaster()
        require(unix_sockets(postmaster), "its Unix socket is not seen, so neither would a port be")
        require_equal(listening_ports(postmaster), [], "PostgreSQL's ports")

    @check
    def privatePostgreSQLIsForItsOwnerAlone(self):
        for name in ("postgres", "run"):
            mode = stat.S_IMODE((self.server.data / name).stat().st_mode)
            require_equal(oct(mode & 0o077), oct(0), f"what others may do in {name}")

    @check
    def unixSocketIsForOwnerAndGroup(self):
        mode = stat.S_IMODE(self.server.socket.stat().st_mode)
        require_equal(oct(mode), oct(0o660), "the socket's permissions")

    @check
    def secondServerOnAFolderIsRefused(self):
        before = self.server.postmaster()
        second = self.workshop.run("serve", "--data", self.server.data, "--listen", "127.0.0.1:0")
        second.refused("another parley", str(self.server.data))
        require_equal(self.server.postmaster(), before, "the postmaster after the refusal")
        require_equal(self.caller.get(self.recorded)["conversation_id"], "first", "the record after the refusal")

    @check
    def secondServerOnASocketIsRefused(self):
        other = self.folder / "other"
        second = self.workshop.run("serve", "--data", other, "--listen", f"unix:{self.server.socket}", seconds=25)
        second.refused("another server listens", str(self.server.socket))
        eventually(lambda: not processes_in(other), "the refused server's PostgreSQL is gone")
        require(listens(self.server.socket), "the first server lost its socket")
        require_equal(self.caller.get(self.recorded)["conversation_id"], "first", "the record after the refusal")

    @check
    def takenPortIsRefused(self):
        other = self.folder / "port"
        second = self.workshop.run("serve", "--data", other, "--listen", self.server.tcp, seconds=25)
        second.refused(self.server.tcp, "in use", "--listen")
        require_equal(sorted(file.name for file in other.iterdir()), ["lock"], "what it made")

    @check
    def terminatedServerEndsWithStatusZero(self):
        require_equal(self.server.stop(signal.SIGTERM), 0, "the status after SIGTERM")

    @check
    def terminatedServerLeavesNothingBehind(self):
        require_equal(self.server.postgres_processes(), [], "PostgreSQL's processes")
        require(not self.server.socket.exists(), "the socket's file is still there")
        require(not (self.server.data / "postgres/postmaster.pid").exists(), "PostgreSQL did not shut down in order")

    @check
    def secondStartTakesSecondsAndKeepsAll(self):
        self.server.start(seconds=10)
        require_equal(self.caller.get(self.recorded)["customer_message"], "hello", "the record after a second start")
        require("made a secret" not in self.server.err, "it made another secret")

    @check
    def interruptedServerEndsWithStatusZero(self):
        # As Ctrl-C does: the whole process group hears it.
        self.server.stop()
        server = Server(self.workshop, self.server.data, start_new_session=True).start()
        os.killpg(server.process.pid, signal.SIGINT)
        require_equal(server.wait(), 0, "the status after SIGINT")
        require_equal(server.postgres_processes(), [], "PostgreSQL's processes")
        require("not stop" not in server.err and "is gone" not in server.err, f"it ended in disorder: {server.err}")


class FolderScenario(Scenario):
    def _serves(self, data, **options):
        """Starts, records, stops; answers the record's id."""
        server = Server(self.workshop, data, **options).start()
        try:
            recorded = server.caller("acme").record(conversation_id="c")["interaction_id"]
            require_equal(server.caller("acme").get(recorded)["id"], recorded, "the record's id")
            require_equal(server.stop(), 0, "the status at the end")
            require_equal(server.postgres_processes(), [], "PostgreSQL's processes afterwards")
        finally:
            server.end()
        return recorded

    def _serves_or_is_refused(self, data, *says):
        server = Server(self.workshop, data).launch()
        try:
            ends_or_listens = lambda: server.process.poll() is not None or " listens on " in server.out
            eventually(ends_or_listens, "serve listens or ends", seconds=40)
            if server.process.poll() is None:
                server.await_listening()
                server.caller("acme").record(conversation_id="c")
            else:
                Outcome(server.process.returncode, b"", server.err.encode()).refused(*says)
        finally:
            server.end()

    def _refuses(self, data, *says, **options):
        return self.workshop.run("serve", "--data", data, "--listen", "127.0.0.1:0", **options).refused(*says)


class FolderNames(FolderScenario):
    """Folders as operators name, link and move them."""

    @check
    def folderWithBlanksAndUmlautsServes(self):
        self._serves(self.folder / " my  wörk ")

    @check
    def folderWithQuotesServesOrIsRefused(self):
        self._serves_or_is_refused(self.folder / "it's", "may not|cannot|allowed")

    @check
    def folderNamedLikeAShellCommandIsNeverRun(self):
        self._serves_or_is_refused(self.folder / '$(exit 3)`exit 4`"', "may not|cannot|allowed")

    @check
    def folderWithACommaServesOrIsRefused(self):
        # A comma separates hosts to libpq and folders to PostgreSQL.
        self._serves_or_is_refused(self.folder / "a,b", "comma|allowed|cannot|may not")

    @check
    def movedFolderServes(self):
        recorded = self._serves(self.folder / "before")
        (self.folder / "before").rename(self.folder / "after")
        server = Server(self.workshop, self.folder / "after").start()
        try:
            require_equal(server.caller("acme").get(recorded)["id"], recorded, "the record's id")
        finally:
            server.end()

    @check
    def linkedFolderServes(self):
        (self.folder / "target").mkdir()
        (self.folder / "link").symlink_to("target")
        self._serves(self.folder / "link")
        require((self.folder / "target/postgres").exists(), "the cluster is not where the link leads")

    @check
    def relativeFolderServes(self):
        (self.folder / "sub").mkdir()
        server = Server(
            self.workshop, self.folder / "near", "--data", "../near", keep_data=False, cwd=self.folder / "sub"
        )
        try:
            server.start().caller("acme").record(conversation_id="c")
            require_equal(server.stop(), 0, "the status at the end")
            require_equal(server.postgres_processes(), [], "PostgreSQL's processes afterwards")
        finally:
            server.end()


class RefusedFolders(FolderScenario):
    """Folders that cannot be served from; each is refused with a reason and left as it was."""

    @check
    def longFolderIsRefused(self):
        long = self.folder / ("x" * 100)
        self._refuses(long, "too long", "107")
        self.workshop.run("serve", "--data", long).refused("107")

    @check
    def refusedStartLeavesNoTrace(self):
        require(not (self.folder / ("x" * 100)).exists(), "it made the folder all the same")

    @check
    def fileInsteadOfAFolderIsRefused(self):
        file = self.folder / "file"
        file.write_text("mine")
        self._refuses(file, str(file), "director|folder|exists")
        self._refuses(file / "below", str(file), "director|folder")
        require_equal(file.read_text(), "mine", "the file")

    @check
    def unwritableFolderIsRefused(self):
        closed = self.folder / "closed"
        (closed / "data").mkdir(parents=True)
        (closed / "data").chmod(0o555)
        closed.chmod(0o555)
        self._refuses(closed / "data", str(closed / "data"), "permission|writ", **ordinary_user())
        self._refuses(closed / "new", str(closed / "new"), "permission|writ", **ordinary_user())

    @check
    def foreignFilesInAFolderAreLeftAlone(self):
        data = self.folder / "used"
        (data / "postgres").mkdir(parents=True)
        (data / "postgres/letter").write_text("mine")
        self._refuses(data, str(data / "postgres"))
        require_equal((data / "postgres/letter").read_text(), "mine", "the letter")


class ClusterVersions(FolderScenario):
    """A cluster is PostgreSQL's of one version, and of no other."""

    def prepare(self):
        self.data = self.folder / "data"
        self._serves(self.data)
        self.version = self.data / "postgres/PG_VERSION"
        self.own = self.version.read_text()

    @check
    def clusterOfAMissingVersionIsRefused(self):
        self.version.write_text("9.6\n")
        self._refuses(self.data, "9\\.6", "not installed", env={"PATH": "/usr/bin:/bin"})

    @check
    def programsInPathAreOfTheClustersVersion(self):
        links = self.folder / "bin"
        links.mkdir()
        for program in ("initdb", "pg_ctl", "postgres"):
            (links / program).symlink_to(postgres_binaries() / program)
        self._refuses(self.data, "9\\.6", "not installed", env={"PATH": f"{links}:/usr/bin:/bin"})

    @check
    def refusedClusterIsUnharmed(self):
        self.version.write_text(self.own)
        self._serves(self.data)


class OrdinaryUser(Scenario):
    """Somebody who is not root, whoever runs this."""

    def prepare(self):
        self.home = self.folder / "home"
        self.home.mkdir()
        if IS_ROOT:
            user = ordinary_user()
            os.chown(self.home, user["user"], user["group"])
        self.home.chmod(0o700)
        self.server = Server(self.workshop, self.home / "data", **ordinary_user())

    def finish(self):
        self.server.end()

    @check
    def ordinaryUserServes(self):
        self.server.start()
        self.server.caller("acme").record(conversation_id="c")
        owner = os.stat(self.home / "data/postgres").st_uid
        require_equal(owner, os.stat(f"/proc/{self.server.process.pid}").st_uid, "the cluster's owner")
        require_equal(self.server.stop(), 0, "the status at the end")

    @check
    def ordinaryUsersSecretIsNotForOthers(self):
        if IS_ROOT:
            stranger = self.workshop.run("token", "--data", self.home / "data", "--tenant", "x", **as_user("daemon"))
        else:
            (self.home / "data/jwt.secret").chmod(0)
            stranger = self.workshop.run("token", "--data", self.home / "data", "--tenant", "x")
            (self.home / "data/jwt.secret").chmod(0o600)
        stranger.refused("jwt\\.secret", "cannot be read")

    if IS_ROOT:

        @check
        def rootServesAnOrdinaryUsersFolder(self):
            server = Server(self.workshop, self.home / "data").start()
            try:
                server.caller("acme").record(conversation_id="c")
                owner = os.stat(f"/proc/{server.postmaster()}").st_uid
                require_equal(owner, ordinary_user()["user"], "whom PostgreSQL runs as")
                require_equal(server.stop(), 0, "the status at the end")
            finally:
                server.end()


class Root(Scenario):
    """What only root can meet, or make happen."""

    @check
    def folderThatPostgresCannotReachIsRefused(self):
        closed = self.folder / "closed"
        closed.mkdir(mode=0o700)
        outcome = self.workshop.run("serve", "--data", closed / "data", "--listen", "127.0.0.1:0")
        outcome.refused(str(closed), "postgres", "permission|reach|access")
        require("belonging to this database system" not in outcome.err, f"it quotes initdb at length: {outcome.err}")
        self._forgives_once_opened(closed)

    def _forgives_once_opened(self, closed):
        closed.chmod(0o755)
        server = Server(self.workshop, closed / "data").start()
        try:
            require_equal(server.stop(), 0, "the status at the end")
        finally:
            server.end()

    @check
    def missingPostgreSQLIsNamed(self):
        outcome = self._without("mount -t tmpfs none /usr/lib/postgresql", {"PATH": "/nowhere"})
        outcome.refused("no PostgreSQL is installed", "apt-get install postgresql", "--database-url")

    @check
    def missingUserPostgresIsNamed(self):
        users = self.folder / "passwd"
        users.write_text("".join(line for line in open("/etc/passwd") if not line.startswith("postgres:")))
        outcome = self._without(f"mount --bind '{users}' /etc/passwd", {})
        outcome.refused("user postgres", "does not exist")

    def _without(self, hiding, env):
        script = f'{hiding} && PATH="${{HIDDEN_PATH-$PATH}}" exec "$@"'
        prefix = [shutil.which("unshare"), "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh"]
        hidden = {"HIDDEN_PATH": env["PATH"]} if "PATH" in env else {}
        return self.workshop.run(
            "serve", "--data", self.folder / "without", "--listen", "127.0.0.1:0", prefix=prefix, env=hidden
        )


class Container(Scenario):
    """As process 1 it is, in a container without an init: nobody else reaps what it leaves."""

    def prepare(self):
        container = [shutil.which("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.server = Server(self.workshop, self.folder / "data", prefix=container).start()
        self.caller = self.server.caller("acme")
        self.caller.record(conversation_id="c")
        outside = self.server.process.pid
        self.first_process = int(Path(f"/proc/{outside}/task/{outside}/children").read_text().split()[0])

    def finish(self):
        self.server.end()

    @check
    def deadPostgreSQLDoesNotPassForALivingOne(self):
        for pid in self.server.postgres_processes():
            os.kill(pid, signal.SIGKILL)
        self.caller.record(conversation_id="c")
        require_equal(self.caller.total(), 2, "the interactions recorded")

    @check
    def terminatedContainerEnds(self):
        os.kill(self.first_process, signal.SIGTERM)
        require_equal(self.server.wait(), 0, "the status after SIGTERM")


SCENARIOS = [FreshFolder, FolderNames, RefusedFolders, ClusterVersions, OrdinaryUser] + (
    [Root, Container] if may_make_namespaces() else []
)
