"""Callers that record without pause, and know what they were answered."""

import threading
import time

from checks import eventually, require
from ttrpc import DEADLINE_EXCEEDED, UNAVAILABLE, Away, Connection, Refusal, new_id

WRITERS = 8
PAUSE = 0.003


class Writer(threading.Thread):
    """Records one interaction after another, each until it is answered, and notes the answers in a log."""

    def __init__(self, address, token, log, stopping, abandoned):
        super().__init__(daemon=True)
        self._address = address
        self._token = token
        self._log = log
        self._stopping = stopping
        self._abandoned = abandoned
        self._connection = None
        self.answered = 0
        self.surprises = []

    def run(self):
        with open(self._log, "a", encoding="ascii") as log:
            while not self._stopping.is_set():
                id = new_id()
                if not self._record_until_answered(id):
                    return
                log.write(id + "\n")
                log.flush()
                self.answered += 1
                time.sleep(PAUSE)

    def _record_until_answered(self, id):
        while not self._abandoned.is_set():
            try:
                self._connection = self._connection or Connection(self._address, self._token, timeout=20)
                self._connection.record(id, seconds=10)
                return True
            except Away:
                self._connection = None
            except Refusal as refusal:
                if refusal.code not in (UNAVAILABLE, DEADLINE_EXCEEDED):
                    self.surprises.append(str(refusal))
            time.sleep(0.05)
        return False


class Writers:
    """Several of them at once."""

    def __init__(self, server, tenant, folder):
        self.server = server
        self.tenant = tenant
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._logs = [folder / f"answered.{number}" for number in range(WRITERS)]
        token = server.token(tenant)
        self._writers = [Writer(server.unix, token, log, self._stopping, self._abandoned) for log in self._logs]
        for writer in self._writers:
            writer.start()

    def answered(self):
        return sum(writer.answered for writer in self._writers)

    def await_answers(self, count, seconds=30):
        """Until so many more are answered, by each of them at least one."""
        before = [writer.answered for writer in self._writers]

        def enough():
            more = [writer.answered - begun for writer, begun in zip(self._writers, before)]
            return sum(more) >= count and min(more) > 0

        eventually(enough, f"{count} more interactions are answered", seconds)

    def stop(self):
        self._stopping.set()
        for writer in self._writers:
            writer.join(60)
            require(not writer.is_alive(), "a writer waits for ever")

    def abandon(self):
        self._stopping.set()
        self._abandoned.set()

    def log(self):
        return [id for log in self._logs for id in log.read_text().split()]

    def surprises(self):
        return [surprise for writer in self._writers for surprise in writer.surprises]
