"""`parley migrate`, and servers that start on schemas older and newer than theirs."""

import re
import subprocess
import threading

from checks import Scenario, check, eventually, require, require_equal
from servers import Server

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


class Migrations(Scenario):
    """`parley migrate`."""

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)
        # Long in giving up, so it may begin.
        self.lost = self._serve(f"host={self.folder} dbname=x user=x").launch()

    def finish(self):
        self.lost.end()

    def _migrate(self, url, *flags, **options):
        return self.workshop.run("migrate", "--database-url", url, *flags, **options)

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
        applied = [name for ran in said if "applied" in ran.out for name in ran.out.strip()[9:].split(", ")]
        names = self.postgres.sql("SELECT name FROM parley.migrations", "race").split("\n")
        require_equal(sorted(applied), sorted(names), "what they applied between them")

    @check
    def serversStartedAtOnceAllServe(self):
        url = self.postgres.new_database("rolled")
        servers = [self._serve(url).launch() for _ in range(3)]
        try:
            for number, server in enumerate(servers):
                server.await_listening()
                server.caller("acme").record(conversation_id="c")
                require_equal(server.caller("acme").total(), number + 1, "the interactions")
        finally:
            for server in servers:
                server.end()

    @check
    def planTellsWhatIsPendingAndChangesNothing(self):
        url = self.postgres.new_database("planned")
        said = self._migrate(url, "--plan").succeeded().out
        require("the schema is at version 0" in said and "1 interactions" in said, f"it says {said!r}")
        require("    1. in one transaction; locks " in said, f"it says {said!r}")
        require_equal(self.postgres.sql("SELECT to_regnamespace('parley') IS NULL", "planned"), "t", "nothing is there")
        self._migrate(url).succeeded()
        newest = self.postgres.sql("SELECT max(version) FROM parley.migrations", "planned")
        said = self._migrate(url, "--plan").succeeded().out
        require_equal(said, f"the schema is up to date (version {newest})\n", "what it says afterwards")
        self._migrate(url, "--plan", "--require", "4").refused("--plan", "--require")

    @check
    def migrationWaitsForAnIdleTransactionAndSaysForWhom(self):
        url = self.postgres.new_database("held")
        self._migrate(url).succeeded()
        self.postgres.sql("DELETE FROM parley.migrations WHERE version = 5; DROP TABLE parley.leases", "held")
        holding = "BEGIN; CREATE TABLE parley.leases (); SELECT pg_sleep(60)"
        psql = self.workshop.popen(self.postgres.psql("held", holding), cwd="/", **QUIET)
        eventually(lambda: self.postgres.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it is held")
        command = [self.workshop.parley, "migrate", "--database-url", url]
        child = self.workshop.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        told = child.stderr.readline().decode()
        require("a migration waits for a lock" in told and "5 leases" in told, f"it says {told!r}")
        require(re.search(r"process \d+ \(psql\), active since", told), f"it says {told!r}")
        self.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        psql.communicate(timeout=20)
        out, err = child.communicate(timeout=60)
        require_equal((child.returncode, out), (0, b"applied: leases\n"), f"the end ({err})")

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
    def userWithoutRightsIsTold(self):
        self.postgres.sql("CREATE ROLE guest LOGIN")
        self.postgres.new_database("closed")
        says = "^Error: the user guest may not make a schema in the database closed: run GRANT CREATE ON DATABASE closed TO guest;$"
        self._migrate(self.postgres.url("closed", user="guest")).refused(says)

    @check
    def userWithoutRightsOnAMigratedDatabaseIsTold(self):
        self.postgres.sql("CREATE ROLE passer LOGIN")
        self._migrate(self.postgres.new_database("kept")).succeeded()
        url = self.postgres.url("kept", user="passer")
        says = "Error: the user passer may not work with the schema parley, which is postgres's: use that user, or run GRANT postgres TO passer;$"
        for command in (["migrate"], ["migrate", "--plan"], ["migrate", "--require", "9"], ["verify"]):
            self.workshop.run(*command, "--database-url", url).refused(says)
        flags = ["--database-url", url, "--jwt-secret-file", self.secret, "--listen", "127.0.0.1:0"]
        self.workshop.run("serve", *flags).refused(says)

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
        self.workshop.run("verify", "--database-url", url).refused("999", "newer")
        server = self._serve(url).launch()
        try:
            require(server.wait(20) > 0, "it serves a newer schema")
            require("999" in server.err and "newer" in server.err, f"it says {server.err!r}")
        finally:
            server.end()

    @check
    def newerSchemaThatAllowsItIsServed(self):
        url = self.postgres.new_database("allowed")
        self._migrate(url).succeeded()
        self.postgres.sql("INSERT INTO parley.migrations VALUES (999, 'future', 'x', now(), 4)", "allowed")
        says = "the database's schema is at version 999, newer than the"
        for command in ("migrate", "verify"):
            ran = self.workshop.run(command, "--database-url", url).succeeded()
            require(ran.err.startswith(says) and "version 4 and later" in ran.err, f"{command} says {ran.err!r}")
        server = self._serve(url).start()
        try:
            server.caller("acme").record(conversation_id="c")
            require_equal(server.caller("acme").total(), 1, "the interactions")
            require(says in server.err, f"it says {server.err!r}")
        finally:
            server.end()

    @check
    def olderVersionsAreShutOutOnRequest(self):
        url = self.postgres.new_database("required")
        self._migrate(url).succeeded()
        newest = self.postgres.sql("SELECT max(version) FROM parley.migrations", "required")
        said = self._migrate(url, "--require", newest).succeeded().out
        require(f"only a parley that knows version {newest} or later" in said, f"it says {said!r}")
        require_equal(self.postgres.sql("SELECT max(oldest_version) FROM parley.migrations", "required"), newest, "kept")
        self._migrate(url, "--require", "4").refused("4 cannot be required")
        self._migrate(url, "--require", "999").refused("999 cannot be required")
        self._migrate(url).succeeded()

    @check
    def otherMigrationOfTheSameNumberIsRefused(self):
        url = self.postgres.new_database("other")
        self._migrate(url).succeeded()
        self.postgres.sql("UPDATE parley.migrations SET checksum = 'x' WHERE version = 1", "other")
        self._migrate(url).refused("other text")

    @check
    def serverWithoutItsDatabaseGivesUp(self):
        require(self.lost.wait(60) > 0, "its status is 0")
        last = self.lost.err.strip().splitlines()[-1]
        require(last.startswith("Error:") and str(self.folder) in last, f"its last words are {last!r}")


SCENARIOS = [Migrations]
