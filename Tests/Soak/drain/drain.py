"""Ends servers and connections under load, with clients that try nothing again, and holds every call's outcome
against what was recorded: a call that got no OK must have left nothing, and one that got OK its interaction.

    drain.py PARLEY_BINARY WORKDIR [--terms COUNT] [--ages COUNT]

--terms: how often a server gets SIGTERM while gRPC and ttRPC clients record (100).
--ages: how many gRPC connections end by --grpc-max-age while their clients go on (1000).

Needs grpcio, and PostgreSQL's programs. Everything is made in a folder of its own in WORKDIR, and gone afterwards.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

# It tells every GOAWAY otherwise.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
import grpc  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Interop/command"))
import ttrpc  # noqa: E402

CONNECTIONS, AT_ONCE, CALL_SECONDS, START_SECONDS = 8, 8, 45, 60
RECORD = f"/{ttrpc.SERVICE}/RecordInteraction"
OK, NOT_FOUND = "OK", 5


class Server:
    running = []

    def __init__(self, binary, folder, name, *flags):
        self.socket = folder / f"{name}.sock"
        self.address = f"unix:{self.socket}"
        self.log = open(folder / f"{name}.log", "ab")
        self.process = subprocess.Popen(
            [binary, "serve", "--listen", self.address, *flags], stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        Server.running.append(self)
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        line = next((line for line in self.process.stdout if " listens on " in line), None)
        watchdog.cancel()
        if line is None:
            self.end()
            sys.exit(f"the server does not start: {(folder / f'{name}.log').read_text()[-2000:]}")

    def terminate(self):
        """- Returns: how long it took to end."""
        begin = time.monotonic()
        self.process.terminate()
        status = self.process.wait(90)
        assert status == 0, f"the server ended with status {status}"
        self.end()
        return time.monotonic() - begin

    def end(self):
        Server.running.remove(self)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Outcomes:
    """What became of each call, by its interaction's id."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by_id = {}

    def add(self, id, outcome):
        with self.lock:
            self.by_id[id] = outcome


class GRPCClient:
    """One channel with calls under way until told to stop, or until the server is away."""

    def __init__(self, address, token, outcomes):
        self.outcomes = outcomes
        self.metadata = [("authorization", f"Bearer {token}")]
        # The channel shares no connection with others.
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(address, options)
        self.ends = 0
        self._was_ready = False
        self._record = self.channel.unary_unary(RECORD)

    def _count_ends(self, state):
        self.ends += self._was_ready and state is not grpc.ChannelConnectivity.READY
        self._was_ready = state is grpc.ChannelConnectivity.READY

    def run(self, stop, stays):
        waiting = []
        # Of a channel that is closed within the second, grpcio's watch fails in a thread of its own.
        if stays:
            self.channel.subscribe(self._count_ends, try_to_connect=True)
        while not stop.is_set():
            while len(waiting) < AT_ONCE:
                id = ttrpc.new_id()
                call = self._record.future(ttrpc.record_request(id, "drain"), CALL_SECONDS, self.metadata)
                waiting.append((id, call))
            id, call = waiting.pop(0)
            if self._take(id, call) != OK and not stays:
                break
        for id, call in waiting:
            self._take(id, call)
        self.channel.close()

    def _take(self, id, call):
        error = call.exception()
        outcome = error.code().name if error else OK
        self.outcomes.add(id, outcome)
        return outcome


class TTRPCClient:
    """One connection with calls under way until the server says that it drains; every second client goes on all the
    same, until the connection is closed."""

    count = 0

    def __init__(self, address, token, outcomes):
        TTRPCClient.count += 1
        self.heeds_drain = TTRPCClient.count % 2 == 0
        self.outcomes = outcomes
        self.connection = ttrpc.Connection(address, token, CALL_SECONDS)

    def run(self, stop, stays):
        waiting, goes_on = {}, True
        try:
            while goes_on or waiting:
                goes_on = goes_on and not stop.is_set()
                while len(waiting) < AT_ONCE and goes_on:
                    id = ttrpc.new_id()
                    # Its fate until it is answered, should the sending break.
                    self.outcomes.add(id, "no answer" if self.heeds_drain else "no answer, went on")
                    waiting[self.connection.send("RecordInteraction", ttrpc.record_request(id, "drain"))] = id
                stream, answer = self.connection.receive()
                if isinstance(answer, ttrpc.Refusal):
                    self.outcomes.add(waiting.pop(stream), f"code {answer.code}")
                    goes_on = goes_on and not self.heeds_drain
                    time.sleep(0.005)
                else:
                    self.outcomes.add(waiting.pop(stream), OK)
        except ttrpc.Away:
            pass
        self.connection.close()


class Drain:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        # It keeps PostgreSQL, and is asked afterwards what was recorded.
        self.keeper = Server(binary, folder, "keeper", "--data", folder / "data")
        mint = [binary, "token", "--data", folder / "data", "--tenant", "drain", "--ttl", "1d"]
        self.token = subprocess.run(mint, check=True, capture_output=True, text=True).stdout.strip()
        self.tally, self.lost = Counter(), []
        self.recorded = 0
        self.begun = time.monotonic()

    def serve(self, *flags):
        url = f"host={self.folder / 'data/run'} user=parley dbname=parley"
        return Server(
            self.binary, self.folder, "served", "--database-url", url, "--jwt-secret-file",
            self.folder / "data/jwt.secret", *flags,
        )  # fmt: skip

    def load(self, server, kinds, stays):
        """- Returns: the clients, their threads, what stops them, and where their calls' outcomes are."""
        outcomes, stop = Outcomes(), threading.Event()
        clients = [kind(server.address, self.token, outcomes) for kind in kinds for _ in range(CONNECTIONS)]
        threads = [threading.Thread(target=client.run, args=(stop, stays), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        return clients, threads, stop, outcomes

    def check(self, outcomes, what):
        """Asks for each call that got no OK, and counts the others."""
        keeper = ttrpc.Connection(self.keeper.address, self.token)
        self.tally.update(outcomes.by_id.values())
        unanswered = [(id, outcome) for id, outcome in outcomes.by_id.items() if outcome != OK]
        self.recorded += len(outcomes.by_id) - len(unanswered)
        for start in range(0, len(unanswered), 200):
            part = unanswered[start : start + 200]
            asked = {keeper.send("GetInteraction", ttrpc.field(1, call[0])): call for call in part}
            while asked:
                stream, answer = keeper.receive()
                id, outcome = asked.pop(stream)
                if not isinstance(answer, ttrpc.Refusal):
                    self.lost.append((what, id, outcome))
                else:
                    assert answer.code == NOT_FOUND, answer
        total = keeper.total()
        keeper.close()
        if total != self.recorded + len(self.lost):
            sys.exit(f"{what}: {self.recorded} were acknowledged and {len(self.lost)} were not, {total} are there")

    def terms(self, count, chance):
        longest = 0
        for round in range(count):
            server = self.serve()
            _, threads, stop, outcomes = self.load(server, (GRPCClient, TTRPCClient), stays=False)
            time.sleep(chance.uniform(0.2, 0.7))
            longest = max(longest, server.terminate())
            stop.set()
            for thread in threads:
                thread.join()
            self.check(outcomes, f"SIGTERM {round + 1}")
        self.tell(f"{count} SIGTERMs, the longest drain {longest:.1f} s")

    def ages(self, count):
        server = self.serve("--grpc-max-age", "1")
        clients, threads, stop, outcomes = self.load(server, (GRPCClient,) * 4, stays=True)
        deadline = time.monotonic() + 60 + count
        while (ends := sum(client.ends for client in clients)) < count:
            assert time.monotonic() < deadline, f"only {ends} connections ended"
            time.sleep(0.1)
        stop.set()
        for thread in threads:
            thread.join()
        server.terminate()
        self.check(outcomes, "ages")
        self.tell(f"{ends} connections ended by age")

    def tell(self, what):
        seconds, self.begun = time.monotonic() - self.begun, time.monotonic()
        print(f"{what} in {seconds:.0f} s: {sum(self.tally.values())} calls: {dict(self.tally)}; "
              f"committed without an answer: {len(self.lost)}", flush=True)  # fmt: skip
        if self.lost:
            sys.exit(f"committed without an answer: {self.lost[:10]}")
        self.tally.clear()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("binary")
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--terms", type=int, default=100)
    parser.add_argument("--ages", type=int, default=1000)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.workdir, prefix="d.") as folder:
        Path(folder).chmod(0o755)
        try:
            drain = Drain(Path(options.binary).resolve(), Path(folder))
            if options.terms:
                drain.terms(options.terms, random.Random(seed))
            if options.ages:
                drain.ages(options.ages)
        finally:
            # The last started first: PostgreSQL is the first one's.
            for server in reversed(list(Server.running)):
                server.terminate()


if __name__ == "__main__":
    main()
