"""How much to send at once, and how long to wait for it: what the link turns out to carry."""

from __future__ import annotations

from ._calls import BATCH_BYTES_MAX

START_BYTES = 64 * 1024
"""The first batch. Doubling, the sixth is as large as batches may be."""

SLOWEST_BYTES_PER_SECOND = 32 * 1024
"""A deadline grows with what is sent, as if the link carried this much."""

FRAME_SECONDS = 30.0
"""The service waits no longer for the end of a request that has begun."""

STRETCH_MAX = 8


class Pace:
    """The size of batches and their deadlines.

    A batch that takes more than half of the timeout, or fails by it, halves the next; one that
    takes less than a quarter lets the next be twice as large. So batches come to take about as
    long on any link, and what gets through goes with its speed.
    """

    def __init__(self, timeout: float) -> None:
        """``timeout`` is the deadline of a small batch, in seconds."""
        self._timeout = timeout
        self._stretch = 1
        self.batch_bytes = START_BYTES
        """As many bytes of records go into the next batch; at least one record does."""

    def deadline(self, size: int) -> float:
        """Seconds for a batch of so many bytes."""
        grown = self._timeout + size / SLOWEST_BYTES_PER_SECOND
        return min(grown, max(self._timeout, FRAME_SECONDS)) * self._stretch

    def carried(self, size: int, seconds: float) -> None:
        """A batch of so many bytes was answered after so many seconds."""
        self._stretch = 1
        if seconds > self._timeout / 2:
            self._shrink(size)
        elif seconds < self._timeout / 4:
            self.batch_bytes = max(self.batch_bytes, min(2 * size, BATCH_BYTES_MAX))

    def too_slow(self, seconds: float) -> bool:
        """Whether a try that failed after so many seconds may have failed for its size."""
        return seconds > self._timeout / 2

    def missed(self, size: int, alone: bool) -> None:
        """A batch of so many bytes was too slow. ``alone``: of one record, it cannot be smaller."""
        if alone:
            self._stretch = min(2 * self._stretch, STRETCH_MAX)
        self._shrink(size)

    def _shrink(self, size: int) -> None:
        self.batch_bytes = max(1, min(size, self.batch_bytes) // 2)
