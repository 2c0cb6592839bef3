"""A PostgreSQL that is not Parley's own."""

import os
import subprocess

from checks import require_equal
from processes import IS_ROOT, postgres_binaries, postgres_user


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
