"""SIGTERM where nobody handles it: what was recorded is sent or spilled, then it ends the process.

Python runs the handler of a signal in the main thread, between two instructions. A main thread that
was about to block when the signal came does not notice it, and would block for ever where SIGTERM's
default action had ended it. So a thread waits at Python's wakeup descriptor, where the signal is
told at once, and sends it to the main thread again until the handler has run.

A forked child has the default action again until something is recorded in it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Protocol

AGAIN_SECONDS = 0.1


class Settling(Protocol):
    """A recorder, as far as SIGTERM concerns it."""

    def settle(self, timeout: float) -> None:
        """Sends what it can within that many seconds, spills the rest, and goes on."""


SettleAll = Callable[[Iterable[Settling]], None]


class Sigterm:
    """The handling of SIGTERM in this process, for the recorders it is told of."""

    def __init__(self, settle_all: SettleAll) -> None:
        self._settle_all = settle_all
        self._recorders: weakref.WeakSet[Settling] = weakref.WeakSet()
        self._pipe: tuple[int, int] | None = None
        self._handled = 0
        self._masks = threading.local()
        os.register_at_fork(
            before=self._hold,
            after_in_parent=self._let_through,
            after_in_child=self._forget,
        )

    def add(self, recorder: Settling) -> None:
        self._recorders.add(recorder)

    def arm(self) -> None:
        """Handles it from now on, in the main thread, and only where its action is the default."""
        main = threading.current_thread() is threading.main_thread()
        if main and self._recorders and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            self._watch()
            signal.signal(signal.SIGTERM, self._handle)

    def _watch(self) -> None:
        if self._pipe is not None:
            return
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        other = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        if other != -1:
            # Whoever has set it (asyncio, a server) wakes the main thread by it.
            signal.set_wakeup_fd(other)
            os.close(reader)
            os.close(writer)
            return
        self._pipe = reader, writer
        threading.Thread(
            target=self._insist, args=(reader,), name="parley-sigterm", daemon=True
        ).start()

    def _insist(self, reader: int) -> None:
        while told := os.read(reader, 512):
            if signal.SIGTERM not in told:
                continue
            handled = self._handled
            # Here already: the main thread may compute for long before it handles anything.
            self._settle_all(self._recorders)
            while self._handled == handled and self._handles():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                time.sleep(AGAIN_SECONDS)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A supervisor may send it to a parent and its children, and the parent to them once more.
        signal.signal(number, signal.SIG_IGN)
        self._handled += 1
        try:
            self._settle_all(self._recorders)
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        # Still here: the first process of a container, which SIGTERM does not end by default.
        signal.signal(number, self._handle)

    def _handles(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _hold(self) -> None:
        # What a child is sent before it has forgotten would be told to its parent.
        self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _let_through(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def _forget(self) -> None:
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            other = signal.set_wakeup_fd(-1)
            if other not in (-1, pipe[1]):
                signal.set_wakeup_fd(other)
            for descriptor in pipe:
                os.close(descriptor)
        if self._handles():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._let_through()
