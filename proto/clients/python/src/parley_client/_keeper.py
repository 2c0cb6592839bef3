"""The thread that moves to the spill what memory should not keep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ._alarm import Alarm
from ._memory import Memory
from ._spill import Spill
from ._tally import Tally

DISK_RETRY_SECONDS = 1.0


class Keeper(threading.Thread):
    """Moves to the spill what has been in memory too long, or is too much. Tells what is lost."""

    def __init__(
        self,
        memory: Memory,
        spill: Spill,
        tally: Tally,
        kept: Callable[[], None],
        lost: Callable[[int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """``kept`` is called, with the lock held, when there is something new in the spill,
        ``lost`` with how many records nobody will send, ``failed`` when the spill cannot be
        written."""
        super().__init__(name="parley-keeper", daemon=True)
        self._memory = memory
        self._spill = spill
        self._tally = tally
        self._kept = kept
        self._lost = lost
        self._failed = failed
        self._alarm = Alarm("writing to the spill")
        self._not_before = 0.0
        self._stopping = False
        self._hurried = False
        self.busy = False
        """Between a look at the memory and the discard."""

    def stop(self) -> None:
        """Ends the thread, once it has tried to spill all that is left."""
        with self._memory.changed:
            self._stopping = True
            self._memory.changed.notify_all()

    def hurry(self) -> None:
        """Makes it spill all there is at once. Called with the lock held."""
        self._hurried = True
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
                if not self._memory:
                    self._hurried = False
                due = 0.0 if self._hurried else self._memory.seconds_to_spare()
                seconds = max(due, self._not_before - time.monotonic())
                if seconds <= 0:
                    return True
                self._memory.changed.wait(seconds if seconds < threading.TIMEOUT_MAX else None)
            return False

    def _keep(self) -> bool:
        """Spills a batch, or what there is room for; false when there is none, or nothing to do."""
        with self._memory.changed:
            records, start = self._memory.batch()
            self.busy = True
        kept, error = 0, None
        try:
            kept = self._spill.append(records)
        except Exception as caught:
            error = caught
        left = len(records) - kept
        with self._memory.changed:
            discarded = self._memory.discard(start + kept)
            # The sender was done with the others while they were written.
            self._spill.answered(records[: kept - discarded])
            self._tally.spilled += kept
            self._not_before = time.monotonic() + DISK_RETRY_SECONDS if left else 0
            self.busy = False
            if kept:
                self._kept()
        if error is not None:
            self._alarm.failed(error, f"{len(self._memory)} interactions wait in memory")
            self._failed(error)
        elif kept:
            self._alarm.worked()
        return kept > 0

    def _tell(self) -> None:
        with self._memory.changed:
            count = self._memory.untold()
        if count:
            self._lost(count)
