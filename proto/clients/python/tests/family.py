"""A program whose processes record, and end in one of the ways that processes end.

    family.py ADDRESS DIRECTORY CONVERSATION START END COUNT

PARLEY_TOKEN is its token. START says how the children are made, END how they end. Every process
prints the id of each interaction when `record` has returned it; those that are to be terminated
record until they are. The parent records before its children and after them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time

from parley_client import BackgroundRecorder, Interaction, ParleyClient, ParleyError

address, directory, conversation, start, end = sys.argv[1:6]
count = int(sys.argv[6])
recorder = BackgroundRecorder(address, os.environ["PARLEY_TOKEN"], directory)

CHILDREN = 2
PATIENCE = 60.0


def record(who: str) -> None:
    interaction = Interaction(conversation_id=conversation, customer_message=who, model_used="m")
    interaction.agent_response = "x" * 1000
    os.write(1, f"{recorder.record(interaction)}\n".encode())


def record_all(who: str) -> int:
    for _ in range(count):
        record(who)
    return count


def live(who: str, ready: str | None = None) -> None:
    """What a child does: records, and ends as it is told."""
    record_all(who)
    if end == "exit":
        sys.exit(3)
    if end == "raise":
        raise LookupError("the end of this process is not an error of the test")
    if end in ("sigterm", "daemon"):
        if ready is not None:
            open(ready, "x").close()
        while True:
            record(who)
            time.sleep(0.01)


def wait_for(paths: list[str]) -> None:
    until = time.monotonic() + PATIENCE
    while not all(map(os.path.exists, paths)):
        assert time.monotonic() < until, "a child is not ready"
        time.sleep(0.01)


def fork(ready: list[str]) -> None:
    """Children by os.fork, which live on as this program does."""
    pids = []
    for path in ready:
        pid = os.fork()
        if pid == 0:
            live("child", path)
            sys.exit()
        pids.append(pid)
    if end == "sigterm":
        wait_for(ready)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        assert os.waitstatus_to_exitcode(status) == CODES[end], status


CODES = {"return": 0, "exit": 3, "raise": 1, "sigterm": -signal.SIGTERM}


def processes(context: multiprocessing.context.BaseContext, ready: list[str]) -> None:
    daemon = end == "daemon"
    children = [
        context.Process(target=live, args=("child", path), daemon=daemon)  # type: ignore[attr-defined]
        for path in ready
    ]
    for child in children:
        child.start()
    if end in ("sigterm", "daemon"):
        wait_for(ready)
    if daemon:
        return  # multiprocessing terminates them when this process ends.
    for child in children:
        if end == "sigterm":
            child.terminate()
        child.join()
        assert child.exitcode == CODES[end], child.exitcode


def pool(context: multiprocessing.context.BaseContext) -> None:
    tasks = ["child"] * 2 * CHILDREN
    recycled = 1 if end == "recycled" else None
    with context.Pool(CHILDREN, maxtasksperchild=recycled) as workers:
        assert workers.map(record_all, tasks, chunksize=1) == [count] * len(tasks)
        if end != "terminate":
            workers.close()
            workers.join()


def executor(context: multiprocessing.context.BaseContext) -> None:
    tasks = ["child"] * 2 * CHILDREN
    with concurrent.futures.ProcessPoolExecutor(CHILDREN, mp_context=context) as workers:
        assert list(workers.map(record_all, tasks)) == [count] * len(tasks)


def main() -> None:
    # gRPC, at work in the parent: a fork must not mind.
    parley = ParleyClient(address, os.environ["PARLEY_TOKEN"], timeout=0.2)
    with contextlib.suppress(ParleyError):
        parley.stats()
    record_all("parent")
    ready = [os.path.join(directory, f"ready-{n}") for n in range(CHILDREN)]
    kind, _, method = start.partition("-")
    context = multiprocessing.get_context(method or None)
    if kind == "process":
        processes(context, ready)
    elif kind == "pool":
        pool(context)
    elif kind == "executor":
        executor(context)
    elif kind == "fork":
        fork(ready)
    elif kind == "thread":
        # The child of a thread is its process's main thread.
        thread = threading.Thread(target=fork, args=(ready,))
        thread.start()
        thread.join()
    elif kind == "none":
        live("parent")
    record_all("parent")


if __name__ == "__main__":
    main()
