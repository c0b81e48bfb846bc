"""One measurement in a process of its own: its memory is its own, and so is the one engine a process may open.

``run_part`` starts the process and reads its figures; ``answer_part`` is what runs inside. A part is a function
``Run -> iterable of Figure``, named ``module.function``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from signal import SIGKILL
from typing import cast

import msgspec

from barograph_client.clock import Clock
from bench.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
_TINY = 0.05  # below this scale two rounds are enough to show that it runs


@dataclass(frozen=True)
class Run:
    """How much is measured, and where. ``scale`` 1 is the real thing; a test runs with a thousandth of it."""

    directory: Path
    scale: float
    large: bool
    clock: Clock

    def count(self, full: int, least: int = 1) -> int:
        """So many events at this scale."""
        return max(least, round(full * self.scale))

    def seconds(self, full: float) -> float:
        return max(0.02, full * self.scale)

    def rounds(self, full: int) -> int:
        return full if self.scale >= _TINY else min(full, 2)

    def tell(self, text: str) -> None:
        """A line of progress, on standard error."""
        print(f"    {text}", file=sys.stderr, flush=True)


Part = Callable[[Run], Iterable[Figure]]


def run_part(name: str, run: Run, *, killed: bool = False) -> list[Figure]:
    """The figures of a part. ``killed``: it ends itself with SIGKILL. Raises RuntimeError when it ends otherwise."""
    run.directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench", "--part", name, "--scale", repr(run.scale), "--dir", str(run.directory)]
    code = subprocess.run([*command, *(["--large"] if run.large else [])], cwd=ROOT, check=False).returncode
    if code != (-SIGKILL if killed else 0):
        raise RuntimeError(f"the part {name} ended with code {code}")
    return msgspec.json.decode(b"[" + b",".join(_lines(_file(name, run))) + b"]", type=list[Figure])


def _file(name: str, run: Run) -> Path:
    return run.directory / f"figures-{name}.jsonl"


def _lines(path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def answer_part(name: str, run: Run) -> None:
    """Run a part and write its figures where ``run_part`` looks for them."""
    module, _, function = name.partition(".")
    part = cast(Part, getattr(import_module(f"bench.{module}"), function))
    with open(_file(name, run), "wb", buffering=0) as file:
        file.writelines(msgspec.json.encode(figure) + b"\n" for figure in part(run))
