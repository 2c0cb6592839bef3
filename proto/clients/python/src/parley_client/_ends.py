"""How recorders learn that their process ends, or that it is a child that was just forked.

Python runs `atexit` in few of the ways a process ends. The others that are an ordinary end:

* a child of `multiprocessing`, or of billiard, which shares its registry: a `Finalize`;
* a worker of celery's prefork pool: the signal ``worker_process_shutdown``;
* SIGTERM where nobody handles it: `_sigterm`;
* uvicorn, which raises SIGTERM again under its default action: the end of `Server.shutdown`.

None of these libraries is imported here. Each is looked for where a recorder is made, and in every
forked child.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import weakref
from collections.abc import Iterable
from typing import Any, Protocol

from ._sigterm import Settling, Sigterm

EXIT_SECONDS = 5.0
"""How long recorders may hold up the end of their process."""

_LAST = -100
"""Among multiprocessing's finalizers: after its queues, pools and children."""

_log = logging.getLogger("parley_client")


class Ending(Settling, Protocol):
    """A recorder, as far as the end of its process concerns it."""

    def after_fork(self) -> None:
        """Begins anew, with nothing of the parent's."""


_recorders: weakref.WeakSet[Ending] = weakref.WeakSet()
_after_forks: list[object] = []
"""Keeps what multiprocessing keeps weakly."""
_finalizer: Any = None


def watch(recorder: Ending, handle_sigterm: bool) -> None:
    """Tells a recorder from now on; with ``handle_sigterm`` also of a SIGTERM nobody handles."""
    _recorders.add(recorder)
    if handle_sigterm:
        _sigterm.add(recorder)
    _watch_process()


def begin() -> None:
    """Called when the first interaction is recorded in this process: there is something to lose."""
    _sigterm.arm()


def _watch_process() -> None:
    for look in (_watch_multiprocessing, _watch_celery, _watch_uvicorn):
        try:
            look()
        except Exception:
            # A version of theirs that is not as expected never costs the agent its recorder.
            _log.exception("some ends of this process are not noticed")


def _watch_multiprocessing() -> None:
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    if not _after_forks:
        # A child forgets the finalizers it inherits, and those it has made too early.
        anchor = _Anchor()
        util.register_after_fork(anchor, lambda _: _finalize(util))
        _after_forks.append(anchor)
    if sys.modules["multiprocessing.process"].parent_process() is not None:
        _finalize(util)


class _Anchor:
    """What `register_after_fork` wants a weak reference to."""


def _finalize(util: Any) -> None:
    global _finalizer
    # One: making it again takes it out where it has not been forgotten.
    if _finalizer is not None:
        _finalizer.cancel()
    _finalizer = util.Finalize(None, _settle_all, (_recorders,), exitpriority=_LAST)


def _watch_celery() -> None:
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(
            _on_celery_shutdown, weak=False, dispatch_uid="parley_client"
        )


def _on_celery_shutdown(**_: object) -> None:
    _settle_all(_recorders)


def _watch_uvicorn() -> None:
    module: Any = sys.modules.get("uvicorn.server")
    server: Any = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if module is None or not isinstance(server, module.Server) or "shutdown" in vars(server):
        return
    shutdown = server.shutdown

    async def shutdown_and_settle(*arguments: Any, **options: Any) -> None:
        try:
            await shutdown(*arguments, **options)
        finally:
            # Connections and lifespan have ended: nothing else needs the loop.
            _settle_all(_recorders)

    server.shutdown = shutdown_and_settle


def _settle_all(recorders: Iterable[Settling]) -> None:
    end = time.monotonic() + EXIT_SECONDS
    for recorder in list(recorders):
        try:
            recorder.settle(max(0.0, end - time.monotonic()))
        except Exception:
            _log.exception("a recorder could not settle")


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder.after_fork()
    if _recorders:
        _watch_process()


_sigterm = Sigterm(_settle_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
