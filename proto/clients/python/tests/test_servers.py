"""Recorders in gunicorn, uvicorn and celery, which end their workers in ways of their own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import Service
from proxy import Proxy

from parley_client import BackgroundRecorder, Interaction

PATIENCE = 120.0
REQUESTS = 40

Recorded = Callable[[], list[Interaction]]


class Served:
    """A server of served.py, to be started as a module with arguments."""

    def __init__(self, address: str, token: str, conversation: str, tmp_path: Path) -> None:
        self.spill = tmp_path / "spill"
        self.socket = tmp_path / "http.sock"
        self.broker = tmp_path / "broker"
        self.broker.mkdir()
        self._ids = tmp_path / "ids"
        self._log = tmp_path / "log"
        self.environment = {
            **os.environ,
            "PARLEY_TOKEN": token,
            "SERVED_ADDRESS": address,
            "SERVED_DIRECTORY": str(self.spill),
            "SERVED_CONVERSATION": conversation,
            "SERVED_IDS": str(self._ids),
        }

    def ids(self) -> list[str]:
        return self._ids.read_text().split() if self._ids.exists() else []

    def log(self) -> str:
        return self._log.read_text()

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Runs ``python -m arguments`` and kills what is left of it and its children."""
        with self._log.open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=self.environment,
                cwd=Path(__file__).parent,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def end(self, server: subprocess.Popen[bytes]) -> None:
        server.terminate()
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it does not end:\n{self.log()}")

    def request(self, count: int) -> None:
        for _ in range(count):
            self._wait_for(self._asked)

    def wait_for_ids(self, count: int) -> None:
        self._wait_for(lambda: len(self.ids()) >= count)

    def _asked(self) -> bool:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/")
            return connection.getresponse().read() != b""
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        finally:
            connection.close()

    def _wait_for(self, true: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)


@pytest.fixture
def served(service: Service, proxy: Proxy, conversation: str, tmp_path: Path) -> Served:
    return Served(proxy.address, service.token, conversation, tmp_path)


@pytest.fixture
def assert_all_recorded(
    service: Service, proxy: Proxy, served: Served, recorded: Recorded
) -> Callable[[], None]:
    """Has the spill sent by another process, and compares."""

    def check() -> None:
        with BackgroundRecorder(service.address, service.token, served.spill) as following:
            assert following.flush(PATIENCE)
        assert sorted(i.id for i in recorded()) == sorted(served.ids()), served.log()

    return check


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


AWAY = pytest.mark.parametrize("away", [False, True], ids=["up", "away"])


@AWAY
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["loaded-by-workers", "preloaded"])
def test_gunicorn(
    served: Served,
    proxy: Proxy,
    recorded: Recorded,
    assert_all_recorded: Callable[[], None],
    preload: list[str],
    away: bool,
) -> None:
    if away:
        proxy.cut()
    address = f"unix:{served.socket}"
    command = ["gunicorn", "-w", "2", "-b", address, "--no-control-socket", *preload, "served:wsgi"]
    with served.running(*command) as server:
        served.request(REQUESTS)
        if not away:
            # While the workers live.
            wait_until(lambda: len(recorded()) == REQUESTS)
        served.request(REQUESTS)
        served.end(server)
    assert len(served.ids()) == 2 * REQUESTS
    assert_all_recorded()


@AWAY
@pytest.mark.parametrize("workers", ["1", "2"])
def test_uvicorn(
    served: Served,
    proxy: Proxy,
    assert_all_recorded: Callable[[], None],
    workers: str,
    away: bool,
) -> None:
    if away:
        proxy.cut()
    command = ["uvicorn", "--uds", str(served.socket), "--workers", workers, "served:asgi"]
    with served.running(*command) as server:
        served.request(REQUESTS)
        served.end(server)
    # One more of each worker's lifespan.
    assert len(served.ids()) == REQUESTS + int(workers)
    assert_all_recorded()


@AWAY
def test_celery_with_recycled_workers(
    served: Served,
    proxy: Proxy,
    assert_all_recorded: Callable[[], None],
    away: bool,
) -> None:
    if away:
        proxy.cut()
    served.environment["SERVED_BROKER"] = str(served.broker)
    send = "import served\nfor _ in range(42): served.turn.delay()"
    subprocess.run(
        [sys.executable, "-c", send],
        env=served.environment,
        cwd=Path(__file__).parent,
        check=True,
        timeout=PATIENCE,
    )
    worker = ["celery", "-A", "served", "worker", "-P", "prefork", "-c", "2"]
    options = ["--max-tasks-per-child", "5", "--without-gossip", "--without-mingle"]
    with served.running(*worker, *options) as server:
        served.wait_for_ids(42)
        served.end(server)
    assert len(served.ids()) == 42
    assert_all_recorded()
