"""What a recorder has done so far, and what still waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone


@dataclass(frozen=True)
class RecorderStats:
    """The state of a `BackgroundRecorder`, in this process, since it was made. Times are in UTC."""

    sent: int
    """Interactions the service has recorded, those included that others had left in the spill."""
    waiting: int
    """Interactions in memory: neither answered for nor spilled yet."""
    spilled: int
    """Interactions put into the spill."""
    spill_bytes: int
    """What the spill directory holds now, of all processes."""
    refused: int
    """Interactions that break a rule of the service and were told to ``on_refused``."""
    dropped: int
    """Interactions that nobody will send, told to ``on_dropped``."""
    last_error: Exception | None
    """Of the last failed try to send or to spill; None when there was none."""
    last_error_at: datetime | None
    last_success_at: datetime | None
    """When the service last answered for a batch."""
    oldest_waiting_at: datetime | None
    """Since when the oldest interaction waits, in memory or in a file of the spill."""


class Tally:
    """The counts behind `RecorderStats`. Whoever changes them holds the memory's lock."""

    def __init__(self) -> None:
        self.sent = 0
        self.spilled = 0
        self.refused = 0
        self.last_error: Exception | None = None
        self.last_error_at: datetime | None = None
        self.last_success_at: datetime | None = None

    def failed(self, error: Exception) -> None:
        # Without its frames, which would keep a whole batch alive.
        self.last_error = error.with_traceback(None)
        self.last_error_at = datetime.now(timezone.utc)

    def answered(self, sent: int, refused: int) -> None:
        self.sent += sent
        self.refused += refused
        self.last_success_at = datetime.now(timezone.utc)
