"""The command line as a process of its own, as people and scripts run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support import forked

_DRIVER = """
import contextlib, io, json, sys
from barograph.cli.main import main
results = []
for words in json.load(sys.stdin):
    sys.argv[1:] = words
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            results.append((int(end.code or 0), out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""

Finished = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """The environment without Barograph's own settings or a terminal's."""
    ours = ("BAROGRAPH_", "LC_", "LANG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "LANG": "C.UTF-8", "TERM": "xterm-256color", **more,
    }  # fmt: skip


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "barograph", *map(str, words)]


def barograph(*words: str | Path, stdin: str = "", **variables: str) -> Finished:
    """Run one command to its end."""
    return forked.run(command(*words), input=stdin, env=environment(**variables))


def several(commands: Sequence[Sequence[str | Path]], **variables: str) -> list[Finished]:
    """Run commands one after the other in one process, which is started once for all of them."""
    words = json.dumps([list(map(str, one)) for one in commands])
    finished = forked.run(
        [sys.executable, "-c", _DRIVER], input=words, env=environment(**variables), timeout=120, check=True
    )
    results = json.loads(finished.stdout)
    return [Finished(words, *result) for words, result in zip(commands, results, strict=True)]


def shell(script: str, *words: str | Path) -> Finished:
    """Run a line of bash; the words are its $1, $2, …, and $B is the command line."""
    started = ["bash", "-c", script, "bash", *map(str, words)]
    variables = environment(B=f"{sys.executable} -m barograph")
    return subprocess.run(started, capture_output=True, text=True, env=variables, timeout=60, check=False)


def lines(count: int, first: int = 0) -> str:
    """So many queries as JSON Lines."""
    return "".join(
        json.dumps({"event_id": f"q{number}", "query": f"What is {number}?", "response_time": 1.5, "model": "small"})
        + "\n"
        for number in range(first, first + count)
    )
