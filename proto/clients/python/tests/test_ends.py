"""Every ordinary end of a process, however it was started, whatever becomes of the service.

A table of starts, ends and states of the service; what was recorded is read back from the service.
With PARLEY_TEST_EVERY_END set, each start and end meets every state of the service.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Service
from proxy import Proxy

from parley_client import BackgroundRecorder, Interaction

FAMILY = str(Path(__file__).with_name("family.py"))
COUNT = 20
PATIENCE = 120.0

Recorded = Callable[[], list[Interaction]]

METHODS = ("fork", "forkserver", "spawn")
ENDS = {
    "none": ("return", "exit", "raise", "sigterm"),
    "fork": ("return", "exit", "raise", "sigterm"),
    "thread": ("sigterm",),
    **{f"process-{m}": ("return", "exit", "raise", "sigterm", "daemon") for m in METHODS},
    **{f"pool-{m}": ("close", "recycled", "terminate") for m in METHODS},
    **{f"executor-{m}": ("return",) for m in METHODS},
}
SERVERS = ("up", "away", "slow", "refusing")
CORE = ("none sigterm", "fork sigterm", "process-fork return", "pool-fork terminate")
"""Meet every state of the service always, the others one each."""


def table() -> Iterator[tuple[str, str, str]]:
    everything = "PARLEY_TEST_EVERY_END" in os.environ
    pairs = [(start, end) for start, ends in ENDS.items() for end in ends]
    for index, (start, end) in enumerate(pairs):
        for turn, server in enumerate(SERVERS):
            if everything or f"{start} {end}" in CORE or index % len(SERVERS) == turn:
                yield start, end, server


@pytest.mark.parametrize(("start", "end", "server"), list(table()))
def test_an_end_loses_nothing(
    service: Service,
    tmp_path: Path,
    proxy: Proxy,
    conversation: str,
    recorded: Recorded,
    start: str,
    end: str,
    server: str,
) -> None:
    token = service.token
    if server == "away":
        proxy.cut()
    elif server == "slow":
        proxy.throttle(50_000)
    elif server == "refusing":
        token = service.read_token
    printed = run_family(proxy, tmp_path, token, conversation, start, end)
    if server == "away":
        proxy.restore()
    proxy.throttle(None)

    with BackgroundRecorder(service.address, service.token, tmp_path) as following:
        # A daemon that was terminated ends by itself, perhaps after its parent.
        until = time.monotonic() + PATIENCE
        while not (following.flush(PATIENCE) and not list(tmp_path.glob("*.spill"))):
            assert time.monotonic() < until
            time.sleep(0.05)
    found = [interaction.id for interaction in recorded()]
    assert len(set(found)) == len(found)
    assert len(set(printed)) == len(printed) >= 2 * COUNT
    assert set(printed) - set(found) == set(), "lost"
    # The end may come between recording one and printing it.
    assert len(set(found) - set(printed)) <= 2


def run_family(
    proxy: Proxy, directory: Path, token: str, conversation: str, start: str, end: str
) -> list[str]:
    """Runs it to its end, its children's included; what they have recorded."""
    arguments = [proxy.address, str(directory), conversation, start, end, str(COUNT)]
    with subprocess.Popen(
        [sys.executable, FAMILY, *arguments],
        env={**os.environ, "PARLEY_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as family:
        assert family.stdout is not None
        if start == "none" and end == "sigterm":
            lines = [family.stdout.readline() for _ in range(3 * COUNT)]
            family.terminate()
        else:
            lines = []
        try:
            out, error = family.communicate(timeout=PATIENCE)
        finally:
            family.kill()
    expected = {"exit": 3, "raise": 1, "sigterm": -15}.get(end, 0) if start == "none" else 0
    assert family.returncode == expected, error
    return "".join(lines).split() + out.split()
