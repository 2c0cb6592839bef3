"""Every program of the README works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Service

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 5


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program(service: Service, tmp_path: Path, program: str) -> None:
    environment = {
        **os.environ,
        "PARLEY_ADDRESS": service.address,
        "PARLEY_TOKEN": service.token,
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_the_first_program_prints_what_was_recorded(service: Service, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAMS[0]],
        env={**os.environ, "PARLEY_ADDRESS": service.unix_address, "PARLEY_TOKEN": service.token},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "It arrives at noon.\n"
