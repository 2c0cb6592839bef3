"""What HTTP/2 and gRPC ask of the server where stock clients do not go: wrong frames, floods, windows of zero.

    check.py ADDRESS [CHECK...]     ADDRESS is unix:PATH or HOST:PORT

PARLEY_TOKEN holds a token that may record and read. After each check the server must answer a call on a
connection of another client. One line a check, then "N passed, M failed".
"""

import sys

# They put their checks into CHECKS.
import floods
import frames
import headers
import messages
import windows
from expectations import CHECKS
from peer import Closed, TimedOut, ask_health


def main():
    address, *names = sys.argv[1:]
    passed = failed = 0
    for function in CHECKS:
        if names and function.__name__ not in names:
            continue
        try:
            function(address)
            ask_health(address)
        except TimedOut:
            problem = "what it waits for does not come"
        except Closed:
            problem = "the connection is closed"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}" if str(error) or not isinstance(error, AssertionError) else ""
            if not problem:
                line = error.__traceback__.tb_next.tb_lineno
                problem = f"line {line}"
        else:
            passed += 1
            print("ok   ", function.__name__)
            continue
        failed += 1
        print("FAIL ", function.__name__, problem[:400])
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
