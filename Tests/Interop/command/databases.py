"""An operator's own PostgreSQL: `serve --database-url` and `migrate`."""

import subprocess
import threading
import time

from checks import Scenario, check, eventually, require, require_equal
from ttrpc import new_id
from workshop import Postgres, Server, processes_in

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
            self.workshop, self.folder, "--database-url", url, *keys, *flags,
            secret=self.secret, keep_data=False, **options,
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
    def serverWaitsForAStartingDatabase(self):
        url = self.postgres.url("late")
        server = self._serve(url).launch()
        try:
            eventually(lambda: server.err, "it says something while it waits")
            require(server.process.poll() is None, f"it has ended: {server.err}")
            self.postgres.new_database("late")
            server.await_listening(35)
        finally:
            server.end()


class Migrations(Scenario):
    """`parley migrate`."""

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)

    def _migrate(self, url, **options):
        return self.workshop.run("migrate", "--database-url", url, **options)

    @check
    def migrateAppliesOnce(self):
        url = self.postgres.new_database("once")
        first = self._migrate(url).succeeded()
        require("applied" in first.out and "interactions" in first.out, f"it says {first.out!r}")
        second = self._migrate(url).succeeded()
        require("up to date" in second.out, f"the second time it says {second.out!r}")

    @check
    def migrateTakesTheEnvironment(self):
        self.postgres.new_database("env")
        ran = self.workshop.run("migrate", env={"PARLEY_DATABASE_URL": self.postgres.url("env")})
        require("applied" in ran.succeeded().out, f"it says {ran.out!r}")

    @check
    def migrationsAtOnceApplyOnce(self):
        url = self.postgres.new_database("race")
        said = []
        threads = [threading.Thread(target=lambda: said.append(self._migrate(url))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        require_equal([ran.status for ran in said], [0] * 4, f"the statuses ({[ran.err for ran in said]})")
        require_equal(sum("applied" in ran.out for ran in said), 1, "how many applied it")

    @check
    def migratedDatabaseIsServed(self):
        server = self._serve(self.postgres.url("once"))
        try:
            server.start().caller("acme").record(conversation_id="c")
            require("applied" not in server.err, "serve migrated again")
        finally:
            server.end()

    def _serve(self, url):
        flags = ["--database-url", url, "--jwt-secret-file", self.secret]
        return Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False)

    @check
    def migrateWithoutADatabaseIsRefused(self):
        self.workshop.run("migrate").refused("--database-url", "PARLEY_DATABASE_URL")

    @check
    def absentDatabaseIsNamed(self):
        ran = self._migrate(self.postgres.url("nowhere"))
        ran.refused("nowhere", "does not exist")

    @check
    def absentServerIsNamed(self):
        self._migrate(f"host={self.folder} dbname=x user=x").refused(str(self.folder), "no such file")
        self._migrate("postgresql://nobody@127.0.0.1:1/x").refused("127\\.0\\.0\\.1", "refused")

    @check
    def malformedUrlIsNamed(self):
        self._migrate("postgresql://host:port:more/").refused("port|invalid|malformed")
        self._migrate("colour=blue").refused("colour|invalid")

    @check
    def serverWithoutItsDatabaseGivesUp(self):
        server = self._serve(f"host={self.folder} dbname=x user=x").launch()
        try:
            status = server.wait(60)
            require(status > 0, f"the status is {status}")
            last = server.err.strip().splitlines()[-1]
            require(last.startswith("Error:") and str(self.folder) in last, f"its last words are {last!r}")
        finally:
            server.end()

    @check
    def userWithoutRightsIsTold(self):
        self.postgres.sql("CREATE ROLE guest LOGIN")
        self.postgres.new_database("closed")
        self._migrate(self.postgres.url("closed", user="guest")).refused("permission denied")

    @check
    def userWhoOwnsTheDatabaseSuffices(self):
        self.postgres.sql("CREATE ROLE tenant_host LOGIN CREATEROLE")
        self.postgres.sql("CREATE DATABASE hosted OWNER tenant_host")
        self._migrate(self.postgres.url("hosted", user="tenant_host")).succeeded()

    @check
    def newerSchemaIsRefused(self):
        url = self.postgres.new_database("newer")
        self._migrate(url).succeeded()
        self.postgres.sql("INSERT INTO parley.migrations VALUES (999, 'future', 'x')", "newer")
        self._migrate(url).refused("999", "newer")
        server = self._serve(url).launch()
        try:
            require(server.wait(20) > 0, "it serves a newer schema")
            require("999" in server.err and "newer" in server.err, f"it says {server.err!r}")
        finally:
            server.end()

    @check
    def otherMigrationOfTheSameNumberIsRefused(self):
        url = self.postgres.new_database("other")
        self._migrate(url).succeeded()
        self.postgres.sql("UPDATE parley.migrations SET checksum = 'x' WHERE version = 1", "other")
        self._migrate(url).refused("other text")


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
        waiting = [
            self.caller.popen("record", "--id", id, "--conversation", "c", "--json", **QUIET)
            for id in self.ids
        ]
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
        require("socket" not in refused.err and str(self.postgres.sockets) not in refused.err, f"it tells {refused.err}")
        self.postgres.start()

    @check
    def serverStopsWithoutItsDatabase(self):
        self.postgres.stop()
        require_equal(self.server.stop(), 0, "the status")
        self.postgres.start()


SCENARIOS = [LostDatabase, Migrations, OwnDatabase]
