"""The demo: from the command to the picture, as a newcomer waits for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

from barograph_client.clock import SystemClock
from bench.figure import Figure
from bench.part import ROOT, Run

GOAL = 30.0  # seconds


def measure(run: Run) -> Iterable[Figure]:
    """``barograph demo`` into an empty directory, until the first line of the overview and until it ends."""
    clock = SystemClock()
    picture, whole = [], []
    for turn in range(3 if run.scale >= 1 else 1):  # the demo has one size
        run.tell(f"round {turn + 1}")
        command = [sys.executable, "-m", "barograph", "demo", "--data-dir", str(run.directory / f"demo-{turn}")]
        began = clock.monotonic()
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            picture.append(clock.monotonic() - began)
            process.stdout.read()
        whole.append(clock.monotonic() - began)
        if process.returncode or not first:
            raise RuntimeError(f"the demo ended with code {process.returncode}")
    yield Figure(name="from the command to the picture", unit="s", samples=tuple(picture), at_most=GOAL)
    yield Figure(name="until the command has ended", unit="s", samples=tuple(whole))
