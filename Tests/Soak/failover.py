#!/usr/bin/env python3
"""Promotes a standby that lags behind, under load with tenants being made: no tenant is ever shown another's rows.

usage: failover.py PARLEY_BINARY WORKDIR [ROUNDS]

A round makes a primary and an asynchronous standby, lets the standby lose touch, kills the primary a while later and
promotes the standby; the server knows both by one URL and goes on. What the lost time held is lost, tenants and their
numbers among it; what was recorded before, and what is acknowledged afterwards, is there.
"""

import base64
import hashlib
import hmac
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Interop" / "command"))

from checks import eventually, require, require_equal  # noqa: E402
from postgres import Postgres  # noqa: E402
from servers import Server  # noqa: E402
from ttrpc import Away, Connection, Refusal, fields, first, list_request, new_id  # noqa: E402
from workshop import Workshop  # noqa: E402

CALLERS = 8
OLD_TENANTS = 12
LOST_SECONDS = 0.7
SECONDS_AFTERWARDS = 3


class Primary(Postgres):
    def start(self):
        settings = f"-k {self.sockets} -c listen_addresses='' -c max_connections=60 -c fsync=off -c wal_keep_size=256MB"
        self._program("pg_ctl", "-D", self.cluster, "-w", "-l", self._log, "-o", settings, "start")


class Standby(Primary):
    def __init__(self, workshop, folder, primary):
        self._primary = primary
        super().__init__(workshop, folder)

    def _program(self, name, *arguments):
        if name == "initdb":
            name, arguments = (
                "pg_basebackup",
                ["-h", self._primary.sockets, "-U", "postgres", "-D", self.cluster, "-R", "-c", "fast"],
            )
        super()._program(name, *arguments)

    def lose_touch(self):
        self.sql("ALTER SYSTEM SET primary_conninfo = ''")
        self.sql("SELECT pg_reload_conf()")
        eventually(lambda: self.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0", "the standby loses touch")

    def promote(self):
        self._program("pg_ctl", "-D", self.cluster, "-w", "promote")


def token(secret, tenant):
    """As `parley token` mints it, without a process for each tenant."""

    def encoded(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"tenant": tenant, "scope": "analytics:view interactions:record", "exp": int(time.time()) + 3600}
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, encoded(signature)]).decode()


class Tenant:
    """One tenant's user: records, and looks at all it is shown."""

    def __init__(self, name, address, secret):
        self.name = name
        self._address = address
        self._token = token(secret, name)
        self._connection = None
        # By the time of their acknowledgement.
        self.recorded = []
        self.foreign = []

    def call(self, work):
        """- Returns: nothing where the server or the database does not respond."""
        try:
            if self._connection is None:
                self._connection = Connection(self._address, self._token, timeout=30)
            return work(self._connection)
        except Away:
            self._connection = None
        except Refusal:
            pass
        return None

    def record(self):
        id = new_id()
        if self.call(lambda connection: connection.record(id, self.name, seconds=5)) is not None:
            self.recorded.append((time.monotonic(), id))

    def look(self):
        """- Returns: the ids on the newest page."""
        page = self.call(lambda connection: connection.call("ListInteractions", list_request(""), 5))
        if page is None:
            return None
        ids = []
        for number, interaction in fields(page):
            if number != 1:
                continue
            ids.append(first(interaction, 1, b"").decode())
            owner = first(interaction, 2, b"").decode()
            if owner != self.name:
                self.foreign.append(f"{self.name} is shown {ids[-1]} of {owner}")
        return ids

    def total(self):
        return self.call(lambda connection: connection.total())


class Load:
    """Callers that record and look, and make a new tenant now and then."""

    def __init__(self, address, secret, seed):
        self._address = address
        self._secret = secret
        self._seed = seed
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.tenants = []
        for _ in range(OLD_TENANTS):
            self._new_tenant().record()
        # Each tenant has one caller, as a connection has.
        shares = [self.tenants[n::CALLERS] for n in range(CALLERS)]
        self._threads = [threading.Thread(target=self._work, args=[n, shares[n]]) for n in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _new_tenant(self):
        with self._lock:
            tenant = Tenant(f"tenant-{len(self.tenants)}", self._address, self._secret)
            self.tenants.append(tenant)
        return tenant

    def _work(self, number, mine):
        chance = random.Random(f"{self._seed} {number}")
        while not self._stop.is_set():
            if chance.random() < 0.2 and len(mine) < 40:
                mine.append(self._new_tenant())
            tenant = chance.choice(mine)
            if chance.random() < 0.6:
                tenant.record()
            else:
                tenant.look()
            time.sleep(0.002)

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def play(workshop, seed):
    folder = workshop.new_folder("round")
    folders = [folder / "a", folder / "b"]
    for one in folders:
        one.mkdir()
        one.chmod(0o1777)
    primary = Primary(workshop, folders[0])
    standby = Standby(workshop, folders[1], primary)
    secret = workshop.new_secret(folder)
    url = f"host={primary.sockets},{standby.sockets} user=postgres dbname=postgres target_session_attrs=read-write"
    server = Server(
        workshop, folder, "--database-url", url, "--jwt-secret-file", secret, secret=secret, keep_data=False
    ).start()
    load = Load(server.addresses[0], secret.read_bytes().strip(), seed)
    try:
        time.sleep(1)
        numbers_before = int(primary.sql("SELECT count(*) FROM parley.tenants"))
        safe_until = time.monotonic()
        standby_is_at = "SELECT pg_last_wal_replay_lsn() >= '{}'::pg_lsn".format(primary.sql("SELECT pg_current_wal_lsn()"))
        eventually(lambda: standby.sql(standby_is_at) == "t", "the standby follows")
        standby.lose_touch()
        time.sleep(LOST_SECONDS)
        numbers_lost = int(primary.sql("SELECT count(*) FROM parley.tenants")) - int(
            standby.sql("SELECT count(*) FROM parley.tenants")
        )
        primary.stop()
        killed = time.monotonic()
        standby.promote()
        eventually(lambda: any(at > killed for one in load.tenants for at, _ in one.recorded), "recording goes on", 30)
        time.sleep(SECONDS_AFTERWARDS)
    finally:
        load.end()
    for tenant in load.tenants:
        ids = set(all_ids(tenant))
        # Each row once more, for whose it is.
        tenant.look()
        expected = [id for at, id in tenant.recorded if at < safe_until or at > killed + 0.5]
        require_equal([id for id in expected if id not in ids], [], f"what {tenant.name} lacks (seed {seed})")
        require_equal(tenant.total(), len(ids), f"the statistics of {tenant.name} (seed {seed})")
    foreign = [what for tenant in load.tenants for what in tenant.foreign]
    require_equal(foreign, [], f"foreign rows (seed {seed})")
    ran = workshop.run("verify", "--database-url", url)
    require(ran.status == 0, f"verify says {ran} (seed {seed})")
    after = sum(at > killed for tenant in load.tenants for at, _ in tenant.recorded)
    print(
        f"tenants: {len(load.tenants)}, of them before: {numbers_before}, lost with their numbers: {numbers_lost}, "
        f"records acknowledged: {sum(len(tenant.recorded) for tenant in load.tenants)}, afterwards: {after}",
        flush=True,
    )
    require_equal(server.stop(), 0, "the server's status")
    standby.stop()
    shutil.rmtree(folder, ignore_errors=True)


def all_ids(tenant):
    return eventually(lambda: tenant.call(lambda connection: [*connection.all_ids(), ""]), "reads are answered")[:-1]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    workshop = Workshop(sys.argv[1], sys.argv[2])
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    try:
        for round in range(rounds):
            print(f"round {round + 1} of {rounds}, seed {seed + round}", flush=True)
            play(workshop, seed + round)
    finally:
        workshop.close()
    print(f"{rounds} promotions, and no tenant was shown another's rows")


if __name__ == "__main__":
    main()
