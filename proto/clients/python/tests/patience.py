"""What the recorder's tests wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from parley_client import Interaction

Recorded = Callable[[], list[Interaction]]
PATIENCE = 30.0


def ids(interactions: Iterable[Interaction]) -> list[str]:
    return sorted(interaction.id for interaction in interactions)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
