"""Parley behind PgBouncer, in each of its modes."""

import os
import random
import subprocess
import threading
import time

from checks import Scenario, check, eventually, require, require_equal
from processes import IS_ROOT, listens, postgres_binaries, postgres_user
from servers import Server
from ttrpc import (
    DEADLINE_EXCEEDED,
    UNAVAILABLE,
    Away,
    Refusal,
    field,
    fields,
    first,
    list_request,
    new_id,
    record_request,
)

IN_FLIGHT = 64
ROLES_AND_SETTINGS = """
    SELECT current_user, current_setting('role'), coalesce(current_setting('parley.tenant', true), ''),
      coalesce(current_setting('parley.inserts_are_counted', true), ''), current_setting('plan_cache_mode'),
      current_setting('enable_seqscan'), current_setting('enable_sort'), current_setting('statement_timeout'),
      current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout'), (SELECT count(*) FROM pg_prepared_statements)
"""
CLEAN = "postgres|none|||auto|on|on|0|0|0|0"


class PgBouncer:
    """A pooler before a PostgreSQL, on a Unix socket."""

    def __init__(self, workshop, postgres, folder, mode, pool_size=5):
        self.folder = folder
        users, settings = folder / "users", folder / "ini"
        users.write_text('"postgres" ""\n')
        settings.write_text(
            f"""
            [databases]
            * = host={postgres.sockets}
            [pgbouncer]
            listen_port = 5432
            unix_socket_dir = {folder}
            auth_type = trust
            auth_file = {users}
            pool_mode = {mode}
            default_pool_size = {pool_size}
            max_client_conn = 200
            pidfile = {folder}/pid
            """
        )
        if IS_ROOT:
            os.chown(folder, postgres_user()["user"], postgres_user()["group"])
        self._log = open(folder / "log", "wb")
        self.process = workshop.popen(
            ["/usr/sbin/pgbouncer", settings],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd="/",
            **postgres_user(),
        )
        eventually(lambda: listens(folder / ".s.PGSQL.5432"), "PgBouncer listens")

    def url(self, database):
        return f"host={self.folder} user=postgres dbname={database}"

    def psql(self, database, text):
        """The rows of a client of its own."""
        ran = subprocess.run(
            [postgres_binaries() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url(database)],
            input=text,
            cwd="/",
            timeout=60,
            capture_output=True,
            text=True,
        )
        require_equal(ran.returncode, 0, f"psql's status ({ran.stderr})")
        return ran.stdout.strip().splitlines()

    def end(self):
        self.process.terminate()
        self.process.wait()
        self._log.close()


class Pooled(Scenario):
    """What holds in a mode that works; not a scenario by itself."""

    MODE = ""
    POOL = 0
    FLAGS = ()

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)
        self.database = f"pooled_{type(self).__name__.lower()}"
        self.postgres.new_database(self.database)
        self.pooler = PgBouncer(self.workshop, self.postgres, self.workshop.new_folder("p"), self.MODE, self.POOL)
        self.server = self._serve(*self.FLAGS)
        self.server.start()

    def finish(self):
        self.server.end()
        self.pooler.end()

    def _serve(self, *flags):
        flags = ["--database-url", self.pooler.url(self.database), "--jwt-secret-file", self.secret, *flags]
        return Server(self.workshop, self.folder, *flags, secret=self.secret, keep_data=False)

    def _sql(self, text):
        return self.postgres.sql(text, self.database)

    def _record_many(self, tenant, count, recorded):
        """Records with so many calls in flight, and reads in between."""
        connection = self.server.connect(tenant)
        waiting = {}
        try:
            while len(recorded) < count or waiting:
                while len(waiting) < IN_FLIGHT and len(recorded) + len(waiting) < count:
                    id = new_id()
                    waiting[connection.send("RecordInteraction", record_request(id, tenant))] = id
                    if len(waiting) % 8 == 0:
                        # Short pages: nothing is received while something is sent.
                        waiting[connection.send("ListInteractions", field(2, 5))] = None
                stream, answer = connection.receive()
                id = waiting.pop(stream)
                if isinstance(answer, Refusal):
                    raise answer
                if id:
                    recorded.append(id)
                else:
                    self._require_own(tenant, answer)
        finally:
            connection.close()

    def _require_own(self, tenant, page):
        for number, interaction in fields(page):
            if number == 1:
                require_equal(first(interaction, 2, b"").decode(), tenant, "the tenant of a row")

    def _twoTenantsAtOnce(self, count):
        recorded = {"acme": [], "globex": []}
        failures = []

        def run(tenant):
            try:
                self._record_many(tenant, count, recorded[tenant])
            except Exception as error:  # Told below, where it fails the check.
                failures.append(f"{tenant}: {error!r}")

        threads = [threading.Thread(target=run, args=[tenant]) for tenant in recorded]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        require_equal(failures, [], "what failed")
        for tenant, ids in recorded.items():
            connection = self.server.connect(tenant)
            require_equal(sorted(connection.all_ids()), sorted(ids), f"the interactions of {tenant}")
            require_equal(connection.total(), len(ids), f"the statistics of {tenant}")
            for other in random.sample(recorded["acme"], 20) if tenant == "globex" else []:
                try:
                    connection.call("GetInteraction", field(1, other))
                    require(False, f"{tenant} is shown {other}")
                except Refusal as refusal:
                    require_equal(refusal.code, 5, "the code")
            connection.close()


class TransactionPooling(Pooled):
    MODE = "transaction"
    POOL = 5

    @check
    def poolerServesTwoTenantsAtOnce(self):
        self._twoTenantsAtOnce(3000)

    @check
    def poolerKeepsNothingOfAServersSessions(self):
        # One for each connection of the pool, so that none is looked at twice.
        looks, threads = [], []
        for _ in range(self.POOL):
            text = f"BEGIN; {ROLES_AND_SETTINGS}; SELECT pg_sleep(0.5); COMMIT;"
            threads.append(threading.Thread(target=lambda: looks.append(self.pooler.psql(self.database, text)[0])))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        require_equal(looks, [CLEAN] * self.POOL, "what the pool's connections hold")
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        require_equal(self._sql(locks), "0", "the advisory locks left")

    @check
    def rowsOfOthersThroughThePoolerAreCounted(self):
        connection = self.server.connect("acme")
        before = connection.total()
        copies = """
            INSERT INTO parley.interactions
            SELECT estimated_cost_nanos, confidence_score, updated_at, deleted_at, tenant, context_size,
              processing_time_ms, prompt_tokens, completion_tokens, handoff_triggered,
              (left(id::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, conversation_id, model_used, message_type,
              handoff_reason, intent_names, intent_confidences, customer_message, agent_response
            FROM (
              SELECT * FROM parley.interactions
              WHERE tenant = (SELECT key FROM parley.tenants WHERE name = 'acme') LIMIT 1
            ) AS one
            CROSS JOIN generate_series(1, 10) AS n;
        """
        for _ in range(2 * self.POOL):
            self.pooler.psql(self.database, f"BEGIN; {copies} ROLLBACK;")
        self.pooler.psql(self.database, copies)
        eventually(lambda: connection.total() == before + 10, "the rows are counted")
        eventually(lambda: self._sql("SELECT count(*) FROM parley.deltas") == "0", "they are in the sums")
        require_equal(connection.total(), before + 10, "the statistics from the sums")
        ran = self.workshop.run("verify", "--database-url", self.pooler.url(self.database))
        require("days that differ: 0" in ran.succeeded().out, f"verify says {ran.out!r}")

    @check
    def cancellingThroughThePoolerLeavesOthersAlone(self):
        """Calls that end at their deadline are cancelled in the database; statements of other clients are not."""
        stop, failures = threading.Event(), []

        def others():
            while not stop.is_set():
                try:
                    self.pooler.psql(self.database, "SELECT pg_sleep(0.005);" * 50)
                except Exception as error:  # Told below, where it fails the check.
                    failures.append(repr(error))

        threads = [threading.Thread(target=others) for _ in range(3)]
        for thread in threads:
            thread.start()
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        ended = 0
        connection = self.server.connect("acme")
        end = time.monotonic() + 8
        while time.monotonic() < end:
            try:
                connection.call("ListInteractions", list_request(""), chance.uniform(0.001, 0.02))
            except Refusal as refusal:
                require_equal(refusal.code, DEADLINE_EXCEEDED, f"the code (seed {seed})")
                ended += 1
        stop.set()
        for thread in threads:
            thread.join()
        require_equal(failures, [], f"what others met (seed {seed})")
        require(ended > 0, "no call met its deadline")
        require(connection.all_ids(), "the server reads on")

    @check
    def readBehindThePoolerWaitsForNoLock(self):
        connection = self.server.connect("acme")
        # The statements are planned, and reads wait where they read.
        connection.all_ids()
        text = "BEGIN; LOCK TABLE parley.interactions; SELECT pg_sleep(60)"
        lock = self.workshop.popen(self.postgres.psql(self.database, text), cwd="/", stdout=subprocess.DEVNULL)
        try:
            held = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
            eventually(lambda: self._sql(f"{held} AND relation = 'parley.interactions'::regclass"), "the lock is had")
            begin = time.monotonic()
            try:
                connection.call("ListInteractions", list_request(""), 30)
                require(False, "it is answered")
            except Refusal as refusal:
                require_equal(refusal.code, UNAVAILABLE, "the code")
                require("locked by another session" in str(refusal), f"it says {refusal}")
            require(time.monotonic() - begin < 15, "it has waited for long")
        finally:
            self._sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()")
            lock.wait()
        require(connection.all_ids(), "reads go on")

    @check
    def serverBehindThePoolerStartsAgain(self):
        require_equal(self.server.stop(), 0, "the status")
        self.server.start()
        require(self.server.connect("acme").total() > 0, "nothing is there after a second start")

    @check
    def poolerThatIsRestartedIsFoundAgain(self):
        self.pooler.end()
        self.pooler = PgBouncer(self.workshop, self.postgres, self.pooler.folder, self.MODE, self.POOL)
        connection = self.server.connect("acme")

        def records():
            try:
                return not connection.record(new_id(), "acme")
            except (Refusal, Away):
                return False

        eventually(records, "recording goes on")


class SessionPooling(Pooled):
    MODE = "session"
    POOL = 20

    @check
    def sessionPoolerServesTwoTenantsAtOnce(self):
        self._twoTenantsAtOnce(1500)


class SessionPoolingWithPreparedStatements(Pooled):
    MODE = "session"
    POOL = 20
    FLAGS = ("--prepared-statements", "on")

    @check
    def sessionPoolerKeepsPreparedStatements(self):
        self._twoTenantsAtOnce(1500)


class TransactionPoolingWithPreparedStatements(Scenario):
    """A pooler that does not keep them; PgBouncer does from 1.21 on."""

    @check
    def poolerThatLosesPreparedStatementsIsRefused(self):
        version = subprocess.run(["/usr/sbin/pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout
        if tuple(int(part) for part in version.split()[1].split(".")[:2]) >= (1, 21):
            return
        postgres = self.workshop.shared_postgres()
        postgres.new_database("named")
        pooler = PgBouncer(self.workshop, postgres, self.workshop.new_folder("p"), "transaction")
        try:
            secret = self.workshop.new_secret(self.folder)
            flags = ["--jwt-secret-file", secret, "--prepared-statements", "on"]
            ran = self.workshop.run("serve", *flags, "--database-url", pooler.url("named"))
            ran.says_plainly("pooler", "--prepared-statements")
            require(ran.status > 0, f"it does not refuse: {ran}")
        finally:
            pooler.end()


class StatementPooling(Scenario):
    """A mode in which nothing can work."""

    @check
    def statementPoolerIsRefused(self):
        postgres = self.workshop.shared_postgres()
        postgres.new_database("by_statement")
        pooler = PgBouncer(self.workshop, postgres, self.workshop.new_folder("p"), "statement")
        try:
            for command in (["migrate"], ["serve", "--jwt-secret-file", self.workshop.new_secret(self.folder)]):
                ran = self.workshop.run(*command, "--database-url", pooler.url("by_statement"))
                ran.says_plainly("pooler", "transaction or session")
                require(ran.status > 0, f"it does not refuse: {ran}")
        finally:
            pooler.end()


class UnfitDatabases(Scenario):
    """What cannot work is refused at start, in a sentence."""

    def prepare(self):
        self.postgres = self.workshop.shared_postgres()
        self.secret = self.workshop.new_secret(self.folder)

    def _refused(self, url, *says):
        for command in (["migrate"], ["serve", "--jwt-secret-file", self.secret]):
            ran = self.workshop.run(*command, "--database-url", url)
            require(ran.status > 0, f"it does not refuse: {ran}")
            ran.says_plainly(*says)

    @check
    def otherEncodingIsRefused(self):
        self.postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        self._refused(self.postgres.url("latin"), "LATIN1", "UTF8")
        require_equal(
            self.postgres.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'parley'", "latin"), "0", "its schema"
        )

    @check
    def roleWithoutRowSecurityIsRefused(self):
        url = self.postgres.new_database("unsecured")
        self.postgres.sql("CREATE ROLE careless SUPERUSER LOGIN; ALTER ROLE careless SET row_security = off")
        self._refused(url.replace("user=postgres", "user=careless"), "row_security is off", "careless")

    @check
    def openTableIsRefused(self):
        url = self.postgres.new_database("opened")
        self.workshop.run("migrate", "--database-url", url).succeeded()
        self.postgres.sql("ALTER TABLE parley.rollups DISABLE ROW LEVEL SECURITY", "opened")
        self._refused(url, "row security is not in force", "parley.rollups")


SCENARIOS = [
    TransactionPooling,
    SessionPooling,
    SessionPoolingWithPreparedStatements,
    StatementPooling,
    UnfitDatabases,
]
