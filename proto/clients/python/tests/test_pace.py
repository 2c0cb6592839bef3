"""The size of batches, on links that only exist in arithmetic."""

from __future__ import annotations

import itertools

import pytest

from parley_client._calls import BATCH_BYTES_MAX, BATCH_INTERACTIONS_MAX, batches
from parley_client._pace import FRAME_SECONDS, START_BYTES, Pace

TIMEOUT = 10.0


class Link:
    """Carries so many bytes a second, in virtual time, for a sender that always has more."""

    def __init__(self, rate: float, record: int, timeout: float = TIMEOUT) -> None:
        self.rate = rate
        self.pace = Pace(timeout)
        self.seconds = 0.0
        self.carried = 0
        self.sizes: list[int] = []
        self._record = record

    def send(self) -> None:
        records = itertools.repeat(self._record, BATCH_INTERACTIONS_MAX)
        batch = next(batches(records, lambda size: size, self.pace.batch_bytes))
        size, patience = sum(batch), min(self.pace.deadline(sum(batch)), FRAME_SECONDS)
        needed = size / self.rate
        self.sizes.append(size)
        if needed <= patience:
            self.seconds += needed
            self.carried += size
            self.pace.carried(size, needed)
        else:
            self.seconds += patience
            self.pace.missed(size, alone=len(batch) == 1)


@pytest.mark.parametrize("rate", [2_000, 5_000, 20_000, 50_000, 250_000, 10_000_000])
@pytest.mark.parametrize("record", [300, 5_000])
def test_progress_goes_with_the_links_speed(rate: float, record: int) -> None:
    link = Link(rate, record)
    while link.seconds < 300:
        link.send()
    assert link.carried >= 0.5 * rate * link.seconds


def test_a_fast_link_gets_the_largest_batches_soon() -> None:
    link = Link(100_000_000, 4_000)
    for _ in range(8):
        link.send()
    assert link.sizes[0] <= START_BYTES
    assert link.sizes[-1] > BATCH_BYTES_MAX - 4_000


def test_a_link_that_becomes_slow_and_fast_again() -> None:
    link = Link(10_000_000, 3_000)
    for rate in (10_000_000, 20_000, 10_000_000):
        link.rate = rate
        for _ in range(12):
            link.send()
        begun, carried = link.seconds, link.carried
        for _ in range(4):
            link.send()
        assert link.carried - carried >= 0.9 * rate * (link.seconds - begun)


def test_a_large_record_on_a_slow_link_gets_its_time() -> None:
    link = Link(5_000, 140_000)
    while not link.carried:
        link.send()
    assert len(link.sizes) <= 3


def test_a_small_batch_says_nothing_about_large_ones() -> None:
    pace = Pace(TIMEOUT)
    for _ in range(100):
        pace.carried(500, 0.01)
    assert pace.batch_bytes == START_BYTES


def test_never_smaller_than_one_record() -> None:
    pace = Pace(TIMEOUT)
    deadlines = []
    for _ in range(50):
        pace.missed(1_000, alone=True)
        deadlines.append(pace.deadline(1_000))
    assert pace.batch_bytes >= 1
    assert max(deadlines) <= 8 * FRAME_SECONDS
