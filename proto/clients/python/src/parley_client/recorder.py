"""Recording for agent runtimes: hand it over and get on with the turn."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from parley.v1.interactions_pb2 import Interaction

from ._calls import TIMEOUT_SECONDS
from ._channels import TLS, grpc_target
from ._ids import ensure_id
from ._spill import Spill
from ._tokens import TokenSource
from ._workers import MEMORY_BYTES_MAX, Keeper, Memory, Sender
from .client import ParleyClient
from .errors import ParleyError

MEMORY_BYTES_LIMIT = 8 * MEMORY_BYTES_MAX
"""The most a recorder that was told a limit keeps in memory."""

EXIT_SECONDS = 5.0
"""How long a recorder may hold up the end of its process."""

JOIN_SECONDS = 2.0

_log = logging.getLogger("parley_client")


def log_refused(interaction: Interaction, error: ParleyError) -> None:
    """The default ``on_refused``: says which and why, and nothing of what was said in it."""
    _log.error("interaction %s is refused for good: %s", interaction.id, error)


def log_dropped(count: int) -> None:
    """The default ``on_dropped``."""
    _log.error("%d interactions were dropped unrecorded", count)


class BackgroundRecorder:
    """Records interactions from threads of its own, so that the agent's turn never waits.

    `record` gives the interaction its id, puts it in memory and returns; it is sent in batches.
    What the service has not answered for within a second, or what passes 8 MiB, goes to files in
    ``spill_directory`` (on the disk when written: fsync) and is sent when the service is back: by
    this process or, however it ended, by the next one that is given the directory. Resends carry
    the same ids, so that each interaction is recorded exactly once.

    Nothing is dropped unless ``limit_bytes`` is given. Then, while the directory holds that much
    and memory 64 MiB, new interactions are dropped, counted in `dropped` and told to
    ``on_dropped(count)``. Without a limit, what the disk does not take waits in memory. What the
    disk has damaged, or what fits nowhere when the recorder is closed, is counted and told too.

    What the service refuses for good, since it breaks a rule, is told to ``on_refused(interaction,
    error)`` and not tried again. All other failures are tried until they pass, with growing pauses
    and never sooner than the service asks. Both callbacks run in a thread of the recorder; by
    default they log.

    Processes may share a directory, and so may tenants whose tokens are JWTs that name them. At
    exit it flushes for up to `EXIT_SECONDS`, and spills the rest. A process that ends by a signal
    or ``os._exit`` takes with it what it recorded in its last second.

    gRPC does not survive a fork, so a forked child only spills, and its parent sends it soon; for
    workers that outlive their parent, make the recorder in the worker.

    Raises ValueError for an address it cannot read, OSError for a directory it cannot make.
    """

    def __init__(
        self,
        address: str,
        token: TokenSource,
        spill_directory: str | Path,
        *,
        tls: TLS | None = None,
        timeout: float = TIMEOUT_SECONDS,
        limit_bytes: int | None = None,
        on_refused: Callable[[Interaction, ParleyError], None] = log_refused,
        on_dropped: Callable[[int], None] = log_dropped,
    ) -> None:
        grpc_target(address)
        self._spill = Spill(Path(spill_directory), limit_bytes)
        if isinstance(token, str):
            self._spill.own(token)
        source = token if isinstance(token, str) else lambda: self._spill.own(token())
        self._connect = lambda: ParleyClient(address, source, tls=tls, timeout=timeout)
        self._memory_limit = None if limit_bytes is None else MEMORY_BYTES_LIMIT
        self._on_refused = on_refused
        self._on_dropped = on_dropped
        self._sends = True
        self._closed = False
        self._begin()
        self._start()
        _recorders.add(self)
        atexit.register(self.close)

    @property
    def waiting(self) -> int:
        """Interactions in memory: neither recorded nor spilled yet."""
        return len(self._memory)

    @property
    def dropped(self) -> int:
        """Interactions that nobody will send, so far."""
        return self._memory.lost

    def record(self, interaction: Interaction) -> str:
        """Hands an interaction over and returns its id, filled in where it is empty.

        Waits for nothing. What is changed in the object afterwards is not recorded. Raises
        RuntimeError once the recorder is closed.
        """
        id = ensure_id(interaction)
        record = interaction.SerializeToString()
        with self._memory.changed:
            if self._closed:
                raise RuntimeError("the recorder is closed")
            if not self._started:
                self._start()
            self._memory.add(record)
        return id

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until the service has answered for all that was recorded, the spill included.

        False when ``timeout`` seconds do not suffice, when the recorder is closed, and in a forked
        child, which does not send; nothing is lost by that. What other processes are sending from
        the same directory is theirs to wait for.
        """
        with self._memory.changed:
            self._sender.look()
            self._memory.changed.wait_for(lambda: self._closed or self._nothing_left(), timeout)
            return self._sends and self._nothing_left()

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Flushes for up to ``timeout`` seconds, or until the service is away, and spills the rest.

        Called at exit. A second time it does nothing.
        """
        atexit.unregister(self.close)
        with self._memory.changed:
            if self._closed or not self._started:
                self._closed = True
                return
            self._closed = True
            self._sender.look()
            self._memory.changed.wait_for(
                lambda: self._sender.away or self._nothing_left(), timeout
            )
        if self._sends:
            self._sender.stop()
            self._sender.join(JOIN_SECONDS)
        self._keeper.stop()
        self._keeper.join(JOIN_SECONDS)
        self._spill.seal()

    def __enter__(self) -> BackgroundRecorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self) -> None:
        self._memory = Memory(self._memory_limit)
        self._sender = Sender(self._memory, self._spill, self._connect, self._tell_refused)
        self._keeper = Keeper(self._memory, self._spill, self._sender.look, self._tell_dropped)
        self._started = False

    def _start(self) -> None:
        self._started = True
        if self._sends:
            self._sender.start()
        self._keeper.start()

    def _nothing_left(self) -> bool:
        sent = self._sender.idle or not self._sends
        return sent and not self._memory and not self._keeper.busy

    def _tell_refused(self, interaction: Interaction, error: ParleyError) -> None:
        try:
            self._on_refused(interaction, error)
        except Exception:
            _log.exception("on_refused failed")

    def _tell_dropped(self, count: int) -> None:
        try:
            self._on_dropped(count)
        except Exception:
            _log.exception("on_dropped failed")

    def _after_fork(self) -> None:
        if self._sends:
            self._sends = False
            # Its gRPC objects must not even be freed here.
            self._parents_sender = self._sender
        self._sender.release()
        self._spill.abandon()
        self._begin()


_recorders: weakref.WeakSet[BackgroundRecorder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in _recorders:
        recorder._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
