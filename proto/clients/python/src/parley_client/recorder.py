"""Recording for agent runtimes: hand it over and get on with the turn."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Literal

from parley.v1.interactions_pb2 import Interaction

from ._calls import TIMEOUT_SECONDS, Deadline
from ._channels import TLS, grpc_target
from ._ends import EXIT_SECONDS, begin, watch
from ._ids import ensure_id
from ._keeper import Keeper
from ._memory import MEMORY_BYTES_MAX, Memory
from ._pace import Pace
from ._sender import Link, Sender
from ._spill import Spill
from ._tally import RecorderStats, Tally
from ._tokens import TokenSource, token_source
from ._ttrpc import FramedClient
from .client import ParleyClient
from .errors import ParleyError

MEMORY_BYTES_LIMIT = 8 * MEMORY_BYTES_MAX
"""The most a recorder that was told a limit keeps in memory."""

JOIN_SECONDS = 2.0
LOOK_SECONDS = 0.05

FIXED_TOKEN = "until the recorder is made anew with another token; a callable or a path renews it"
RENEWED_TOKEN = "until its source gives a token that the service takes"

_log = logging.getLogger("parley_client")


def log_refused(interaction: Interaction, error: ParleyError) -> None:
    """The default ``on_refused``: says which and why, and nothing of what was said in it."""
    _log.error("interaction %s is refused for good: %s", interaction.id, error)


def log_dropped(count: int) -> None:
    """The default ``on_dropped``."""
    _log.error("%d interactions were dropped unrecorded", count)


def ignore(error: Exception) -> None:
    """The default ``on_error``: failures that pass are logged in any case."""


class BackgroundRecorder:
    """Records interactions from threads of its own, so that the agent's turn never waits.

    `record` gives the interaction its id, puts it in memory and returns; it is sent in batches, as
    large as the connection turns out to carry. What the service has not answered for within a
    second, or what passes 8 MiB, goes to files in ``spill_directory`` (on the disk when written:
    fsync) and is sent when the service is back: by this process or, however it ended, by the next
    one that is given the directory. Resends carry the same ids, so that each interaction is
    recorded exactly once.

    Nothing is dropped unless ``limit_bytes`` is given. Then, while the directory holds that much
    and memory 64 MiB, new interactions are dropped, counted and told to ``on_dropped(count)``.
    Without a limit, what the disk does not take waits in memory. What the disk has damaged, or what
    fits nowhere when the recorder is closed, is counted and told too.

    What the service refuses for good, since it breaks a rule, is told to ``on_refused(interaction,
    error)`` and not tried again. All other failures, an expired token among them, are tried until
    they pass, with growing pauses and never sooner than the service asks. Each failed try is told
    to ``on_error(error)``; the log repeats them at growing pauses; `stats` says what waits. The
    callbacks run in threads of the recorder.

    Processes may share a directory, and so may tenants whose tokens are JWTs that name them. Every
    ordinary end of the process sends for up to `EXIT_SECONDS` and spills the rest: the end of the
    program, of a `multiprocessing` child however it was started, of celery's and gunicorn's
    workers, of uvicorn, and SIGTERM, where ``handle_sigterm``, its action was the default, and the
    recorder was made in the main thread (in a forked child: that thread recorded first); the
    process then ends as SIGTERM would have ended it. ``os._exit``, SIGKILL and signals that Python
    does not handle take with them what was recorded in the last second.

    A forked child goes on with nothing of its parent's: what is recorded there it sends itself.
    ``protocol`` is "ttrpc" unless ``tls`` is given, which takes "grpc". gRPC does not survive a
    fork: with it a forked child only spills, and its parent or another process with the same
    directory sends that within some ten seconds.

    Raises ValueError for an address it cannot read, and for "ttrpc" with ``tls``; OSError for a
    directory it cannot make.
    """

    def __init__(
        self,
        address: str,
        token: TokenSource,
        spill_directory: str | Path,
        *,
        tls: TLS | None = None,
        protocol: Literal["ttrpc", "grpc"] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        limit_bytes: int | None = None,
        handle_sigterm: bool = True,
        on_refused: Callable[[Interaction, ParleyError], None] = log_refused,
        on_dropped: Callable[[int], None] = log_dropped,
        on_error: Callable[[Exception], None] = ignore,
    ) -> None:
        grpc_target(address)
        if protocol == "ttrpc" and tls is not None:
            raise ValueError('ttRPC is not encrypted: with tls, protocol must be "grpc"')
        self._framed = protocol != "grpc" and tls is None
        self._address = address
        self._tls = tls
        self._timeout = timeout
        self._spill = Spill(Path(spill_directory), limit_bytes)
        self._token = self._owning(token)
        self._memory_limit = None if limit_bytes is None else MEMORY_BYTES_LIMIT
        self._on_refused = on_refused
        self._on_dropped = on_dropped
        self._on_error = on_error
        self._forked = False
        self._closed = False
        self._begin()
        watch(self, handle_sigterm)
        self._start()
        atexit.register(self.close)

    @property
    def waiting(self) -> int:
        """Interactions in memory: neither recorded nor spilled yet."""
        return len(self._memory)

    @property
    def dropped(self) -> int:
        """Interactions that nobody will send, so far."""
        return self._memory.lost

    def stats(self) -> RecorderStats:
        """What was done so far, in this process, and what waits. Raises OSError for the spill."""
        spill_bytes, begun = self._spill.size(), self._spill.oldest()
        oldest = [] if begun is None else [datetime.fromtimestamp(begun, timezone.utc)]
        with self._memory.changed:
            age, tally = self._memory.oldest(), self._tally
            if age is not None:
                oldest.append(datetime.now(timezone.utc) - timedelta(seconds=age))
            return RecorderStats(
                sent=tally.sent,
                waiting=len(self._memory),
                spilled=tally.spilled,
                spill_bytes=spill_bytes,
                refused=tally.refused,
                dropped=self._memory.lost,
                last_error=tally.last_error,
                last_error_at=tally.last_error_at,
                last_success_at=tally.last_success_at,
                oldest_waiting_at=min(oldest, default=None),
            )

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
            self._start()
            self._memory.add(record)
        return id

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until the service has answered for all that this process has recorded.

        And for what others have left in the spill; what they are sending is theirs to wait for.
        False when ``timeout`` seconds do not suffice, or when the recorder is closed; nothing is
        lost by that.
        """
        deadline = Deadline(float("inf") if timeout is None else timeout)
        while True:
            with self._memory.changed:
                self._start()
                self._look()
                self._wait_for(lambda: self._closed or self._nothing_left(), deadline.left())
                if self._closed or not self._nothing_left():
                    return False
            if not self._spill.unsent():
                return True
            # Another process has taken it over.
            with self._memory.changed:
                pause = min(LOOK_SECONDS, deadline.left())
                if self._wait_for(lambda: self._closed, pause) or not deadline.left():
                    return False

    def settle(self, timeout: float = EXIT_SECONDS) -> None:
        """Sends for up to ``timeout`` seconds, or until the service is away, and spills the rest.

        The recorder goes on: for what may be the end of the process, and is none that it notices.
        """
        with self._memory.changed:
            if not self._started:
                return
            self._look()
            self._wait_for(lambda: self._away() or self._nothing_left(), timeout)
            self._keeper.hurry()
            self._wait_for(lambda: not self._memory and not self._keeper.busy, JOIN_SECONDS)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Does as `settle`, and takes nothing more. A second time it does nothing.

        Called at every end of the process that Python or a library it knows tells of.
        """
        atexit.unregister(self.close)
        with self._memory.changed:
            if self._closed:
                return
            self._closed = True
            self._memory.changed.notify_all()
        self.settle(timeout)
        self._stop()
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

    def after_fork(self) -> None:
        """Called in a forked child, before anything else of this is."""
        if self._sender is not None:
            self._sender.abandon()
        if not self._forked and not self._framed:
            # Its gRPC objects must not even be freed here.
            self._parents_sender = self._sender
        self._forked = True
        self._spill.abandon()
        self._begin()

    def _begin(self) -> None:
        self._memory = Memory(self._memory_limit)
        self._tally = Tally()
        self._sender = (
            None
            if self._forked and not self._framed
            else Sender(
                self._memory,
                self._spill,
                self._tally,
                Pace(self._timeout),
                self._connect,
                self._tell_refused,
                self._tell_failed,
                FIXED_TOKEN if isinstance(self._token, str) else RENEWED_TOKEN,
            )
        )
        self._keeper = Keeper(
            self._memory,
            self._spill,
            self._tally,
            # Who does not send leaves it at once to those who do.
            self._spill.seal if self._sender is None else self._sender.look,
            self._tell_dropped,
            self._tell_failed,
        )
        self._started = False

    def _start(self) -> None:
        if self._started or self._closed:
            return
        try:
            self._keeper.start()
            if self._sender is not None:
                self._sender.start()
        except RuntimeError:
            # The interpreter is ending and makes no new threads: closing spills.
            return
        self._started = True
        begin()

    def _stop(self) -> None:
        """Ends the threads; the keeper once it has spilled all it can."""
        if self._started and self._sender is not None:
            self._sender.stop()
            self._sender.join(JOIN_SECONDS)
        self._keeper.stop()
        if self._started:
            self._keeper.join(JOIN_SECONDS)
        else:
            self._keeper.run()

    def _look(self) -> None:
        if self._sender is not None:
            self._sender.look()

    def _away(self) -> bool:
        return self._sender is None or self._sender.away

    def _nothing_left(self) -> bool:
        sent = self._sender is None or self._sender.idle
        return sent and not self._memory and not self._keeper.busy

    def _wait_for(self, true: Callable[[], bool], timeout: float) -> bool:
        return self._memory.changed.wait_for(true, None if timeout == float("inf") else timeout)

    def _connect(self) -> Link:
        if self._framed:
            return FramedClient(self._address, self._token, timeout=self._timeout)
        return ParleyClient(self._address, self._token, tls=self._tls, timeout=self._timeout)

    def _owning(self, token: TokenSource) -> TokenSource:
        """The same, but the spill learns of each new token whose it is."""
        source = token_source(token)
        if isinstance(source, str):
            return self._spill.own(source)
        return lambda: self._spill.own(source())

    def _tell_refused(self, interaction: Interaction, error: ParleyError) -> None:
        self._tell("on_refused", lambda: self._on_refused(interaction, error))

    def _tell_dropped(self, count: int) -> None:
        self._tell("on_dropped", lambda: self._on_dropped(count))

    def _tell_failed(self, error: Exception) -> None:
        with self._memory.changed:
            self._tally.failed(error)
        self._tell("on_error", lambda: self._on_error(error))

    def _tell(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            _log.exception("%s failed", name)
