"""An agent process: records, says what it did, and lives until its input ends or it is killed.

    agent.py ADDRESS DIRECTORY CONVERSATION COUNT [PAUSE_SECONDS]

PARLEY_TOKEN is its token. Prints the time and id of each interaction it recorded, and ``spilled``
when none of them is in memory any more.
"""

from __future__ import annotations

import os
import sys
import time

from parley_client import BackgroundRecorder, Interaction

address, directory, conversation, count, *pause = sys.argv[1:]
recorder = BackgroundRecorder(address, os.environ["PARLEY_TOKEN"], directory)
for _ in range(int(count)):
    interaction = Interaction(conversation_id=conversation, customer_message="x" * 2000)
    print(time.monotonic(), recorder.record(interaction), flush=True)
    time.sleep(float(pause[0]) if pause else 0)
while recorder.waiting:
    time.sleep(0.01)
print("spilled", flush=True)
sys.stdin.read()
