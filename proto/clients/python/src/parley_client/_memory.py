"""What waits in memory, between the agent's turn and the two threads that take it away.

    record() -> Memory -> Sender -> the service
                  |          ^
                  +-> Keeper -> Spill

The sender never waits for the disk to write, the keeper never for the network. A record leaves the
memory when either is done with it, and is never nowhere. What both have taken is in the spill, too,
when the service has answered for it; the spill is told, and passes it over. (Another process that
takes over the file sends it again, which the service, by its id, takes for one.)
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from ._calls import BATCH_BYTES_MAX, batches

MEMORY_SECONDS_MAX = 1.0
"""What the service has not answered for by then goes to the spill: what a kill may cost."""

MEMORY_BYTES_MAX = 8 * 1024 * 1024
"""More than this in memory goes to the spill at once."""


class _Entry(NamedTuple):
    arrived: float
    record: bytes


class Memory:
    """Records in the order they came: a queue with two readers, who look first and discard later.

    `changed` is the lock of everything here and of the threads' flags; nobody holds it during I/O.
    What looks and discards is called with it held.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self.changed = threading.Condition()
        self._limit = limit_bytes
        self._entries: deque[_Entry] = deque()
        self._discarded = 0
        self._bytes = 0
        self._untold = 0
        self.lost = 0
        """Records dropped for want of room, or damaged by the disk."""

    def add(self, record: bytes) -> None:
        """Takes a record in, or loses it where the limit has no room."""
        with self.changed:
            if self._limit is not None and self._bytes + len(record) > self._limit:
                self.lose(1)
                return
            self._append(record)
            # The readers sleep while there is nothing, or not yet too much.
            too_much = self._bytes > MEMORY_BYTES_MAX >= self._bytes - len(record)
            if len(self._entries) == 1 or too_much:
                self.changed.notify_all()

    def __len__(self) -> int:
        return len(self._entries)

    def batch(self, limit_bytes: int = BATCH_BYTES_MAX) -> tuple[list[bytes], int]:
        """The oldest records, as many as make one batch, and the position of the first."""
        records = next(batches((entry.record for entry in self._entries), len, limit_bytes), [])
        return records, self._discarded

    def discard(self, end: int) -> int:
        """Drops what is before a position, as far as the other reader has not; how many it did."""
        before = self._discarded
        while self._discarded < end:
            self._bytes -= len(self._entries.popleft().record)
            self._discarded += 1
        self.changed.notify_all()
        return self._discarded - before

    def settle(self, start: int, records: list[bytes], retry: list[bytes]) -> list[bytes]:
        """Discards a batch, but takes in again, as new, those of it that are to be sent once more.

        What the keeper has taken meanwhile is sent once more from the spill; the rest of that is
        returned: it is in the spill, and is done with.
        """
        again = {id(record) for record in retry}
        with self.changed:
            taken = max(0, self._discarded - start)
            self.discard(start + len(records))
            for record in records[taken:]:
                if id(record) in again:
                    self._append(record)
        return [record for record in records[:taken] if id(record) not in again]

    def lose(self, count: int) -> None:
        """Counts records that nobody will send, for the keeper to tell."""
        self.lost += count
        self._untold += count
        self.changed.notify_all()

    def untold(self) -> int:
        """How many were lost since this was last asked."""
        count, self._untold = self._untold, 0
        return count

    def oldest(self) -> float | None:
        """How many seconds the oldest record has waited; None: there is none."""
        return time.monotonic() - self._entries[0].arrived if self._entries else None

    def seconds_to_spare(self) -> float:
        """Until the keeper has something to do; not positive when it has."""
        if self._untold or self._bytes > MEMORY_BYTES_MAX:
            return 0
        if not self._entries:
            return float("inf")
        return self._entries[0].arrived + MEMORY_SECONDS_MAX - time.monotonic()

    def _append(self, record: bytes) -> None:
        self._entries.append(_Entry(time.monotonic(), record))
        self._bytes += len(record)
