"""The parts of a `BackgroundRecorder`: what waits in memory, and the two threads that take it away.

    record() -> Memory -> Sender -> the service
                  |          ^
                  +-> Keeper -> Spill

The sender never waits for the disk to write, the keeper never for the network. A record leaves the
memory when either is done with it; so it may be sent from memory and from the spill, which the
service, by its id, takes for one; but it is never nowhere.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from parley.v1.interactions_pb2 import Interaction

from ._calls import BATCH_BYTES_MAX, Outcomes, batches
from ._spill import Spill, SpillFile
from .client import ParleyClient
from .errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    ParleyError,
)

MEMORY_SECONDS_MAX = 1.0
"""What the service has not answered for by then goes to the spill: what a kill may cost."""

MEMORY_BYTES_MAX = 8 * 1024 * 1024
"""More than this in memory goes to the spill at once."""

DISK_RETRY_SECONDS = 1.0
BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 10.0

SCAN_SECONDS = 10.0
"""How often the spill is searched for the files of processes that died."""

REFUSALS = (InvalidArgument, AlreadyExists, FailedPrecondition, OutOfRange)
"""What trying again cannot change. Everything else is tried until it works."""

_log = logging.getLogger("parley_client")


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

    def batch(self) -> tuple[list[bytes], int]:
        """The oldest records, as many as make one batch, and the mark to discard them by."""
        records = next(batches((entry.record for entry in self._entries), len), [])
        return records, self._discarded + len(records)

    def discard(self, mark: int) -> None:
        """Drops what came before the mark, as far as the other reader has not."""
        while self._discarded < mark:
            self._bytes -= len(self._entries.popleft().record)
            self._discarded += 1
        self.changed.notify_all()

    def settle(self, mark: int, retry: list[bytes]) -> None:
        """Discards, but takes in again, as new, what is to be sent once more."""
        with self.changed:
            self.discard(mark)
            for record in retry:
                self._append(record)

    def lose(self, count: int) -> None:
        """Counts records that nobody will send, for the keeper to tell."""
        self.lost += count
        self._untold += count
        self.changed.notify_all()

    def untold(self) -> int:
        """How many were lost since this was last asked."""
        count, self._untold = self._untold, 0
        return count

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


class Keeper(threading.Thread):
    """Moves to the spill what has been in memory too long, or is too much. Tells what is lost."""

    def __init__(
        self,
        memory: Memory,
        spill: Spill,
        kept: Callable[[], None],
        lost: Callable[[int], None],
    ) -> None:
        """``kept`` is called, with the lock held, when there is something new in the spill, and
        ``lost`` with how many records nobody will send."""
        super().__init__(name="parley-keeper", daemon=True)
        self._memory = memory
        self._spill = spill
        self._kept = kept
        self._lost = lost
        self._not_before = 0.0
        self._stopping = False
        self.busy = False
        """Between a look at the memory and the discard."""

    def stop(self) -> None:
        """Ends the thread, once it has tried to spill all that is left."""
        with self._memory.changed:
            self._stopping = True
            self._memory.changed.notify_all()

    def run(self) -> None:
        while self._wait():
            self._keep()
            self._tell()
        while self._keep():
            pass
        with self._memory.changed:
            self._memory.lose(len(self._memory))
        self._tell()

    def _wait(self) -> bool:
        """Until something is due; False when it is time to stop."""
        with self._memory.changed:
            while not self._stopping:
                seconds = max(self._memory.seconds_to_spare(), self._not_before - time.monotonic())
                if seconds <= 0:
                    return True
                self._memory.changed.wait(seconds if seconds < threading.TIMEOUT_MAX else None)
            return False

    def _keep(self) -> bool:
        """Spills a batch, or what there is room for; false when there is none, or nothing to do."""
        with self._memory.changed:
            records, mark = self._memory.batch()
            self.busy = True
        kept = 0
        try:
            kept = self._spill.append(records)
        except Exception as error:
            if not self._not_before:
                _log.error("the spill cannot be written, and is tried until it can: %s", error)
        left = len(records) - kept
        with self._memory.changed:
            self._memory.discard(mark - left)
            self._not_before = time.monotonic() + DISK_RETRY_SECONDS if left else 0
            self.busy = False
            if kept:
                self._kept()
        return kept > 0

    def _tell(self) -> None:
        with self._memory.changed:
            count = self._memory.untold()
        if count:
            self._lost(count)


class _Batch(NamedTuple):
    """Records to send, and whom to tell which of them to keep for another try."""

    records: list[bytes]
    settle: Callable[[list[bytes]], None]


class Sender(threading.Thread):
    """Sends what is in memory and in the spill, in turns, and waits while the service is away."""

    def __init__(
        self,
        memory: Memory,
        spill: Spill,
        connect: Callable[[], ParleyClient],
        refused: Callable[[Interaction, ParleyError], None],
    ) -> None:
        """``refused`` is called with each record that is refused for good."""
        super().__init__(name="parley-sender", daemon=True)
        self._memory = memory
        self._spill = spill
        self._connect = connect
        self._refused = refused
        self._sources = deque((self._from_memory, self._from_spill))
        self._client: ParleyClient | None = None
        self._file: SpillFile | None = None
        self._scan_at = 0.0
        self._failures = 0
        self._stopping = False
        self.idle = False
        """Has nothing to send."""
        self.away = False
        """The last try failed; waits for the next."""

    def look(self) -> None:
        """Makes it look into the spill. Called with the lock held."""
        self._scan_at = 0
        self.idle = False
        self._memory.changed.notify_all()

    def stop(self) -> None:
        """Ends the thread, cancelling its call. What is not settled stays where it is."""
        with self._memory.changed:
            self._stopping = True
            self._memory.changed.notify_all()
        client = self._client
        if client is not None:
            client.close()

    def release(self) -> None:
        """Leaves the file being sent to others. For a thread that has ended, or was not forked."""
        if self._file is not None:
            self._file.release()
            self._file = None

    def run(self) -> None:
        while not self._stopping:
            try:
                self._work()
            except Exception as error:
                # Whatever it was (the network, the disk, a token source), it may pass.
                self._pause(error)
        self.release()
        self._disconnect()

    def _work(self) -> None:
        for source in tuple(self._sources):
            batch = source()
            self._sources.rotate()
            if batch is not None:
                self._send(batch)
                return
        with self._memory.changed:
            now = time.monotonic()
            if not len(self._memory) and now < self._scan_at and not self._stopping:
                self.idle = True
                self._memory.changed.notify_all()
                self._memory.changed.wait(self._scan_at - now)
                self.idle = False

    def _from_memory(self) -> _Batch | None:
        with self._memory.changed:
            records, mark = self._memory.batch()
        return _Batch(records, lambda retry: self._memory.settle(mark, retry)) if records else None

    def _from_spill(self) -> _Batch | None:
        while True:
            if self._file is None:
                with self._memory.changed:
                    if time.monotonic() < self._scan_at:
                        return None
                    self._scan_at = time.monotonic() + SCAN_SECONDS
                self._file = self._spill.claim()
                if self._file is None:
                    return None
            records = self._file.batch()
            if records:
                return _Batch(records, self._file.settle)
            self._finish(self._file)

    def _finish(self, file: SpillFile) -> None:
        file.delete()
        self._file = None
        with self._memory.changed:
            self._memory.lose(file.damaged)
            self.look()  # There may be another.

    def _send(self, batch: _Batch) -> None:
        interactions = [Interaction.FromString(record) for record in batch.records]
        outcomes = self._outcomes(interactions)
        retry, error = [], None
        for record, interaction, outcome in zip(batch.records, interactions, outcomes, strict=True):
            if isinstance(outcome, REFUSALS):
                self._refused(interaction, outcome)
            elif isinstance(outcome, ParleyError):
                retry.append(record)
                error = outcome
        if error is not None and len(retry) == len(batch.records):
            raise error
        batch.settle(retry)
        if self.away:
            _log.info("the service is back")
        self._failures, self.away = 0, False

    def _outcomes(self, interactions: list[Interaction]) -> Outcomes:
        alone = len(interactions) == 1
        if alone and (size := interactions[0].ByteSize()) > BATCH_BYTES_MAX:
            # Sent, it would be refused as a message too large, which looks like overload.
            return [InvalidArgument(f"is {size} bytes long; at most {BATCH_BYTES_MAX} can be sent")]
        if self._client is None:
            self._client = self._connect()
        try:
            return self._client.record_many(interactions)
        except REFUSALS as error:
            # One of them spoils the batch: find it.
            if alone:
                return [error]
            half = len(interactions) // 2
            return self._outcomes(interactions[:half]) + self._outcomes(interactions[half:])

    def _pause(self, error: Exception) -> None:
        if isinstance(error, DeadlineExceeded):
            # The connection may be a dead one that the machine has not noticed.
            self._disconnect()
        ceiling = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2 ** min(self._failures, 16))
        asked = getattr(error, "retry_delay", None) or 0
        seconds = asked + random.uniform(ceiling / 2, ceiling)
        with self._memory.changed:
            if not self._stopping and not self.away:
                _log.warning("recording fails, and is tried again until it works: %s", error)
            self._failures += 1
            self.away = True
            self._memory.changed.notify_all()
            self._memory.changed.wait_for(lambda: self._stopping, seconds)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
