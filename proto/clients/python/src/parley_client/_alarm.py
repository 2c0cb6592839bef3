"""Saying that something fails for as long as it does, at growing pauses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from .errors import ParleyError, PermissionDenied, Unauthenticated

PAUSE_SECONDS_MIN = 10.0
PAUSE_SECONDS_MAX = 600.0

_log = logging.getLogger("parley_client")


class Alarm:
    """Logs failures of one kind of work: the first, the next after 10 seconds, after 20 more, and
    so on up to one in ten minutes; one of a new kind at once; and the end of them."""

    def __init__(self, work: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``work`` is what fails, as a sentence begins with it."""
        self._work = work
        self._clock = clock
        self._since: float | None = None
        self._said: set[object] = set()
        self._next = 0.0
        self._pause = PAUSE_SECONDS_MIN
        self._tries = 0

    def failed(self, error: Exception, state: str) -> None:
        """``state`` says what waits meanwhile."""
        now = self._clock()
        if self._since is None:
            self._since, self._tries, self._pause = now, 0, PAUSE_SECONDS_MIN
        self._tries += 1
        kind = (type(error), getattr(error, "reason", None))
        if kind in self._said:
            if now < self._next:
                return
            self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        self._said.add(kind)
        self._next = now + self._pause
        level = logging.ERROR if isinstance(error, CREDENTIALS) else logging.WARNING
        told = error if isinstance(error, ParleyError) else f"{type(error).__name__}: {error}"
        if self._tries == 1:
            _log.log(
                level, "%s fails, and is tried until it works; %s: %s", self._work, state, told
            )
        else:
            _log.log(
                level,
                "%s has failed for %.0f s, in %d tries; %s: %s",
                self._work,
                now - self._since,
                self._tries,
                state,
                told,
            )

    def worked(self) -> None:
        if self._since is not None:
            seconds = self._clock() - self._since
            _log.warning("%s works again, after %.0f s", self._work, seconds)
            self._since = None
            self._said.clear()


CREDENTIALS = (Unauthenticated, PermissionDenied)
"""What no retry mends, but only another token."""
