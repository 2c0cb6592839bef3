"""Recorders in processes that fork, and the SIGTERM handler: what is whose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Service
from proxy import Proxy

from parley_client import BackgroundRecorder, Interaction
from parley_client._spill import Spill

PATIENCE = 60.0

Recorded = Callable[[], list[Interaction]]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextmanager
def child(live: Callable[[], None]) -> Iterator[None]:
    """A forked child that lives while the context does; it must not fail."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(writer)
            live()
            os.read(reader, 1)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(reader)
    try:
        yield
    finally:
        os.close(writer)
        status = os.waitpid(pid, 0)[1]
    assert status == 0


def turn(conversation: str, text: str) -> Interaction:
    return Interaction(conversation_id=conversation, customer_message=text)


def test_a_childs_records_are_seen_while_it_lives(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(service.address, service.token, tmp_path) as recorder:
        recorder.record(turn(conversation, "parent"))
        assert recorder.flush(PATIENCE)

        def live() -> None:
            for _ in range(500):
                recorder.record(turn(conversation, "child"))

        with child(live):
            wait_until(lambda: len(recorded()) == 501)
        recorder.record(turn(conversation, "parent"))
        assert recorder.flush(PATIENCE)
    assert len(recorded()) == 502


def test_a_child_flushes_what_is_its_own(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.cut()
    with BackgroundRecorder(proxy.address, service.token, tmp_path) as recorder:
        recorder.record(turn(conversation, "parent"))

        def live() -> None:
            assert recorder.waiting == 0
            assert recorder.stats().sent == 0
            recorder.record(turn(conversation, "child"))
            assert not recorder.flush(0.3)
            (tmp_path / "tried").touch()
            assert recorder.flush(PATIENCE)

        with child(live):
            wait_until((tmp_path / "tried").exists)
            assert not recorder.flush(0.1)
            proxy.restore()
            assert recorder.flush(PATIENCE)
    assert sorted(i.customer_message for i in recorded()) == ["child", "parent"]


def test_a_child_holds_nothing_of_its_parents(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.cut()
    recorder = BackgroundRecorder(proxy.address, service.token, tmp_path)
    recorder.record(turn(conversation, "parent"))
    wait_until(lambda: recorder.stats().spilled == 1)
    with child(lambda: None):
        # The parent's file is the parent's, and free when it lets go, whatever its child does.
        other = Spill(tmp_path, None)
        other.own(service.token)
        assert other.claim() is None
        recorder.close()
        file = other.claim()
        assert file is not None
        file.release()
    with BackgroundRecorder(service.address, service.token, tmp_path) as following:
        assert following.flush(PATIENCE)
    assert len(recorded()) == 1


def test_forking_while_others_record(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    count, children, stop = [0], 8, threading.Event()
    with BackgroundRecorder(service.address, service.token, tmp_path) as recorder:

        def busy() -> None:
            while not stop.is_set():
                recorder.record(turn(conversation, "x" * 1000))
                count[0] += 1
                time.sleep(0.001)

        def live() -> None:
            for _ in range(50):
                recorder.record(turn(conversation, "child"))
            recorder.close()

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            for _ in range(children):
                with child(live):
                    pass
        finally:
            stop.set()
            thread.join()
        assert recorder.flush(PATIENCE)
    with BackgroundRecorder(service.address, service.token, tmp_path) as following:
        assert following.flush(PATIENCE)
    found = recorded()
    assert len([i for i in found if i.customer_message == "child"]) == 50 * children
    assert len(found) == 50 * children + count[0]


def test_over_grpc_a_child_leaves_the_sending_to_its_parent(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(service.address, service.token, tmp_path, protocol="grpc") as recorder:
        recorder.record(turn(conversation, "parent"))
        assert recorder.flush(PATIENCE)

        def live() -> None:
            recorder.record(turn(conversation, "child"))
            assert recorder.flush(PATIENCE)  # By the parent.
            recorder.record(turn(conversation, "last"))
            recorder.close()

        with child(live):
            wait_until(lambda: len(recorded()) == 2)
        assert recorder.flush(PATIENCE)
    assert sorted(i.customer_message for i in recorded()) == ["child", "last", "parent"]


PROGRAM = """
import os, signal, sys, threading
from parley_client import BackgroundRecorder, Interaction

def make():
    global recorder
    recorder = BackgroundRecorder(sys.argv[1], os.environ["PARLEY_TOKEN"], sys.argv[2], {options})
    recorder.record(Interaction(conversation_id=sys.argv[3]))

{before}
make()
{after}
os.kill(os.getpid(), signal.SIGTERM)
signal.pause()
"""


@pytest.fixture
def run(service: Service, tmp_path: Path, conversation: str) -> Callable[..., int]:
    """Runs a program that records one interaction, and sends itself SIGTERM; its status."""

    def run(options: str = "", before: str = "", after: str = "") -> int:
        program = PROGRAM.format(options=options, before=before, after=after)
        return subprocess.run(
            [sys.executable, "-c", program, service.address, str(tmp_path), conversation],
            env={**os.environ, "PARLEY_TOKEN": service.token},
            timeout=PATIENCE,
        ).returncode

    return run


def test_sigterm_records_and_ends_as_ever(run: Callable[..., int], recorded: Recorded) -> None:
    assert run() == -signal.SIGTERM
    assert len(recorded()) == 1


def test_a_handler_that_was_there_stays(run: Callable[..., int], recorded: Recorded) -> None:
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    assert run(before=handler) == 7
    assert len(recorded()) == 1
    assert run(after=handler) == 7
    assert len(recorded()) == 2


def test_the_handler_can_be_switched_off(run: Callable[..., int]) -> None:
    check = "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL"
    assert run(options="handle_sigterm=False", after=check) == -signal.SIGTERM


def test_sigterm_is_ignored_where_it_was(run: Callable[..., int]) -> None:
    ignored = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    after = "os.kill(os.getpid(), signal.SIGTERM); sys.exit(4)"
    assert run(before=ignored, after=after) == 4


def test_a_recorder_of_another_thread_leaves_signals_alone(run: Callable[..., int]) -> None:
    other = "make_here, make = make, lambda: None\n"
    other += "thread = threading.Thread(target=make_here); thread.start(); thread.join()"
    check = "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL"
    assert run(before=other, after=check) == -signal.SIGTERM


def test_sigterm_twice_costs_nothing(run: Callable[..., int], recorded: Recorded) -> None:
    again = "threading.Timer(0.01, lambda: [os.kill(os.getpid(), signal.SIGTERM)] * 5).start()"
    assert run(after=f"for _ in range(2000): recorder.record(Interaction())\n{again}") == -15
    assert len(recorded()) == 1


def test_a_main_thread_that_does_not_notice_sigterm(
    run: Callable[..., int], recorded: Recorded
) -> None:
    # Another thread takes the signal, so that nothing interrupts what the main thread waits for:
    # the same as a signal that comes just before it begins to wait.
    kill = "signal.pthread_kill(threading.get_ident(), signal.SIGTERM)"
    other = f"lambda: [time.sleep(0.5), {kill}, time.sleep(60)]"
    start = f"import time\nthreading.Thread(target={other}, daemon=True).start()"
    assert run(after=f"reader, _ = os.pipe()\n{start}\nos.read(reader, 1)") == -signal.SIGTERM
    assert len(recorded()) == 1


def test_a_child_that_has_recorded_nothing_ends_by_sigterm_at_once(
    run: Callable[..., int],
) -> None:
    in_child = """
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.set_wakeup_fd(-1) == -1
        recorder.record(Interaction(conversation_id=sys.argv[3]))
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        os._exit(5)
    """.replace("\n        ", "\n ")
    parent = "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5"
    assert run(after=f"child = os.fork()\nif child == 0:{in_child}\n{parent}") == -15


def test_exit_handlers_may_record(run: Callable[..., int], recorded: Recorded) -> None:
    later = "atexit.register(lambda: recorder.record(Interaction(conversation_id=sys.argv[3])))"
    assert run(after=f"import atexit\n{later}\nimport multiprocessing.util\nsys.exit()") == 0
    assert len(recorded()) == 2
