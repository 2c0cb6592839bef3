#!/usr/bin/env python3
"""Uses `parley` as a new user, as an operator and as a machine's worst day would.

usage: run.py PARLEY_BINARY WORKDIR [NAME...]

Everything is made in a folder of its own in WORKDIR, and is gone afterwards. PostgreSQL's programs are
needed; as root, PostgreSQL runs as the user postgres. With names, only the scenarios whose name holds one of them.
"""

import os
import signal
import sys
import time

import busy
import crashes
import databases
import descriptors
import import_breaks
import import_values
import importing
import migrating
import outputs
import poolers
import reading
import recording
import serving
import settings
import tokens
import usage
import wrong_peers
from checks import run_all
from workshop import Workshop

AT_ONCE = 8
# Those that take longest first.
MODULES = [crashes, wrong_peers, recording, poolers, migrating, databases, settings, import_breaks, import_values]
MODULES += [importing, outputs, descriptors, serving, tokens, reading, busy, usage]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    binary, parent, *names = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    # A shell's background job ignores interrupts, and its children would with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    scenarios = [scenario for module in MODULES for scenario in module.SCENARIOS]
    if names:
        scenarios = [kind for kind in scenarios if any(name in kind.__name__ for name in names)]
    workshop = Workshop(binary, parent)
    begin = time.monotonic()
    try:
        tally = run_all(scenarios, workshop, AT_ONCE)
    except BaseException as error:
        print(f"broken off: {error!r}", flush=True)
        workshop.close()
        # Scenarios under way still wait for what is gone now.
        os._exit(1)
    workshop.close()
    print(f"{len(scenarios)} scenarios in {time.monotonic() - begin:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
