"""Records on disk that wait for the service: what `BackgroundRecorder` keeps when it is away.

A directory holds any number of files ``TIME-RANDOM.OWNER.spill``, shared by any number of
processes. Each is written once, by appending, and deleted when all in it is done with:

    frame := length u32 | crc32 u32 | record          big-endian; the checksum covers length, record
    file  := frame*

Whoever writes or reads a file holds its ``flock``; the lock ends with its process, so a file that
is not locked is a full one, or one of a process that died, and belongs to whoever locks it next.

An append is on the disk (fsync) when it returns. A frame that was being written when the machine
went down is found by its length or checksum and passed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from ._calls import BATCH_BYTES_MAX, BATCH_INTERACTIONS_MAX, batches
from ._tokens import claims

FILE_BYTES_MAX = 16 * 1024 * 1024
"""A file that has reached this size is full: what a crash makes one send again, at most."""

_HEADER = struct.Struct(">II")
_LENGTH = struct.Struct(">I")
_ANYONE = "any"

_log = logging.getLogger("parley_client")


class Spill:
    """A directory of spill files, as one process sees it. Any thread may call its methods."""

    def __init__(self, directory: Path, limit_bytes: int | None) -> None:
        """Makes the directory where it is missing, for this user alone. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._limit = limit_bytes
        self._lock = threading.RLock()
        self._owner = _ANYONE
        self._writing: _Appender | None = None
        self._written: set[Path] = set()
        self._answered: set[bytes] = set()

    def own(self, token: str) -> str:
        """From now on the files are those of the token's tenant alone; hands the token back.

        So recorders of several tenants may share a directory. A token that does not say whose it is
        leaves them to anyone.
        """
        said = claims(token)
        tenant = said.get("tenant") or said.get("tenant_id")
        owner = hashlib.sha256(str(tenant).encode()).hexdigest()[:16] if tenant else _ANYONE
        with self._lock:
            if owner != self._owner:
                self.seal()
                self._owner = owner
        return token

    def append(self, records: Sequence[bytes]) -> int:
        """Puts the first of the records on disk, as many as the limit allows, and says how many.

        Raises OSError, and has then kept none.
        """
        with self._lock:
            fitting = self._fitting(records)
            if fitting:
                if self._writing is None:
                    self._writing = _Appender(self._directory, self._owner)
                    left = {path for path in self._written if path.exists()}
                    self._written = left | {self._writing.path}
                    if not left:
                        self._answered.clear()
                self._writing.append(records[:fitting])
                if self._writing.size >= FILE_BYTES_MAX:
                    self.seal()
            return fitting

    def answered(self, records: Sequence[bytes]) -> None:
        """Passes over one of each when they are read again: the service has answered for them."""
        self._answered.update(records)

    def seal(self) -> None:
        """Gives the file being written away, for anyone to claim."""
        with self._lock:
            # In this order, so that a child forked in between has nothing half closed.
            writing, self._writing = self._writing, None
            if writing is not None:
                writing.close()

    def claim(self) -> SpillFile | None:
        """The oldest file nobody holds, or the one being written, sealed; None: there is none."""
        with self._lock:
            found = self._unheld()
            if found is None and self._writing is not None:
                self.seal()
                found = self._unheld()
            return found

    def unsent(self) -> bool:
        """Whether anything this process has put here is left, whoever is sending it.

        Takes no lock: a signal's handler that ran meanwhile would wait for it in vain.
        """
        return any(path.exists() for path in tuple(self._written))

    def size(self) -> int:
        """The bytes of all files, of all processes."""
        return sum(_size(path) for path in self._directory.iterdir())

    def oldest(self) -> float | None:
        """When the oldest file that this process may send was begun, in seconds since 1970."""
        oldest = next(self._ours(), None)
        return None if oldest is None else int(oldest.name.split("-")[0]) / 1e9

    def abandon(self) -> None:
        """Begins anew in a forked child, without a word to the parent, whose files these stay."""
        self._lock = threading.RLock()
        writing, self._writing = self._writing, None
        self._written = set()
        self._answered = set()
        if writing is not None:
            writing.abandon()

    def _fitting(self, records: Sequence[bytes]) -> int:
        if self._limit is None:
            return len(records)
        used = self.size()
        for index, record in enumerate(records):
            used += _HEADER.size + len(record)
            if used > self._limit:
                return index
        return len(records)

    def _unheld(self) -> SpillFile | None:
        for path in self._ours():
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except (FileNotFoundError, PermissionError):
                continue
            if _hold(descriptor):
                return SpillFile(path, descriptor, self._answered)
            os.close(descriptor)
        return None

    def _ours(self) -> Iterator[Path]:
        # Names begin with the time, so that the oldest comes first.
        for path in sorted(self._directory.glob("*-*.*.spill")):
            begun, owner = path.name.split("-")[0], path.name.split(".")[-2]
            if begun.isdecimal() and owner in (_ANYONE, self._owner):
                yield path


class SpillFile:
    """A claimed file: hands out its records a batch at a time, until all are settled."""

    def __init__(self, path: Path, descriptor: int, answered: set[bytes]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._answered = answered
        # In a forked child the stream may be locked for ever; there the descriptor is closed alone.
        self._stream = os.fdopen(descriptor, "rb", closefd=False)
        self._unread = self._records()
        self._ahead: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._current: list[bytes] = []
        self._later: list[bytes] = []
        self.damaged = 0
        """Records that cannot be read, so far. What follows a lost frame boundary counts as one."""

    def batch(self, limit_bytes: int = BATCH_BYTES_MAX) -> list[bytes]:
        """The first records that are not settled, as many as make one batch; none: none is left."""
        self._read_ahead(limit_bytes)
        if not self._ahead and self._later:
            self._unread, self._later = iter(self._later), []
            self._read_ahead(limit_bytes)
        self._current = next(batches(self._ahead, len, limit_bytes), [])
        return self._current

    def settle(self, retry: list[bytes]) -> None:
        """Done with the batch, but for the records to ``retry`` after the rest of the file."""
        for _ in self._current:
            self._ahead_bytes -= len(self._ahead.popleft())
        self._later += retry
        self._current = []

    def delete(self) -> None:
        """Takes it from the directory, when nothing in it is left to send. Raises OSError."""
        self._path.unlink()

    def release(self) -> None:
        """Leaves the file to whoever claims it next."""
        _let_go(self._descriptor)

    def abandon(self) -> None:
        """The same in a forked child, whose parent goes on with the file."""
        os.close(self._descriptor)

    def _read_ahead(self, limit_bytes: int) -> None:
        while self._ahead_bytes <= limit_bytes and len(self._ahead) < BATCH_INTERACTIONS_MAX:
            record = next(self._unread, None)
            if record is None:
                return
            self._ahead.append(record)
            self._ahead_bytes += len(record)

    def _records(self) -> Iterator[bytes]:
        size = os.fstat(self._descriptor).st_size
        while len(header := self._stream.read(_HEADER.size)) == _HEADER.size:
            length, checksum = _HEADER.unpack(header)
            if not 0 < length <= size - self._stream.tell():
                break
            record = self._stream.read(length)
            if _checksum(record) != checksum:
                self.damaged += 1
            elif record in self._answered:
                self._answered.discard(record)
            else:
                yield record
        torn = size - self._stream.tell() + len(header)
        if torn:
            self.damaged += 1
            _log.warning("%s ends in %d bytes that are no record", self._path, torn)


class _Appender:
    """The file being written, held from its first byte."""

    def __init__(self, directory: Path, owner: str) -> None:
        self.path, self._descriptor = _create(directory, owner)
        self.size = 0

    def append(self, records: Sequence[bytes]) -> None:
        """All of the records, on disk; or OSError, and none of them."""
        frames = b"".join(
            _HEADER.pack(len(record), _checksum(record)) + record for record in records
        )
        try:
            written = 0
            while written < len(frames):
                rest = memoryview(frames)[written:]
                written += os.pwrite(self._descriptor, rest, self.size + written)
            os.fsync(self._descriptor)
        except OSError:
            # The next try writes over what is half there; until then it gives the space back.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(frames)

    def close(self) -> None:
        _let_go(self._descriptor)

    def abandon(self) -> None:
        os.close(self._descriptor)


def _create(directory: Path, owner: str) -> tuple[Path, int]:
    while True:
        name = f"{time.time_ns():020d}-{os.urandom(4).hex()}.{owner}.spill"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        path = directory / name
        descriptor = os.open(path, flags, mode=0o600)
        if _hold(descriptor):
            _sync_directory(directory)
            return path, descriptor
        # Another process was quick to take it for a dead one's.
        os.close(descriptor)


def _hold(descriptor: int) -> bool:
    """Locks a file; False if another holds it, or has deleted it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _let_go(descriptor: int) -> None:
    # Not by closing alone: a child that was forked just now may have it open, and the lock with it.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(record: bytes) -> int:
    return zlib.crc32(record, zlib.crc32(_LENGTH.pack(len(record))))
