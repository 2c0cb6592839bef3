"""The thread that sends: what is in memory and what is in the spill."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from parley.v1.interactions_pb2 import Interaction

from ._alarm import CREDENTIALS, Alarm
from ._calls import BATCH_BYTES_MAX, Outcomes
from ._memory import Memory
from ._pace import Pace
from ._spill import Spill, SpillFile
from ._tally import Tally
from ._ttrpc import FramedClient
from .errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    ParleyError,
)

BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 10.0

SCAN_SECONDS = 10.0
"""How often the spill is searched for the files of processes that died."""

REFUSALS = (InvalidArgument, AlreadyExists, FailedPrecondition, OutOfRange)
"""What trying again cannot change. Everything else is tried until it works."""


class Link(Protocol):
    """A client, as far as the sender uses it."""

    def record_many(self, interactions: list[Interaction], *, timeout: float) -> Outcomes: ...

    def close(self) -> None: ...


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
        tally: Tally,
        pace: Pace,
        connect: Callable[[], Link],
        refused: Callable[[Interaction, ParleyError], None],
        failed: Callable[[Exception], None],
        remedy: str,
    ) -> None:
        """``refused`` is called with each record that is refused for good, ``failed`` with what a
        try failed for; ``remedy`` says what helps where the service refuses the token."""
        super().__init__(name="parley-sender", daemon=True)
        self._memory = memory
        self._spill = spill
        self._tally = tally
        self._pace = pace
        self._connect = connect
        self._refused = refused
        self._failed = failed
        self._remedy = remedy
        self._alarm = Alarm("recording")
        self._sources = deque((self._from_memory, self._from_spill))
        self._link: Link | None = None
        self._file: SpillFile | None = None
        self._scan_at = 0.0
        self._failures = 0
        self._stopping = False
        self.idle = False
        """Has nothing to send."""
        self.away = False
        """The last try failed; waits for the next, or has ended."""

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
        link = self._link
        if link is not None:
            link.close()

    def abandon(self) -> None:
        """In a forked child: lets go of what the parent goes on with, the file and the link."""
        file, self._file = self._file, None
        if file is not None:
            file.abandon()
        if isinstance(self._link, FramedClient):
            self._link.abandon()

    def run(self) -> None:
        while not self._stopping:
            try:
                self._work()
            except Exception as error:
                # Whatever it was (the network, the disk, a token source), it may pass.
                self._pause(error)
        file, self._file = self._file, None
        if file is not None:
            file.release()
        self._disconnect()
        with self._memory.changed:
            self.away = True
            self._memory.changed.notify_all()

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
            records, start = self._memory.batch(self._pace.batch_bytes)
        if not records:
            return None

        def settle(retry: list[bytes]) -> None:
            self._spill.answered(self._memory.settle(start, records, retry))

        return _Batch(records, settle)

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
            records = self._file.batch(self._pace.batch_bytes)
            if records:
                return _Batch(records, self._file.settle)
            self._finish(self._file)

    def _finish(self, file: SpillFile) -> None:
        file.delete()
        self._file = None
        file.release()
        with self._memory.changed:
            self._memory.lose(file.damaged)
            self.look()  # There may be another.

    def _send(self, batch: _Batch) -> None:
        interactions = [Interaction.FromString(record) for record in batch.records]
        size, begin = sum(map(len, batch.records)), time.monotonic()
        try:
            outcomes = self._outcomes(interactions)
        except Exception as error:
            self._missed(batch, size, time.monotonic() - begin, error)
            raise
        self._pace.carried(size, time.monotonic() - begin)
        retry, refused, failure = [], 0, None
        for record, interaction, outcome in zip(batch.records, interactions, outcomes, strict=True):
            if isinstance(outcome, REFUSALS):
                refused += 1
                self._refused(interaction, outcome)
            elif isinstance(outcome, ParleyError):
                retry.append(record)
                failure = outcome
        if failure is not None and len(retry) == len(batch.records):
            raise failure
        with self._memory.changed:
            self._tally.answered(len(batch.records) - len(retry) - refused, refused)
        batch.settle(retry)
        self._alarm.worked()
        self._failures, self.away = 0, False

    def _missed(self, batch: _Batch, size: int, seconds: float, error: Exception) -> None:
        if isinstance(error, DeadlineExceeded) or self._pace.too_slow(seconds):
            alone = len(batch.records) == 1
            self._pace.missed(size, alone)
            if alone:
                # The others first: they may be smaller.
                batch.settle(batch.records)

    def _outcomes(self, interactions: list[Interaction]) -> Outcomes:
        alone = len(interactions) == 1
        size = sum(interaction.ByteSize() for interaction in interactions)
        if alone and size > BATCH_BYTES_MAX:
            # Sent, it would be refused as a message too large, which looks like overload.
            return [InvalidArgument(f"is {size} bytes long; at most {BATCH_BYTES_MAX} can be sent")]
        if self._link is None:
            self._link = self._connect()
        try:
            return self._link.record_many(interactions, timeout=self._pace.deadline(size))
        except REFUSALS as error:
            # One of them spoils the batch: find it.
            if alone:
                return [error]
            half = len(interactions) // 2
            return self._outcomes(interactions[:half]) + self._outcomes(interactions[half:])

    def _pause(self, error: Exception) -> None:
        if isinstance(error, (DeadlineExceeded, *CREDENTIALS)):
            # The connection may be a dead one that the machine has not noticed; and the next one
            # asks for a token.
            self._disconnect()
        ceiling = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2 ** min(self._failures, 16))
        asked = getattr(error, "retry_delay", None) or 0
        seconds = asked + random.uniform(ceiling / 2, ceiling)
        with self._memory.changed:
            self._failures += 1
            self.away = True
            self._memory.changed.notify_all()
        if not self._stopping:
            self._alarm.failed(error, self._state(error))
            self._failed(error)
        with self._memory.changed:
            self._memory.changed.wait_for(lambda: self._stopping, seconds)

    def _state(self, error: Exception) -> str:
        try:
            size = f"{self._spill.size()} bytes"
        except OSError as failure:
            size = f"what is unknown ({failure})"
        state = f"{len(self._memory)} interactions wait in memory and {size} in the spill"
        return f"{state}, {self._remedy}" if isinstance(error, CREDENTIALS) else state

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
