"""The process in which a server evaluates targeting conditions: ``python -m barograph.experiments.bounded_process``.

Started by ``bounded_conditions``. Reads lines of JSON from standard input, ``[condition and groups as JSON,
attributes]``, and answers a byte each: 1 where they fit, else 0. The kernel ends it when one evaluation takes more than
``CPU_SECONDS`` of CPU, whatever it is doing: an expression that backtracks cannot be interrupted from another thread,
and lets none run. It loads nothing but the standard library and the conditions.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from functools import lru_cache

from barograph_client.experiments.conditions import Fits, compiled

CPU_SECONDS = 0.25  # of one evaluation; a usual one takes microseconds
FITS, FITS_NOT = b"1", b"0"


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGPROF,))
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for the answer any more
        for line in sys.stdin.buffer:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            asked, attributes = json.loads(line)
            answer = FITS if _compiled(asked)(attributes) else FITS_NOT
            signal.setitimer(signal.ITIMER_PROF, 0)
            os.write(sys.stdout.fileno(), answer)


@lru_cache(maxsize=256)
def _compiled(asked: str) -> Fits:
    return compiled(*json.loads(asked))


if __name__ == "__main__":
    main()
