"""The machine's worst day: what an answer promised is there afterwards, exactly once."""

import os
import shutil
import signal
import time

from checks import Mismatch, Scenario, check, eventually, require, require_equal, shortened
from processes import is_alive, kill_all, listens, may_make_namespaces, postgres_user
from servers import Server
from ttrpc import DEADLINE_EXCEEDED, UNAVAILABLE, Away, Refusal, new_id, record_request
from writers import Writers


class CrashScenario(Scenario):
    def prepare(self):
        self.server = Server(self.workshop, self.folder / "data").start()
        self.writers = None

    def finish(self):
        if self.writers:
            self.writers.abandon()
        self.server.end()

    def _every_answer_is_kept_once(self):
        self.writers.stop()
        answered = self.writers.log()
        connection = self.server.connect(self.writers.tenant)
        kept = connection.all_ids()
        require_equal(len(kept), len(set(kept)), "the listed ids, without repeats,")
        lost = set(answered) - set(kept)
        require(not lost, f"{len(lost)} of {len(answered)} answered interactions are lost")
        # The writers repeat each until it is answered, so nothing is there that has no answer.
        require_equal(len(kept), len(answered), "the count of those kept")
        require_equal(connection.total(), len(answered), "the statistics' total")

    def _retries_find_themselves(self):
        connection = self.server.connect(self.writers.tenant)
        for id in self.writers.log()[::50]:
            require(connection.record(id), f"{id} was recorded a second time")
        require_equal(connection.total(), self.writers.answered(), "the statistics' total after the retries")


class KilledServer(CrashScenario):
    """kill -9 of `parley serve` alone."""

    def prepare(self):
        super().prepare()
        self.caller = self.server.caller("acme")
        self.recorded = self.caller.record(conversation_id="before")["interaction_id"]
        self.postmaster = self.server.postmaster()
        self.server.kill()

    @check
    def killedServerLeavesItsPostgreSQL(self):
        time.sleep(0.5)
        require_equal(self.server.postmaster(), self.postmaster, "the postmaster")
        require(self.server.socket.exists(), "the socket's file is gone, so taking its place is not tried")

    @check
    def killedServerAdoptsItsPostgreSQL(self):
        self.server.start()
        require_equal(self.server.postmaster(), self.postmaster, "the postmaster")
        require_equal(self.caller.get(self.recorded)["conversation_id"], "before", "the record")

    @check
    def deadServersSocketIsTakenOver(self):
        require(listens(self.server.socket), "nobody listens at the dead server's socket")

    @check
    def adoptedPostgreSQLIsKeptAlive(self):
        kill_all(self.server.postgres_processes())
        self.caller.record(conversation_id="after")
        require_equal(self.caller.total(), 2, "the interactions")

    @check
    def adoptedPostgreSQLIsStoppedAtTheEnd(self):
        require_equal(self.server.stop(), 0, "the status")
        require_equal(self.server.postgres_processes(), [], "PostgreSQL's processes")


class KilledMachine(CrashScenario):
    """kill -9 of everything at once, while eight record, three times."""

    def prepare(self):
        super().prepare()
        self.writers = Writers(self.server, "acme", self.folder)
        for _ in range(3):
            self.writers.await_answers(300)
            self.server.kill_with_postgres()
            self.server.start()
        self.writers.await_answers(100)

    @check
    def killedMachineKeepsEveryAnswerOnce(self):
        self._every_answer_is_kept_once()

    @check
    def killedMachineKnowsItsRetries(self):
        self._retries_find_themselves()

    @check
    def killedMachineFailsCallsWithNothingButUnavailable(self):
        require_equal(self.writers.surprises(), [], "other refusals")

    @check
    def stalePidFileOfAStrangerIsNoPostgreSQL(self):
        """After a reboot the old process id may be anybody's."""
        self.server.kill_with_postgres()
        stranger = self.workshop.popen(["sleep", "120"], cwd="/", **postgres_user())
        try:
            pid_file = self.server.data / "postgres/postmaster.pid"
            lines = pid_file.read_text().splitlines(keepends=True)
            pid_file.write_text("".join([f"{stranger.pid}\n"] + lines[1:]))
            self.server.start()
            require_equal(self.server.connect("acme").total(), self.writers.answered(), "the interactions")
            require(stranger.poll() is None, "the stranger was killed")
        finally:
            stranger.kill()
            stranger.wait()


class KilledPostgres(CrashScenario):
    """kill -9 of PostgreSQL, whole or in part, under a server that goes on."""

    def prepare(self):
        super().prepare()
        self.writers = Writers(self.server, "acme", self.folder)
        self.writers.await_answers(100)

    @check
    def killedBackendIsReplaced(self):
        postmaster = self.server.postmaster()
        kill_all([self._busy_backend()])
        self.writers.await_answers(200)
        require_equal(self.server.postmaster(), postmaster, "the postmaster")

    def _busy_backend(self):
        by_last_use = "SELECT pid FROM pg_stat_activity WHERE usename = 'parley' ORDER BY state_change DESC LIMIT 1"
        return int(self.server.sql(by_last_use))

    @check
    def killedPostmasterIsStartedAgain(self):
        postmaster = self.server.postmaster()
        os.kill(postmaster, signal.SIGKILL)
        self.writers.await_answers(200)
        require(self.server.postmaster() not in (postmaster, None), "no other postmaster runs")

    @check
    def killedPostgreSQLIsStartedAgain(self):
        kill_all(self.server.postgres_processes())
        self.writers.await_answers(200)

    @check
    def stoppedPostgreSQLIsStartedAgain(self):
        # As somebody's pg_ctl stop -m fast would.
        os.kill(self.server.postmaster(), signal.SIGINT)
        self.writers.await_answers(200)

    @check
    def frozenPostgreSQLMeetsDeadlines(self):
        connection = self.server.connect("acme")
        frozen = self.server.postgres_processes()
        kill_all(frozen, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            try:
                connection.record(new_id(), "frozen", seconds=1)
                raise Mismatch("a frozen PostgreSQL has recorded")
            except Refusal as refusal:
                require(refusal.code in (DEADLINE_EXCEEDED, UNAVAILABLE), f"refused with {refusal}")
            require(time.monotonic() - begin < 20, f"answered after {time.monotonic() - begin:.1f} s, asked for 1 s")
        finally:
            kill_all(frozen, signal.SIGCONT)
        self.writers.await_answers(200)

    @check
    def serverOutlivesItsPostgreSQL(self):
        require(is_alive(self.server.process.pid), f"serve has ended: {shortened(self.server.err)}")

    @check
    def killedPostgreSQLKeepsEveryAnswerOnce(self):
        self.writers.stop()
        # The call on the frozen PostgreSQL may have been recorded, for its fate was left open.
        ids = {one["id"] for one in self.server.caller("acme").everything("--conversation", "frozen")}
        kept = self.server.connect("acme").all_ids()
        require_equal(len(kept), len(set(kept)), "the listed ids, without repeats,")
        require_equal(set(self.writers.log()) - set(kept), set(), "the lost answers")
        require_equal(set(kept) - set(self.writers.log()), ids, "what nobody has an answer for")

    @check
    def killedPostgreSQLFailsCallsWithNothingButUnavailable(self):
        require_equal(self.writers.surprises(), [], "other refusals")


class Drain(CrashScenario):
    """SIGTERM while calls are under way: a lock in PostgreSQL holds them there."""

    CALLS = 24

    def prepare(self):
        super().prepare()
        self.lock = None
        self.connection = self.server.connect("acme")
        self.connection.record(new_id())
        self.idle = self.server.connect("acme")
        self._lock()
        self.ids = [new_id() for _ in range(self.CALLS)]
        for id in self.ids:
            self.connection.send("RecordInteraction", record_request(id, "c"))
        # Frames are read in turn: once this is refused, those before it are under way.
        self.connection.send("GetInteraction", b"")
        require(isinstance(self.connection.receive()[1], Refusal), "a call without an id was answered")
        self.server.process.send_signal(signal.SIGTERM)

    def finish(self):
        self._unlock()
        super().finish()

    def _lock(self):
        self.lock = self.server.psql()
        self.lock.stdin.write(b"BEGIN; LOCK TABLE parley.interactions; SELECT 'locked';\n")
        self.lock.stdin.flush()
        require_equal(self.lock.stdout.readline(), b"locked\n", "psql's answer")

    def _unlock(self):
        """Ends psql, and with it the transaction that holds the lock."""
        if self.lock:
            self.lock.communicate(timeout=20)
            self.lock = None

    @check
    def drainingServerTakesNoNewConnections(self):
        eventually(lambda: not listens(self.server.socket), "new connections are refused")
        require(self.server.process.poll() is None, "it has ended, with calls under way")

    @check
    def drainingServerTakesNoNewCalls(self):
        # The connections hear of it a moment after the socket's file is gone.
        time.sleep(1)
        try:
            self.idle.record(new_id())
            raise Mismatch("a new call was answered")
        except Away:
            pass
        except Refusal as refusal:
            require_equal(refusal.code, UNAVAILABLE, "the refusal's code")

    @check
    def drainingServerAnswersCallsUnderWay(self):
        require(self.server.process.poll() is None, "it has ended, with calls under way")
        self._unlock()
        answers = [self.connection.receive()[1] for _ in self.ids]
        refused = [str(answer) for answer in answers if isinstance(answer, Refusal)]
        require_equal(refused, [], "the refusals")

    @check
    def drainedServerEndsWithStatusZero(self):
        require_equal(self.server.wait(20), 0, "the status")
        require_equal(self.server.postgres_processes(), [], "PostgreSQL's processes")

    @check
    def drainedServerHasKeptWhatItAnswered(self):
        self.server.start()
        connection = self.server.connect("acme")
        for id in self.ids:
            require(connection.record(id), f"{id} was answered and is not there")

    @check
    def callThatNeverEndsDoesNotHoldTheDrain(self):
        self._lock()
        self.server.connect("acme").send("RecordInteraction", record_request(new_id(), "c"))
        time.sleep(0.3)
        require_equal(self.server.stop(seconds=45), 0, "the status")
        require_equal(self.server.postgres_processes(), [], "PostgreSQL's processes")


class KilledStart(Scenario):
    """Killed or stopped while it starts."""

    def finish(self):
        self.server.end()

    @check
    def killedWhileMakingItsClusterStartsAgain(self):
        self.server = Server(self.workshop, self.folder / "killed")
        for pause in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3):
            self.server.launch()
            time.sleep(pause)
            self.server.kill()
        self.server.start()
        self.server.caller("acme").record(conversation_id="c")
        require_equal(self.server.stop(), 0, "the status")

    @check
    def clusterMadeAcrossKillsIsWhole(self):
        """Two initdbs must not have worked in one folder."""
        self.server.start()
        checked = self.server.sql(
            "CREATE EXTENSION IF NOT EXISTS amcheck;"
            "SELECT count(bt_index_check(indexrelid)) > 0 FROM pg_index i JOIN pg_class c ON c.oid = indexrelid "
            "JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relkind = 'i'"
        )
        require_equal(checked, "t", "whether indexes were checked")
        require_equal(self.server.stop(), 0, "the status")
        self.server.end()

    @check
    def terminatedWhileStartingLeavesNoPostgreSQL(self):
        self.server = Server(self.workshop, self.folder / "terminated").launch()
        eventually(self.server.postmaster, "PostgreSQL starts", seconds=30)
        self.server.process.send_signal(signal.SIGTERM)
        self.server.wait()
        eventually(lambda: not self.server.postgres_processes(), "PostgreSQL is gone, too", seconds=10)

    @check
    def terminatedWhileStartingStartsAgain(self):
        self.server.start()
        self.server.caller("acme").record(conversation_id="c")


class FullDisk(CrashScenario):
    """The data folder's disk fills up and has room again; it is a small one in memory."""

    def prepare(self):
        data = self.folder / "data"
        data.mkdir()
        mount = 'mount -t tmpfs -o size=200m,mode=755 none "$0" && exec "$@"'
        disk = [shutil.which("unshare"), "--mount", "--propagation", "private", "/bin/sh", "-c", mount, data]
        secret = self.workshop.new_secret(self.folder)
        self.server = Server(self.workshop, data, "--jwt-secret-file", secret, secret=secret, prefix=disk).start()
        # The disk is mounted for the server alone, and seen through it.
        self.ballast = f"/proc/{self.server.process.pid}/root{data}/ballast"
        self.writers = Writers(self.server, "acme", self.folder)
        self.writers.await_answers(100)

    def _fill(self):
        with open(self.ballast, "wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    pass

    @check
    def fullDiskIsNotAnswered(self):
        self._fill()

        def stands_still():
            before = self.writers.answered()
            time.sleep(1.5)
            return self.writers.answered() == before

        eventually(stands_still, "no more calls are answered")
        require(is_alive(self.server.process.pid), f"serve has ended: {shortened(self.server.err)}")

    @check
    def diskWithRoomAgainIsWrittenOn(self):
        os.remove(self.ballast)
        self.writers.await_answers(200, seconds=40)

    @check
    def fullDiskFailsCallsWithNothingButUnavailable(self):
        require_equal(self.writers.surprises(), [], "other refusals")

    @check
    def fullDiskKeepsEveryAnswerOnce(self):
        self._every_answer_is_kept_once()


SCENARIOS = ([FullDisk] if may_make_namespaces() else []) + [
    KilledMachine,
    KilledPostgres,
    Drain,
    KilledStart,
    KilledServer,
]
