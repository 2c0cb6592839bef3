"""Processes that end, well or badly, and the next one that takes over their spill."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Service
from proxy import Proxy

from parley_client import Interaction, InteractionFilter, ParleyClient

PATIENCE = 60.0

Recorded = Callable[[], list[Interaction]]
Start = Callable[..., "Agent"]


class Agent:
    """A running agent.py, and what it has recorded so far: ids with their times."""

    def __init__(self, arguments: list[str]) -> None:
        script = str(Path(__file__).with_name("agent.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.recorded: dict[str, float] = {}
        self._spilled = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_spilled(self) -> None:
        assert self._spilled.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more."""
        self.process.kill()
        self._end()

    def leave(self) -> float:
        """Lets it come to its end; the seconds that took."""
        begin = time.monotonic()
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0
        self._end()
        return time.monotonic() - begin

    def _end(self) -> None:
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            match line.split():
                case ["spilled"]:
                    self._spilled.set()
                case [time, id]:
                    self.recorded[id] = float(time)


@pytest.fixture
def start(service: Service, tmp_path: Path, proxy: Proxy, conversation: str) -> Iterator[Start]:
    """Starts agents that share a spill directory, and record through the proxy."""
    agents = []

    def start(count: int, pause: float = 0) -> Agent:
        agent = Agent([proxy.address, str(tmp_path), conversation, str(count), str(pause)])
        agents.append(agent)
        return agent

    yield start
    for agent in agents:
        if agent.process.poll() is None:
            agent.kill()


@pytest.fixture
def wait_for_count(service: Service, conversation: str) -> Iterator[Callable[[int], None]]:
    """Waits until the service has that many of the test's interactions, or more."""
    with ParleyClient(service.address, service.token) as parley:

        def wait(count: int) -> None:
            end = time.monotonic() + PATIENCE
            wanted = InteractionFilter(conversation_id=conversation)
            while parley.stats(wanted).totals.total_interactions < count:
                assert time.monotonic() < end, f"fewer than {count} were recorded in time"
                time.sleep(0.02)

        yield wait


def test_a_killed_process_loses_nothing_it_spilled(
    start: Start,
    proxy: Proxy,
    tmp_path: Path,
    recorded: Recorded,
    wait_for_count: Callable[[int], None],
) -> None:
    proxy.cut()
    killed = start(500)
    killed.wait_until_spilled()
    killed.kill()
    assert len(killed.recorded) == 500
    assert list(tmp_path.iterdir())

    proxy.restore()
    following = start(0)
    wait_for_count(500)
    following.leave()
    assert sorted(i.id for i in recorded()) == sorted(killed.recorded)
    assert list(tmp_path.iterdir()) == []


def test_a_process_killed_while_it_sends_the_spill(
    start: Start,
    proxy: Proxy,
    tmp_path: Path,
    recorded: Recorded,
    wait_for_count: Callable[[int], None],
) -> None:
    proxy.cut()
    first = start(5000)
    first.wait_until_spilled()
    first.kill()

    proxy.restore()
    second = start(0)
    wait_for_count(1)
    second.kill()

    third = start(0)
    wait_for_count(5000)
    third.leave()
    assert sorted(i.id for i in recorded()) == sorted(first.recorded)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_share_a_directory(
    start: Start,
    proxy: Proxy,
    tmp_path: Path,
    recorded: Recorded,
    wait_for_count: Callable[[int], None],
) -> None:
    proxy.cut()
    agents = [start(300) for _ in range(4)]
    for agent in agents:
        agent.wait_until_spilled()
    agents[0].kill()
    proxy.restore()
    wait_for_count(1200)
    for agent in agents[1:]:
        agent.leave()
    sent = [id for agent in agents for id in agent.recorded]
    assert sorted(i.id for i in recorded()) == sorted(sent)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_flushes(start: Start, tmp_path: Path, recorded: Recorded) -> None:
    agent = start(1000)
    agent.leave()
    assert len(agent.recorded) == 1000
    assert sorted(i.id for i in recorded()) == sorted(agent.recorded)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_while_the_service_is_away(
    start: Start, proxy: Proxy, tmp_path: Path, recorded: Recorded
) -> None:
    proxy.cut()
    agent = start(100)
    agent.wait_until_spilled()
    assert agent.leave() < 10
    assert list(tmp_path.iterdir())
    proxy.restore()
    start(0).leave()
    assert sorted(i.id for i in recorded()) == sorted(agent.recorded)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("round", range(3))
def test_a_kill_at_any_time_costs_the_last_seconds_at_most(
    start: Start, proxy: Proxy, tmp_path: Path, recorded: Recorded, round: int
) -> None:
    agent = start(100_000, pause=0.002)
    end = time.monotonic() + random.uniform(4, 6)
    while time.monotonic() < end:
        for trouble, relief in ((proxy.cut, proxy.restore), (proxy.hang, proxy.resume)):
            trouble()
            time.sleep(random.uniform(0.1, 1.2))
            relief()
            time.sleep(random.uniform(0.1, 0.3))
    random.choice((proxy.cut, proxy.hang, lambda: None))()
    time.sleep(random.uniform(0, 2))
    killed = time.monotonic()
    agent.kill()
    proxy.cut()
    proxy.restore()

    following = start(0)
    following.wait_until_spilled()
    deadline = time.monotonic() + PATIENCE
    while list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    following.leave()

    found = [i.id for i in recorded()]
    assert len(set(found)) == len(found)
    # The kill may have come between recording one and saying so.
    assert len(set(found) - set(agent.recorded)) <= 1
    safe = {id for id, time in agent.recorded.items() if time < killed - 3}
    assert safe <= set(found)
