"""Checks and how they run: each is a small named method of a scenario, and prints one line."""

import subprocess
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor


class Mismatch(Exception):
    """What was seen is not what should be."""


def require(holds, what):
    if not holds:
        raise Mismatch(what)


def require_equal(got, want, what):
    require(got == want, f"{what} is {shortened(got)}, want {shortened(want)}")


def shortened(value, length=400):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= length else text[:length] + "..."


def eventually(holds, what, seconds=20):
    """Waits until it holds, and answers what it held."""
    end = time.monotonic() + seconds
    while True:
        held = holds()
        if held:
            return held
        require(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.05)


def check(method):
    method.is_check = True
    return method


class Scenario:
    """Checks that share a stage, run in the order they are written. Scenarios run beside each other."""

    def __init__(self, workshop):
        self.workshop = workshop
        self.folder = workshop.new_folder(type(self).__name__)

    def prepare(self):
        """Sets the stage."""

    def finish(self):
        """Clears it, whatever happened."""

    @classmethod
    def checks(cls):
        return [name for name, member in vars(cls).items() if getattr(member, "is_check", False)]


class Tally:
    """Counts and prints, one line a check."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self._lock = threading.Lock()

    def ok(self, name):
        with self._lock:
            self.passed += 1
            print(f"ok   {name}", flush=True)

    def fail(self, name, reason):
        with self._lock:
            self.failed += 1
            print(f"FAIL {name}: {reason}", flush=True)


def run_all(scenarios, workshop, at_once):
    tally = Tally()
    pool = ThreadPoolExecutor(at_once)
    try:
        for scenario in [pool.submit(play, kind, workshop, tally) for kind in scenarios]:
            scenario.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return tally


def play(kind, workshop, tally):
    try:
        scenario = kind(workshop)
    except Exception:
        for name in kind.checks():
            tally.fail(name, "no stage: " + last_words())
        return
    try:
        broken = attempt(scenario.prepare)
        for name in kind.checks():
            reason = f"the stage is not set: {broken}" if broken else attempt(getattr(scenario, name))
            if reason:
                tally.fail(name, reason)
            else:
                tally.ok(name)
    finally:
        broken = attempt(scenario.finish)
        if broken:
            tally.fail(f"{kind.__name__}.finish", broken)


def attempt(step):
    """Why the step failed, or nothing."""
    try:
        step()
    except Mismatch as mismatch:
        return str(mismatch) or "it does not hold"
    except subprocess.TimeoutExpired as timeout:
        return f"hangs: {shortened(' '.join(map(str, timeout.cmd)))} does not end within {timeout.timeout} s"
    except Exception:
        return "not of the shape expected: " + last_words()
    return None


def last_words():
    return " / ".join(line.strip() for line in traceback.format_exc().strip().splitlines()[-3:])
