"""An operator's own PostgreSQL: `serve --database-url` and `verify`."""

import subprocess
import time

from checks import Mismatch, Scenario, check, eventually, require, require_equal
from postgres import Postgres
from processes import processes_in
from servers import Server
from ttrpc import DEADLINE_EXCEEDED, UNAVAILABLE, Refusal, new_id, record_request

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


class OwnDatabase(Scenario):
    """Parley beside a PostgreSQL that is not its own."""

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)
        self.server = self._serve(self.postgres.new_database("own")).start()
        self.caller = self.server.caller("acme")

    def finish(self):
        self.server.end()

    def _serve(self, url, *flags, **options):
        keys = ["--jwt-secret-file", self.secret]
        return Server(
            self.workshop,
            self.folder,
            "--database-url",
            url,
            *keys,
            *flags,
            secret=self.secret,
            keep_data=False,
            **options,
        )

    @check
    def ownDatabaseIsMigratedAndServed(self):
        recorded = self.caller.record(conversation_id="c")["interaction_id"]
        require_equal(self.caller.get(recorded)["conversation_id"], "c", "the record")
        self._schema_is_in("own")

    def _schema_is_in(self, database):
        tables = self.postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'parley'", database)
        require(int(tables) > 1, f"{tables} tables are in the schema parley")

    @check
    def ownDatabaseOutlivesTheServer(self):
        require_equal(self.server.stop(), 0, "the status")
        require_equal(self.postgres.sql("SELECT 1"), "1", "the database's answer")
        self.server.start()
        require_equal(self.caller.total(), 1, "the interactions after a second start")

    @check
    def twoServersShareADatabase(self):
        with_data = self.folder / "data"
        second = self._serve(self.postgres.url("own"), "--data", with_data).start()
        try:
            second.caller("acme").record(conversation_id="other")
            require_equal(self.caller.total(), 2, "the interactions")
            require_equal(processes_in(with_data / "postgres"), [], "the PostgreSQL nobody asked for")
            require(not (with_data / "postgres").exists(), "it made a cluster nobody asked for")
        finally:
            second.end()

    @check
    def databaseFromTheEnvironmentIsServed(self):
        url = self.postgres.new_database("environment")
        env = {"PARLEY_DATABASE_URL": url, "PARLEY_JWT_SECRET_FILE": self.secret}
        server = Server(self.workshop, self.folder, env=env, secret=self.secret, keep_data=False).start()
        try:
            server.caller("acme").record(conversation_id="c")
            self._schema_is_in("environment")
        finally:
            server.end()

    @check
    def databaseAsAUriIsServedAndItsPasswordKept(self):
        self.postgres.new_database("uri")
        url = f"postgresql://postgres:pa55phrase@/uri?host={self.postgres.sockets}"
        server = self._serve(url, "--log-level", "trace").start()
        try:
            server.caller("acme").record(conversation_id="c")
            server.stop()
            require("info" in server.err, "it logs nothing, so neither would it a password")
            require("pa55phrase" not in server.err + server.out, "the password is in the log")
        finally:
            server.end()

    @check
    def serverWaitsForAPostgreSQLThatStarts(self):
        postgres = Postgres(self.workshop, self.workshop.new_folder("late"))
        url = postgres.new_database("late")
        postgres.stop()
        server = self._serve(url).launch()
        try:
            eventually(lambda: "no connection to PostgreSQL" in server.err, "it says for what it waits")
            require(server.process.poll() is None, f"it has ended: {server.err}")
            postgres.start()
            server.await_listening(35)
        finally:
            server.end()
            postgres.stop()


class Verification(Scenario):
    """`parley verify`, beside a server."""

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)
        self.url = self.postgres.new_database("verified")
        flags = ["--database-url", self.url, "--jwt-secret-file", self.secret]
        self.server = Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False).start()
        for tenant in ("acme", "other"):
            for created in ("2024-05-01T10:00:00Z", "2024-05-02T23:59:59.999Z"):
                self.server.caller(tenant).record(conversation_id="c", created_at=created)
        eventually(lambda: self._sql("SELECT count(*) FROM parley.deltas") == "0", "all is merged")

    def finish(self):
        self.server.end()

    def _sql(self, text):
        return self.postgres.sql(text, "verified")

    def _verify(self, *flags):
        return self.workshop.run("verify", "--database-url", self.url, *flags)

    @check
    def whatAgreesIsTold(self):
        require_equal(self._verify().succeeded().out, "days: 4, interactions: 4, days that differ: 0\n", "what it says")
        one = self._verify("--tenant", "acme", "--from", "2024-05-02").succeeded()
        require_equal(one.out, "days: 1, interactions: 1, days that differ: 0\n", "what it says of one day")

    @check
    def whatDiffersIsToldAndRepaired(self):
        self._sql("SET session_replication_role = replica; UPDATE parley.interactions SET estimated_cost_nanos = 7")
        ran = self._verify("--tenant", "acme")
        require_equal(ran.status, 1, "the status")
        require("differs: acme 2024-05-01T10:00:00.000Z" in ran.out, f"it says {ran.out!r}")
        repaired = self._verify("--repair").succeeded()
        require_equal(repaired.out.count("repaired: "), 4, "the days repaired")
        self._verify().succeeded()

    @check
    def numberWithoutATenantIsTold(self):
        """What a restore leaves behind, and the way out that the command tells."""
        number = self._sql("DELETE FROM parley.tenants WHERE name = 'other' RETURNING key").splitlines()[0]
        ran = self._verify()
        require_equal(ran.status, 1, "the status")
        require(f"unknown: number {number} has interactions" in ran.out, f"it says {ran.out!r}")
        told = next(line for line in ran.out.splitlines() if "UPDATE parley.interactions" in line)
        self._sql(told.replace("NAME", "other").replace("NUMBER", number))
        self._verify("--repair").succeeded()
        require_equal(self._verify().succeeded().out, "days: 4, interactions: 4, days that differ: 0\n", "what it says")
        require_equal(self.server.caller("other").total(), 2, "what the tenant is shown")

    @check
    def rowsOfOthersAreCountedByThemselves(self):
        self._sql("DELETE FROM parley.interactions WHERE id < '018f4000-0000-0000-0000-000000000000'")
        eventually(lambda: self._sql("SELECT count(*) FROM parley.deltas") == "0", "it is counted anew")
        self._verify().succeeded()

    @check
    def nonsenseIsRefused(self):
        self._verify("--tenant", "nobody").refused("nobody", "never recorded")
        self._verify("--from", "2024-05-02", "--to", "2024-05-02").refused("--from", "--to")
        self._verify("--from", "yesterday").refused("yesterday", "RFC 3339")
        self.workshop.run("verify").refused("--database-url", "PARLEY_DATABASE_URL", "--data")
        for command in ("verify", "migrate"):
            ran = self.workshop.run(command, "--data", self.folder / "none")
            ran.refused(f"no Parley runs from {self.folder}/none", "parley serve --data", "--database-url")


class LostDatabase(Scenario):
    """An operator's PostgreSQL goes away and comes back."""

    def prepare(self):
        # One of its own, for others are to keep theirs.
        self.postgres = Postgres(self.workshop, self.workshop.new_folder("lost"))
        self.secret = self.workshop.new_secret(self.folder)
        flags = ["--database-url", self.postgres.new_database("lost"), "--jwt-secret-file", self.secret]
        self.server = Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False).start()
        self.caller = self.server.caller("acme")
        self.caller.record(conversation_id="c")
        self.ids = [new_id() for _ in range(3)]

    def finish(self):
        self.server.end()

    @check
    def commandsWaitOutALostDatabase(self):
        self.postgres.stop()
        waiting = [self.caller.popen("record", "--id", id, "--conversation", "c", "--json", **QUIET) for id in self.ids]
        # Long enough that each has been refused at least once.
        time.sleep(2)
        self.postgres.start()
        for child in waiting:
            _, err = child.communicate(timeout=40)
            require_equal(child.returncode, 0, f"the status ({err.decode()})")
        require_equal(self.caller.total(), 1 + len(self.ids), "the interactions")

    @check
    def lostDatabaseIsNotToldInPostgreSQLsWords(self):
        self.postgres.stop()
        refused = self.caller.run("list")
        refused.refused("UNAVAILABLE", "database")
        require(
            "socket" not in refused.err and str(self.postgres.sockets) not in refused.err, f"it tells {refused.err}"
        )
        self.postgres.start()

    @check
    def serverStopsWithoutItsDatabase(self):
        self.postgres.stop()
        require_equal(self.server.stop(), 0, "the status")
        self.postgres.start()


class Administrator(Scenario):
    """Somebody else at work in the database while it is served."""

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)
        flags = ["--database-url", self.postgres.new_database("busy"), "--jwt-secret-file", self.secret]
        self.server = Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False).start()
        self.connection = self.server.connect("acme")
        self.connection.record(new_id())
        self.lock = None

    def finish(self):
        self._unlock()
        self.server.end()

    def _lock(self):
        text = "BEGIN; LOCK TABLE parley.interactions; SELECT pg_sleep(60)"
        self.lock = self.workshop.popen(self.postgres.psql("busy", text), cwd="/", **QUIET)
        held = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND database = "
        held += "(SELECT oid FROM pg_database WHERE datname = 'busy')"
        eventually(lambda: self.postgres.sql(held), "the lock is had")

    def _unlock(self):
        if self.lock:
            self._tell_backends("pg_terminate_backend", "query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()")
            self.lock.communicate()
            self.lock = None

    def _tell_backends(self, what, which):
        self.postgres.sql(f"SELECT {what}(pid) FROM pg_stat_activity WHERE datname = 'busy' AND {which}", "postgres")

    def _is_refused(self, call):
        try:
            call()
            raise Mismatch("it is not refused")
        except Refusal as refusal:
            require(refusal.code in (UNAVAILABLE, DEADLINE_EXCEEDED), f"refused with {refusal}")

    def _works_again(self, seconds=20):
        """Calls are answered, on connections old and new, reads as well as records."""
        id = new_id()
        refusals = []

        def works():
            try:
                self.connection.record(id)
                for _ in range(8):
                    self.connection.total()
                return True
            except Refusal as refusal:
                refusals.append(str(refusal))
                return False

        try:
            eventually(works, "", seconds)
        except Mismatch:
            raise Mismatch(f"for {seconds} s after it was over: {refusals[-1]}") from None

    @check
    def lockedTableMeetsDeadlines(self):
        self._lock()
        for call in (
            lambda: self.connection.record(new_id(), seconds=1),
            lambda: self.connection.call("ListInteractions", b"", 1),
        ):
            begin = time.monotonic()
            self._is_refused(call)
            require(time.monotonic() - begin < 20, f"answered after {time.monotonic() - begin:.1f} s, asked for 1 s")
        self._unlock()
        self._works_again()

    @check
    def cancelledStatementsAreGotOver(self):
        self._lock()
        self.connection.send("RecordInteraction", record_request(new_id(), "c"))
        waiting = "wait_event_type = 'Lock' AND datname = 'busy'"
        eventually(lambda: self.postgres.sql(f"SELECT 1 FROM pg_stat_activity WHERE {waiting}"), "the call waits")
        self._tell_backends("pg_cancel_backend", waiting)
        answer = self.connection.receive()[1]
        self._unlock()
        require(
            not isinstance(answer, Refusal) or answer.code in (UNAVAILABLE, DEADLINE_EXCEEDED), f"it answers {answer}"
        )
        self._works_again()

    @check
    def terminatedConnectionsAreGotOver(self):
        self._tell_backends("pg_terminate_backend", "usename = 'postgres' AND pid <> pg_backend_pid()")
        self._works_again()

    @check
    def readOnlyDatabaseIsGotOver(self):
        """As after a failover, when the old primary has become a standby, and the name leads to the new one."""
        self.postgres.sql("ALTER DATABASE busy SET default_transaction_read_only = on")
        self._tell_backends("pg_terminate_backend", "pid <> pg_backend_pid()")
        self._is_refused(lambda: self.connection.record(new_id(), seconds=3))
        self.postgres.sql("ALTER DATABASE busy RESET default_transaction_read_only")
        self._works_again()


SCENARIOS = [Administrator, LostDatabase, OwnDatabase, Verification]
